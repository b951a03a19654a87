"""The rows of a table that a batch needs."""

from __future__ import annotations

import torch
from torch import Tensor


def unique_inverse(*ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The distinct ids [n] among all of ``ids`` [B] each, and for each of these where its ids stand among them [B]."""
    rows, place = torch.cat(ids).unique(return_inverse=True)
    return rows, place.split([len(part) for part in ids])
