"""MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, info_nce
from recbole_cadmr.layers.propagation import smoothed, symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class MENTOR(MultimodalRecommender):
    """One graph network a modality, whose distributions are aligned with each other and with that of the free vectors.

    Xu et al., AAAI 2025. With free vectors U_m of users for every modality m and for ids, features F_m (free vectors of
    items for ids), and the item graph S, the sum of the modalities' normalised graphs by ``modality_weights``::

        start           X   = unit rows of [U_m; MLP_m(F_m)]
        user-item       N_m = X + A X + A A X
        item-item       users N_m,  items N_m + S N_m
        fused           users [w_1 N_1, ..., w_M N_M] side by side with weights w of each user, items [N_1, ..., N_M]
        alignment       sum over pairs of {fused, ids, 1, ..., M} of |var - var'| + |mean - mean'| of all entries

    The loss is BPR with logarithms to base 2, + ``align_weight`` x alignment, + ``reg_weight`` x mean squares of the
    batch's U_m and of w, + two terms of feature enhancement: ``noise_weight`` InfoNCE between two views with noise
    added to each A X as in SimGCL, and ``mask_weight`` (1 - cos(dropout(e), P e)) over fused vectors e.

    In the published code these two reach nothing that is scored but w: the masking stands under ``no_grad``, the noisy
    views have networks of their own. Their weights are therefore 0 here; with others they act on the shared networks
    as the paper writes them, over the batch's users and items. Features are fixed, edges of S weigh 1 before
    normalisation. Expensive with wide features: each has an MLP whose hidden layer is 4 ``embedding_size``. Settings
    are declared in ``properties/model/MENTOR.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, reads_item_graphs=True)

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_ui_layers, self.n_item_layers = config["n_ui_layers"], config["n_item_layers"]
        self.reg_weight, self.align_weight = config["reg_weight"], config["align_weight"]
        self.mask_weight, self.dropout = config["mask_weight"], config["dropout"]
        self.noise_weight, self.temperature, self.noise = (config[k] for k in ("noise_weight", "temperature", "noise"))
        if self.noise_weight or self.mask_weight:
            self.shared_by = None  # both compare the distinct users and items of a batch
        self.features = self.feature_tables()
        self.items, self.id_users = self.item_embedding(), self.user_embedding()
        self.users = nn.ParameterDict({name: self.user_embedding().weight for name in self.features})
        self.id_mlp = _mlp(self.size, self.size)
        self.mlp = nn.ModuleDict({name: _mlp(m.width, self.size) for name, m in dataset.modalities().items()})
        n_modalities = len(self.features)
        noise = torch.randn(self.n_users, n_modalities) * math.sqrt(2 / (self.n_users + n_modalities))
        self.w = nn.Parameter(noise.softmax(1))
        self.P = nn.Linear(n_modalities * self.size, n_modalities * self.size) if self.mask_weight else None
        self._A = self.interaction_graph()
        weights = self.modality_weights(config["modality_weights"])
        S = sum(weight * symmetric_normalised(self.neighbour_matrix(name)) for name, weight in weights.items())
        self._S = SparseMatrix(S, self.device)

    def _start(self, name: str) -> Tensor:
        """X [n_users + n_items, d] of a modality."""
        return _unit_rows(torch.cat([self.users[name], self.mlp[name](self.features[name]())]))

    def _propagated(self, X: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """Users and items of one network after both graphs, [n_users, d] and [n_items, d]."""
        N, layer = X, X
        for _ in range(self.n_ui_layers):
            layer = self._A.matmul(layer)
            if noise:
                layer = layer + noise * layer.sign() * F.normalize(torch.rand_like(layer))
            N = N + layer
        users, items = self.users_and_items(N)
        return users, items + smoothed(self._S, items, self.n_item_layers)

    def _fused(self, networks: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Users and items of all modalities side by side, [n_users, M d] and [n_items, M d]."""
        users = [self.w[:, m : m + 1] * users for m, (users, _) in enumerate(networks)]
        return torch.cat(users, 1), torch.cat([items for _, items in networks], 1)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items, ``embedding_size`` long for each modality."""
        return self._fused([self._propagated(self._start(name)) for name in self.features])

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the alignment, the L2 term, and what of the enhancement has a weight."""
        user, positive, negative = self.triple(interaction)
        starts = [self._start(name) for name in self.features]
        networks = [self._propagated(X) for X in starts]
        users, items = self._fused(networks)
        loss = bpr(users[user], items[positive], items[negative]) / math.log(2)
        for U in self.users.values():
            loss = loss + self.reg_weight * U[user].square().mean()
        loss = loss + self.reg_weight * self.w.square().mean()
        if self.align_weight:
            ids = self._propagated(_unit_rows(torch.cat([self.id_users.weight, self.id_mlp(self.items.weight)])))
            loss = loss + self.align_weight * _alignment([(users, items), ids, *networks])
        if self.noise_weight:
            one, other = (self._fused([self._propagated(X, self.noise) for X in starts]) for _ in range(2))
            for rows, a, b in zip((user.unique(), positive.unique()), one, other):
                loss = loss + self.noise_weight * info_nce(a[rows], b[rows], self.temperature)
        if self.P is not None:
            for e in (users[user.unique()], items[positive.unique()]):
                away = 1 - F.cosine_similarity(F.dropout(e, self.dropout), self.P(e))
                loss = loss + self.mask_weight * away.mean()
        return loss


def _alignment(tables: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Differences of variance and mean between any two pairs of users [n_users, .] and items [n_items, .]."""
    entries = [torch.cat([users[1:].flatten(), items[1:].flatten()]) for users, items in tables]  # without the padding
    moments = [torch.stack(torch.var_mean(x)) for x in entries]
    return torch.stack([(one - other).abs().sum() for one, other in combinations(moments, 2)]).sum()


def _unit_rows(X: Tensor) -> Tensor:
    """Rows of length 1; rows of zeros, such as of users without train interactions, stay and get no gradient."""
    length = X.norm(dim=1, keepdim=True)
    return torch.where(length > 0, X / length.clamp(min=1e-12), 0.0)


def _mlp(width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * size), nn.LeakyReLU(), nn.Linear(4 * size, size))
