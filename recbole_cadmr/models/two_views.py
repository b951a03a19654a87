"""The base of models that tell what content says of users and items from what behaviour says: MGCN and SMORE."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, info_nce, mean_square
from recbole_cadmr.layers.propagation import bipartite, mean_of_layers, smoothed, symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.cross_attention import ModalityExchange
from recbole_cadmr.models.multimodal import MultimodalRecommender
from recbole_cadmr.models.probed import ProbedModel

_SAMPLE = 1024  # items whose alignment is measured


class TwoViewRecommender(ProbedModel, MultimodalRecommender):
    """Vectors are C + side, with C what behaviour and side what content says of users and items.

    The loss is BPR + ``contrast_weight`` InfoNCE(side, C) + ``reg_weight`` L2. A user or item that a batch holds twice
    is among its own negatives in the contrast, as published.
    """

    traits = replace(MultimodalRecommender.traits, reads_item_graphs=True)
    shared_settings = ("multimodal", "gated_cross_attention", "two_views")

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.untrained = ""
        self.n_ui_layers, self.n_item_layers = config["n_ui_layers"], config["n_item_layers"]
        self.contrast_weight, self.temperature = config["contrast_weight"], config["temperature"]
        self.reg_weight = config["reg_weight"]
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.features = self.feature_tables()
        self.W1 = self.feature_maps()
        self.exchange: ModalityExchange | None = None
        if config["gca_positions"] == "fusion":
            self.exchange = ModalityExchange(
                config, {m: self._nearest(m, config["gca_neighbours"]) for m in self.features}
            )
        A = symmetric_normalised(bipartite(self.R))
        self._A = SparseMatrix(A, self.device)
        self._R_normalised = SparseMatrix(A[: self.n_users, self.n_users :], self.device)

    @abstractmethod
    def _content(self) -> dict[str, Tensor]:
        """What is known of the items by modality [n_items, d], before the modalities are fused."""

    def _exchanged(self) -> dict[str, Tensor]:
        """The same, after the modalities have read each other, if the settings say so."""
        content = self._content()
        return content if self.exchange is None else self.exchange(content)

    def _alignment(self) -> dict[str, float]:
        if self.exchange is None:
            return {}
        items = torch.linspace(1, self.n_items - 1, min(_SAMPLE, self.n_items - 1), device=self.device).long()
        return self.exchange.figures(self._content(), items)

    @abstractmethod
    def _side_and_behaviour(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """What content adds to users and items, and what behaviour says of them: ``rows`` of [n_users + n_items, d]."""

    def _user_item_view(self) -> Tensor:
        """LightGCN's mean of layers of users and items [n_users + n_items, d]."""
        return mean_of_layers(self._A, torch.cat([self.users.weight, self.items.weight]), self.n_ui_layers)

    def _item_item_view(self, S: SparseMatrix, items: Tensor) -> Tensor:
        """Items smoothed over the item graph S, and users as the normalised sums of the smoothed items they have."""
        items = smoothed(S, items, self.n_item_layers)
        return torch.cat([self._R_normalised.matmul(items), items])

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items: behaviour and content added up."""
        side, C = self._side_and_behaviour(slice(None))
        return self.users_and_items(C + side)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the contrast between what content and what behaviour say, and the L2 term."""
        rows, (u, i, j) = self.rows_of_triple(interaction)
        side, C = self._side_and_behaviour(rows)
        apart = info_nce(side[u], C[u], self.temperature) + info_nce(side[i], C[i], self.temperature)
        triple = [(C + side)[place] for place in (u, i, j)]
        return bpr(*triple) + self.contrast_weight * apart + self.reg_weight * mean_square(*triple)


def gate(size: int) -> nn.Sequential:
    """``sigmoid(W x + b)`` of the length of x."""
    return nn.Sequential(nn.Linear(size, size), nn.Sigmoid())
