"""Features of a modality as a table of a model: fixed or trained on, with something in place of what is missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_cadmr.data.modality import Modality


class FeatureTable(nn.Module):
    """Features [n_items, width] of one modality; an item without them has the mean of the items that have some.

    Args:
        trainable: whether the features themselves are trained, as the published code of most models does.
    """

    def __init__(self, modality: Modality, trainable: bool) -> None:
        super().__init__()
        present = modality.present[:, None]
        mean = modality.features[modality.present].mean(0) if present.any() else torch.zeros(modality.width)
        table = torch.where(present, modality.features, mean)
        table[0] = 0.0  # the padding item
        if trainable:
            self.weight: Tensor = nn.Parameter(table)
        else:
            self.register_buffer("weight", table, persistent=False)
        self.width = modality.width

    def forward(self) -> Tensor:
        """The table [n_items, width]."""
        return self.weight
