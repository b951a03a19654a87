"""How orthogonal what an attention adds is to what it is added to, beside what chance gives."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Projection = Literal["none", "orthogonal", "parallel"]
_ROWS = 1024  # of which all pairs are compared for the permuted chance


@torch.no_grad()
def alignment(X: Tensor, added: Tensor) -> dict[str, float]:
    """Figures about the rows of ``added`` (X') beside those of X, [n, d] each.

    Rows that are zero in either are left out: they have no direction.

    Returns:
        ``abs_cos``: mean of |cos(x_i, x'_i)|; ``mean_cos``: |mean of cos(x_i, x'_i)|, which opposite signs make small
        whatever the angles are; ``norm_ratio``: mean of |x'_i| / |x_i|; ``isotropic``: the mean |cos| of independent
        directions in d dimensions (:func:`isotropic`); ``permuted``: the mean of |cos(x_i, x'_j)| over i != j of up to
        1,024 rows, which is chance for vectors whose directions are not uniform. NaN without rows (``permuted``:
        without two).
    """
    X, added = X.detach().float(), added.detach().float()
    sizes, added_sizes = X.norm(dim=1), added.norm(dim=1)
    kept = (sizes > 0) & (added_sizes > 0)
    ratio = (added_sizes[kept] / sizes[kept]).mean()
    X, added = F.normalize(X[kept], dim=1), F.normalize(added[kept], dim=1)
    cos = (X * added).sum(1)
    some = torch.linspace(0, max(len(X) - 1, 0), min(len(X), _ROWS), device=X.device).long()
    pairs = (X[some] @ added[some].T).abs()
    n = len(some)
    others = float(pairs.sum() - pairs.diagonal().sum()) / (n * (n - 1)) if n > 1 else math.nan
    return {
        "abs_cos": float(cos.abs().mean()),
        "mean_cos": float(cos.mean().abs()),
        "norm_ratio": float(ratio),
        "isotropic": isotropic(X.shape[1]),
        "permuted": others,
    }


def kept_part(added: Tensor, X: Tensor, kind: Projection) -> Tensor:
    """An intervention on the rows of ``added`` (X') [..., n, d]: of each the part that is ``orthogonal``, or
    ``parallel``, to the row of X.

    Rows of X that are 0 have no direction: nothing is parallel to them, and everything orthogonal.
    """
    if kind == "none":
        return added
    share = (added * X).sum(-1, keepdim=True) / X.square().sum(-1, keepdim=True).clamp_min(1e-12)
    return share * X if kind == "parallel" else added - share * X


def isotropic(width: int) -> float:
    """The mean |cos| of independent directions, uniform in ``width`` dimensions: exact; about sqrt(2 / (pi width))."""
    return math.exp(math.lgamma(width / 2) - math.lgamma((width + 1) / 2)) / math.sqrt(math.pi)
