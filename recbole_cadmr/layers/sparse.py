"""Fixed sparse matrices that gradients pass through."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


class SparseMatrix:
    """A constant sparse matrix M [n, m] on a device, stored with its transpose for the gradient."""

    def __init__(self, matrix: sp.csr_matrix, device: str | torch.device = "cpu") -> None:
        self._matrix, self._transposed = (_compressed(m.tocsr(), device) for m in (matrix, matrix.T))

    def times(self, E: Tensor) -> Tensor:
        """``M E`` for a dense E [m, d]."""
        return _Product.apply(self._matrix, self._transposed, E)

    def transposed_times(self, E: Tensor) -> Tensor:
        """``M' E`` for a dense E [n, d]."""
        return _Product.apply(self._transposed, self._matrix, E)


class _Product(torch.autograd.Function):
    # torch's own gradient of this product transposes the matrix anew in every step.
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, E: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ E

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0].contiguous()


def _compressed(matrix: sp.csr_matrix, device: str | torch.device) -> Tensor:
    begin, column = (torch.from_numpy(index.astype(np.int64)) for index in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data.astype(np.float32))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(begin, column, values, matrix.shape, check_invariants=True).to(device)
