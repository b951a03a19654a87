"""GRCN: Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit Feedback."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr
from recbole_cadmr.layers.sparse import EdgeMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class GRCN(MultimodalRecommender):
    """Content says how far each interaction counts, and ids are propagated over the graph so weighed (MM 2020).

    Refining, for each modality m, with users' preferences p_u and items f_i = LeakyReLU(W x_i), of length 1 both:

        p_u <- p_u + sum of a_ui f_i over the user's items, of length 1 again    ``routings`` times
        a_ui = softmax of p_u . f_i over the items of u, a_iu the same over the users of i
        c_u = p_u + sum_i a_ui f_i,  c_i = f_i + sum_u a_iu p_u                   content
        w_ui = ReLU(max over m of a_ui s_im),  w_iu = ReLU(max over m of a_iu s_um)

    The learned confidence s_jm is that of the node j a message comes from; an edge whose weight is below 0 is pruned.
    Then x = e + W e + W W e with the id vectors e, of length 1, and [x, c of every m] is the vector of a node.

    In the published code the routing's messages go to the items only, so that its loop leaves the preferences alone:
    its figures are those of no routing, the preset ``published``; the default routes as the paper has it.

    Expensive are the products along all edges and their gradients, (routings + 3) for each modality. Settings are
    declared in ``properties/model/GRCN.yaml``.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.reg_weight = config["reg_weight"]
        self.routings = config["routings"]
        self.features = self.feature_tables()
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.preferences, self.W = nn.ParameterDict(), nn.ModuleDict()
        for name, modality in dataset.modalities().items():
            self.preferences[name] = self.user_embedding(config["content_size"]).weight
            self.W[name] = W = nn.Linear(modality.width, config["content_size"])
            nn.init.xavier_normal_(W.weight)
        self.confidence = nn.Parameter(torch.empty(self.n_users + self.n_items, len(self.features)))
        nn.init.xavier_normal_(self.confidence)
        self._to_users = EdgeMatrix(self.R, self.device)
        self._to_items = EdgeMatrix(self.R.T, self.device)
        self._turned = self._to_users.back_order  # [nnz], of every entry of R' its place in R

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items: ids, and the content of every modality."""
        content = [self._refined(name) for name in self.features]
        p, f, a_user, a_item = zip(*content)
        of_users, of_items = self.confidence.split([self.n_users, self.n_items])
        w_user = (torch.stack(a_user, 1) * of_items[self._to_users.column]).amax(1).relu()  # [nnz]
        w_item = (torch.stack(a_item, 1) * of_users[self._to_items.column]).amax(1).relu()
        layers = [(F.normalize(self.users.weight), F.normalize(self.items.weight))]
        for _ in range(2):
            e_user, e_item = layers[-1]
            layers.append((self._to_users.matmul(w_user, e_item), self._to_items.matmul(w_item, e_user)))
        x_user, x_item = (torch.stack(vectors).sum(0) for vectors in zip(*layers))
        return torch.cat([x_user, *p], 1), torch.cat([x_item, *f], 1)

    def _refined(self, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Content c of users and items [n, content_size] by one modality, and the attentions a_ui and a_iu [nnz]."""
        p = F.normalize(self.preferences[name])
        f = F.normalize(F.leaky_relu(self.W[name](self.features[name]())))
        for _ in range(self.routings):
            a = self._to_users.softmax(self._to_users.products(p, f))
            p = F.normalize(p + self._to_users.matmul(a, f))
        score = self._to_users.products(p, f)
        a_user, a_item = self._to_users.softmax(score), self._to_items.softmax(score[self._turned])
        return p + self._to_users.matmul(a_user, f), f + self._to_items.matmul(a_item, p), a_user, a_item

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples, and the mean squares of their id vectors and preferences."""
        user, positive, negative = self.triple(interaction)
        users, items = self.forward()
        of_items = (self.items(positive).square().mean() + self.items(negative).square().mean()) / 2
        of_users = [rows[user].square().mean() for rows in (self.users.weight, *self.preferences.values())]
        loss = bpr(users[user], items[positive], items[negative])
        return loss + self.reg_weight * (of_items + torch.stack(of_users).sum())
