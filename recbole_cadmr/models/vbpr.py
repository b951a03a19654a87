"""VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, mean_square
from recbole_cadmr.models.multimodal import MultimodalRecommender


class VBPR(MultimodalRecommender):
    """Matrix factorisation with a second factor of items that is a linear map of their features.

    An item is ``[gamma_i, E f_i]`` with the features f_i of all modalities side by side, a user a free vector of twice
    the length (He and McAuley, AAAI 2016, equation 3). As in the multimodal papers' toolbox, biases are left out.
    Settings are declared in ``properties/model/VBPR.yaml``.
    """

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

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples, and the L2 term of their vectors."""
        user, positive, negative = self.triple(interaction)
        users, items = self.forward()
        u, i, j = users[user], items[positive], items[negative]
        return bpr(u, i, j) + self.reg_weight * mean_square(u, i, j)
