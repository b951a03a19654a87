"""MGCN: Multi-View Graph Convolutional Network for Multimedia Recommendation."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_cadmr.layers.batch import unique_inverse
from recbole_cadmr.layers.behaviour import Views, gate
from recbole_cadmr.layers.losses import bpr, info_nce, mean_square
from recbole_cadmr.layers.propagation import symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class MGCN(MultimodalRecommender):
    """Content purified by behaviour, spread over item graphs apart from behaviour, and fused by behaviour.

    Yu et al., ACM MM 2023. With free vectors E of items, features F_m and the item graph S_m of a modality m::

        purified content    P_m = E * sigmoid(W2_m (W1_m F_m + b1_m) + b2_m)
        item-item view      V_m = [R~ S_m P_m; S_m P_m]              R~: normalised interactions
        user-item view      C   = mean of [U; E], A [U; E], A A [U; E]
        what is common      V   = sum_m a_m V_m                      a = softmax_m q' tanh(W V_m + b)
        what is special     D_m = sigmoid(W3_m C + b3_m) * (V_m - V)
        vectors             C + side,  side = (sum_m D_m + V) / (M + 1)

    and the loss is BPR + ``contrast_weight`` InfoNCE(side, C) + ``reg_weight`` L2. As in the published code, features
    are trained, edges of S_m weigh their cosine, and the temperature of InfoNCE is .2. Settings are declared in
    ``properties/model/MGCN.yaml``.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_ui_layers, self.n_item_layers = config["n_ui_layers"], config["n_item_layers"]
        self.contrast_weight, self.temperature = config["contrast_weight"], config["temperature"]
        self.reg_weight = config["reg_weight"]
        d = self.size
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.features = self.feature_tables()
        self.W1 = nn.ModuleDict({name: nn.Linear(m.width, d) for name, m in dataset.modalities().items()})
        self.W2 = nn.ModuleDict({name: gate(d) for name in self.features})
        self.W3 = nn.ModuleDict({name: gate(d) for name in self.features})
        self.q = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1, bias=False))
        self._views = Views(self.R, self.device)
        self._S = {
            name: SparseMatrix(symmetric_normalised(self.neighbour_matrix(name, weighted=True)), self.device)
            for name in self.features
        }

    def _side_and_behaviour(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """What content adds to users and items, and what behaviour says of them: ``rows`` of [n_users + n_items, d]."""
        E = self.items.weight
        C = self._views.user_item(self.users.weight, E, self.n_ui_layers)[rows]
        by_modality = []
        for name, table in self.features.items():
            P = E * self.W2[name](self.W1[name](table()))
            by_modality.append(self._views.item_item(self._S[name], P, self.n_item_layers)[rows])
        stacked = torch.stack(by_modality, 1)  # [n, M, d]
        V = (self.q(stacked).softmax(1) * stacked).sum(1)
        side = V
        for name, V_m in zip(self.features, by_modality):
            side = side + self.W3[name](C) * (V_m - V)
        return side / (len(by_modality) + 1), C

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items: behaviour and content added up."""
        side, C = self._side_and_behaviour(slice(None))
        return (C + side)[: self.n_users], (C + side)[self.n_users :]

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the contrast between what content and what behaviour say, and the L2 term."""
        user, positive, negative = self.triple(interaction)
        rows, (u, i, j) = unique_inverse(user, positive + self.n_users, negative + self.n_users)
        side, C = self._side_and_behaviour(rows)
        # A user or item that a batch holds twice is among its own negatives, as published.
        apart = info_nce(side[u], C[u], self.temperature) + info_nce(side[i], C[i], self.temperature)
        triple = [(C + side)[place] for place in (u, i, j)]
        return bpr(*triple) + self.contrast_weight * apart + self.reg_weight * mean_square(*triple)
