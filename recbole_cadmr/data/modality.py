"""Features of one modality, aligned with the items of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Modality:
    """Feature vectors of the items, by RecBole's item ids.

    Attributes:
        name: such as ``text`` or ``image``.
        features: float32 [n_items, width]; the padding item 0 and items without this modality are rows of zeros.
        present: bool [n_items]; False for the padding item and for items without this modality.
    """

    name: str
    features: torch.Tensor
    present: torch.Tensor

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return self.features.shape[1]

    def with_items(self, rows: torch.Tensor | None, n: int) -> Modality:
        """The same with ``n`` further items behind the others.

        Args:
            rows: [n, width], their features, zeros where one lacks the modality; None if all do.
        """
        rows = torch.zeros(n, self.width) if rows is None else rows
        return Modality(self.name, torch.cat([self.features, rows]), torch.cat([self.present, rows.any(1)]))
