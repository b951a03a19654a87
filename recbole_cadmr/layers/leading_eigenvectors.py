"""The leading eigenvectors of a symmetric matrix of which only products are asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def leading_eigenvectors(
    times: Callable[[Tensor], Tensor],
    n: int,
    k: int,
    oversampling: int,
    rounds: int,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Eigenvectors [n, k] and eigenvalues [k] of a positive semidefinite matrix [n, n], the largest first.

    By subspace iteration from random directions (Halko, Martinsson and Tropp 2011, algorithm 4.4), the same each time.

    Args:
        times: the matrix times vectors [n, m].
        k: how many; no more than n are found.
        oversampling: directions beyond those asked for.
        rounds: products with the matrix before the last one.
    """
    start = torch.Generator().manual_seed(0)
    Q = torch.randn(n, min(k + oversampling, n), generator=start, dtype=dtype)
    for _ in range(rounds):
        Q = torch.linalg.qr(times(Q)).Q
    values, rotation = torch.linalg.eigh((Q.T @ times(Q)).double())
    values, rotation = values.flip(0)[:k], rotation.flip(1)[:, :k]
    return Q @ rotation.to(dtype), values
