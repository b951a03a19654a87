"""VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, mean_square
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.models.multimodal import MultimodalRecommender


class VBPR(MultimodalRecommender):
    """Matrix factorisation with a second factor of items that is a linear map of their features.

    An item is ``[gamma_i, E f_i]`` with the features f_i of all modalities side by side, a user a free vector of twice
    the length (He and McAuley, AAAI 2016, equation 3). As in the multimodal papers' toolbox, biases are left out.
    Settings are declared in ``properties/model/VBPR.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, explains=True, takes_new_items=True)

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.reg_weight = config["reg_weight"]
        self.users = self.user_embedding(2 * self.size)
        self.items = self.item_embedding()
        self.features = self.feature_tables()
        self.E = nn.Linear(sum(modality.width for modality in dataset.modalities().values()), self.size)
        nn.init.xavier_uniform_(self.E.weight)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items, 2 x ``embedding_size`` long."""
        f = torch.cat([table() for table in self.features.values()], 1)
        return self.users.weight, torch.cat([self.items.weight, self.E(f)], 1)

    @torch.no_grad()
    def score_paths(self, chosen: Tensor, item: int, user: int | None = None) -> list[ScorePath]:
        """The inner products by the free vectors and by the content of each modality; of no chosen item in particular.

        Raises:
            UserError: of people it has not seen.
        """
        if user is None:
            return super().score_paths(chosen, item, user)
        free, content = self.users.weight[user].double().split(self.size)
        tables = {name: table()[item].double() for name, table in self.features.items()}
        maps = self.E.weight.double().split([len(features) for features in tables.values()], 1)
        by_modality = {name: content @ (E @ f) for E, (name, f) in zip(maps, tables.items())}
        parts = [
            ("free vectors", "", free @ self.items.weight[item].double()),
            *(("content", name, value) for name, value in by_modality.items()),
            ("content of any item", "", content @ self.E.bias.double()),
        ]
        return [ScorePath(path, name, np.array([float(value)]), by_item=False) for path, name, value in parts]

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples, and the L2 term of their vectors."""
        user, positive, negative = self.triple(interaction)
        users, items = self.forward()
        u, i, j = users[user], items[positive], items[negative]
        return bpr(u, i, j) + self.reg_weight * mean_square(u, i, j)
