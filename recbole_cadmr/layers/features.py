"""Tables of a model: rows that are trained or left as they are, such as the features of a modality."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_cadmr.data.modality import Modality


class Table(nn.Module):
    """Rows [n, width], trained from ``start`` on, or left as they are.

    Args:
        kept: whether checkpoints hold rows that are not trained.
    """

    weight: Tensor

    def __init__(self, start: Tensor, trained: bool, kept: bool = True) -> None:
        super().__init__()
        if trained:
            self.weight = nn.Parameter(start)
        else:
            self.register_buffer("weight", start, persistent=kept)

    def forward(self) -> Tensor:
        """The rows."""
        return self.weight


def feature_table(modality: Modality, trained: bool) -> Table:
    """The features of a modality; an item without them has the mean of the items that have some.

    Args:
        trained: whether the features themselves are trained, as the published code of most models does.
    """
    present = modality.present[:, None]
    mean = modality.features[modality.present].mean(0) if present.any() else torch.zeros(modality.width)
    table = torch.where(present, modality.features, mean)
    table[0] = 0.0  # the padding item
    return Table(table, trained, kept=False)
