"""BM3: Bootstrap Latent Representations for Multi-modal Recommendation."""

from __future__ import annotations

from dataclasses import replace

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.propagation import mean_of_layers
from recbole_cadmr.layers.shared_batch import dropout
from recbole_cadmr.models.multimodal import MultimodalRecommender


class BM3(MultimodalRecommender):
    """LightGCN trained without negative items, by telling one view of a pair from another (Zhou et al., WWW 2023).

    With P a linear predictor, d dropout without gradient, and ``c(x, y) = 1 - cos(P x, d(y))``, the loss of pairs of a
    user u and an item i with projected features f_m is (section 3.2 of the paper)

        ``c(u, i) + c(i, u) + cl_weight sum_m (c(f_m, i) + c(f_m, f_m)) + reg_weight (|U| + |I|) / n_items``

    As in the published code, the last term takes norms of whole tables, not squares; an item is the mean of its
    LightGCN layers plus its own embedding; scores are inner products of what the predictor makes of both. Dropout is
    drawn for the rows of the batch alone, so that an item met twice in it has two views.

    Features shape the embeddings of items they come with, and say nothing about any other item. Their training, which
    the published figures include, is expensive: the optimiser passes over all of them in every step. Settings are
    declared in ``properties/model/BM3.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, scores_cold_items=False)

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.dropout = config["n_layers"], config["dropout"]
        self.cl_weight, self.reg_weight = config["cl_weight"], config["reg_weight"]
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.features = self.feature_tables()
        projections, self.P = self.feature_maps(), nn.Linear(self.size, self.size)
        for linear in (self.P, *projections.values()):
            nn.init.xavier_normal_(linear.get_parameter("weight"))
        self.projections = projections
        self._A = self.interaction_graph()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items, as predicted."""
        users, items = self._propagated()
        return self.P(users), self.P(items)

    def _propagated(self) -> tuple[Tensor, Tensor]:
        E = self.items.weight
        layers = mean_of_layers(self._A, torch.cat([self.users.weight, E]), self.n_layers)
        users, items = self.users_and_items(layers)
        return users, items + E

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The loss above; negative items are not looked at."""
        user, item, _ = self.triple(interaction)
        users, items = self._propagated()
        u, i = users[user], items[item]
        u_target, i_target = self._target(u), self._target(i)
        loss = self._distance(u, i_target) + self._distance(i, u_target)
        for name, table in self.features.items():
            f = self.projections[name](F.embedding(item, table()))
            aligned = self._distance(f, i_target) + self._distance(f, self._target(f))
            loss = loss + self.cl_weight * aligned
        return loss + self.reg_weight * (users.norm() + items.norm()) / self.n_items

    def _target(self, x: Tensor) -> Tensor:
        return dropout(x.detach(), self.dropout)

    def _distance(self, x: Tensor, target: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(self.P(x), target).mean()
