"""Features of one modality, aligned with the items of a data set."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Modality:
    """Feature vectors of the items, by RecBole's item ids.

    Attributes:
        name: such as ``text`` or ``image``.
        features: float32 [n_items, width]; the padding item 0 and items without this modality are rows of zeros.
        present: bool [n_items]; False for the padding item and for items without this modality.
        mapping: of the file that the features lie in; None if they lie in memory.
    """

    name: str
    features: torch.Tensor
    present: torch.Tensor
    mapping: mmap.mmap | None = None

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return self.features.shape[1]

    def release(self) -> None:
        """Give back the memory of features that lie in a file; they are read again where they are asked for again."""
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)

    def with_items(self, rows: torch.Tensor | None, n: int) -> Modality:
        """The same with ``n`` further items behind the others.

        Args:
            rows: [n, width], their features, zeros where one lacks the modality; None if all do.
        """
        rows = torch.zeros(n, self.width) if rows is None else rows
        return Modality(self.name, torch.cat([self.features, rows]), torch.cat([self.present, rows.any(1)]))
