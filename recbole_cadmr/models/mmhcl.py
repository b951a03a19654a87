"""MMHCL: Multi-Modal Hypergraph Contrastive Learning for Recommendation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, info_nce_of_views, mean_square
from recbole_cadmr.layers.propagation import SharedHyperedges, mean_of_layers, smoothed
from recbole_cadmr.models.multimodal import MultimodalRecommender


class MMHCL(MultimodalRecommender):
    """LightGCN beside hypergraphs of users by their items and of items by their content, held together by a contrast.

    Guo et al., TOMM 2025. With free vectors U, E of users and items, others U', E' for the hypergraphs, interactions R
    and unweighted nearest neighbours S_m by each modality m, the item itself among them::

        first order     C      = mean of [U; E], A [U; E], ... A^L [U; E]
        second order    C'_U   = W_U^n U'      W_U = D^-1 (R R' without its diagonal)
                        C'_I   = W_I^k E'      W_I = D^-1/2 S S' D^-1/2,  S = [S_1, ..., S_M] side by side
        vectors         Z      = C + unit(C')

    The loss is BPR + ``reg_weight`` L2 + ``user_contrast_weight`` and ``item_contrast_weight`` times the contrast of Z
    and C', of users and of items: each one's row of C' is told among all rows of Z and C' but its own of Z. As in the
    published code, Z is contrasted, not C.

    Features say which items are near each other, and nothing else. Expensive is the contrast, in every step of all
    users with all users, and of all items with all items: ``contrast_rows`` computes it for some of them, drawn in
    every step. Users and items without train interactions take no part in it. Settings are declared in
    ``properties/model/MMHCL.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, reads_item_graphs=True)

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_ui_layers = config["n_ui_layers"]
        self.n_user_layers, self.n_item_layers = config["n_user_layers"], config["n_item_layers"]
        self.contrast_weights = config["user_contrast_weight"], config["item_contrast_weight"]
        self.contrast_rows, self.temperature = config["contrast_rows"], config["temperature"]
        self.reg_weight = config["reg_weight"]
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.hyper_users, self.hyper_items = self.user_embedding(), self.item_embedding()
        self._A = self.interaction_graph()
        self._W_users = SharedHyperedges(self.R, with_self=False, symmetric=False, device=self.device)
        S = sp.hstack([self.neighbour_matrix(name) for name in dataset.modalities()], format="csr")
        self._W_items = SharedHyperedges(S, with_self=True, symmetric=True, device=self.device)
        known = np.diff(self.R.indptr), np.bincount(self.R.indices, minlength=self.n_items)
        self._known = [torch.from_numpy(counts.nonzero()[0]).to(self.device) for counts in known]
        self._weight = torch.ones(self.n_users, device=self.device)
        if config["equal_users"]:
            mean = self.R.nnz / max(len(self._known[0]), 1)
            self._weight = torch.from_numpy(mean / np.maximum(known[0], 1)).float().to(self.device)

    def _orders(self) -> tuple[list[Tensor], list[Tensor]]:
        """Z and C', of users [n_users, d] and of items [n_items, d] each."""
        second = [
            smoothed(self._W_users, self.hyper_users.weight, self.n_user_layers),
            smoothed(self._W_items, self.hyper_items.weight, self.n_item_layers),
        ]
        first = mean_of_layers(self._A, torch.cat([self.users.weight, self.items.weight]), self.n_ui_layers)
        return [C + F.normalize(C2) for C, C2 in zip(self.users_and_items(first), second)], second

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items: both orders added up."""
        users, items = self._orders()[0]
        return users, items

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples, the L2 term of their vectors, and the contrast of the orders."""
        user, positive, negative = self.triple(interaction)
        Z, second = self._orders()
        u, i, j = Z[0][user], Z[1][positive], Z[1][negative]
        weight = self._weight[user]
        loss = bpr(u, i, j, weight) + self.reg_weight * mean_square(*(weight.sqrt()[:, None] * v for v in (u, i, j)))
        for contrast_weight, one, other, known in zip(self.contrast_weights, Z, second, self._known):
            if contrast_weight:
                rows = self._contrasted(len(known))
                loss = loss + contrast_weight * info_nce_of_views(one[known], other[known], self.temperature, rows)
        return loss

    def _contrasted(self, n: int) -> Tensor:
        """Which of n users or items a step contrasts."""
        if not 0 < self.contrast_rows < n:
            return torch.arange(n, device=self.device)
        return torch.randperm(n, device=self.device)[: self.contrast_rows]
