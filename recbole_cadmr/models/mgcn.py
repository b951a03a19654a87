"""MGCN: Multi-View Graph Convolutional Network for Multimedia Recommendation."""

from __future__ import annotations

import torch
from recbole.config import Config
from torch import Tensor, nn

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.propagation import symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.two_views import TwoViewRecommender, gate


class MGCN(TwoViewRecommender):
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

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        d = self.size
        self.W2 = nn.ModuleDict({name: gate(d) for name in self.features})
        self.W3 = nn.ModuleDict({name: gate(d) for name in self.features})
        self.q = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1, bias=False))
        self._S = {
            name: SparseMatrix(symmetric_normalised(self.neighbour_matrix(name, weighted=True)), self.device)
            for name in self.features
        }

    def _content(self) -> dict[str, Tensor]:
        E = self.items.weight
        return {name: E * self.W2[name](self.W1[name](table())) for name, table in self.features.items()}

    def _side_and_behaviour(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        C, content = self._user_item_view()[rows], self._exchanged()
        by_modality = [self._item_item_view(self._S[name], P)[rows] for name, P in content.items()]
        stacked = torch.stack(by_modality, 1)  # [n, M, d]
        V = (self.q(stacked).softmax(1) * stacked).sum(1)
        side = V
        for name, V_m in zip(self.features, by_modality):
            side = side + self.W3[name](C) * (V_m - V)
        return side / (len(by_modality) + 1), C
