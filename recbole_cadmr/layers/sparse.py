"""Sparse matrices that gradients pass through: constant ones, and ones whose entries are learned."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

_BLOCK = 2**16  # entries gathered at once


class SparseMatrix:
    """A constant sparse matrix M [n, m] on a device, stored with its transpose for the gradient."""

    def __init__(self, matrix: sp.csr_matrix, device: str | torch.device = "cpu") -> None:
        self._matrix, self._transposed = (compressed(m.tocsr(), device) for m in (matrix, matrix.T))

    def matmul(self, E: Tensor) -> Tensor:
        """``M E`` for a dense E [m, d]."""
        return _Product.apply(self._matrix, self._transposed, E)

    def transposed_times(self, E: Tensor) -> Tensor:
        """``M' E`` for a dense E [n, d]."""
        return _Product.apply(self._transposed, self._matrix, E)

    def mean_of_powers(self, E: Tensor, n: int) -> Tensor:
        """The mean of ``E, M E, ..., M^n E`` for a dense E [m, d] and a square M."""
        return _MeanOfPowers.apply(self._matrix, self._transposed, E, n)


def product(matrix: Tensor, E: Tensor) -> Tensor:
    """``matrix @ E`` of a sparse matrix, without the two passes over the result that torch takes to begin it."""
    result = E.new_empty(matrix.shape[0], E.shape[1])
    return torch.addmm(result, matrix, E, beta=0, out=result)


class _Product(torch.autograd.Function):
    # torch's own gradient of this product transposes the matrix anew in every step.
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, E: Tensor) -> Tensor:
        ctx.transposed = transposed
        return product(matrix, E)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, product(ctx.transposed, gradients[0].contiguous())


class _MeanOfPowers(torch.autograd.Function):
    # By Horner's scheme, forth and back: one layer is held at a time; autograd would hold all and their gradients.
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, E: Tensor, n: int) -> Tensor:
        ctx.transposed, ctx.n = transposed, n
        return _mean_of_powers(matrix, E, n)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor, None]:
        return None, None, _mean_of_powers(ctx.transposed, gradients[0].contiguous(), ctx.n), None


def _mean_of_powers(matrix: Tensor, E: Tensor, n: int) -> Tensor:
    total = E
    for _ in range(n):
        total = torch.addmm(E, matrix, total)
    return total / (n + 1)


class EdgeMatrix:
    """A sparse matrix [n, m] of fixed places and changing values, such as an attention over the edges of a graph.

    Attributes:
        row, column: int64 [nnz], places of the entries in the order that values are given in: by rows.
        shape: ``(n, m)``.
    """

    def __init__(self, matrix: sp.csr_matrix, device: str | torch.device = "cpu") -> None:
        csr = sp.csr_matrix(matrix)
        csr.sum_duplicates()
        self.shape = csr.shape
        row = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
        back = sp.csr_matrix((np.arange(csr.nnz), csr.indices, csr.indptr), csr.shape).tocsc()  # explicit zeros stay
        arrays = (row, csr.indices, csr.indptr, back.indptr, back.indices, back.data)
        self.row, self.column, self.indptr, self.back_indptr, self.back_row, self.back_order = (
            torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays
        )

    def matmul(self, value: Tensor, E: Tensor) -> Tensor:
        """``M E`` [n, d] for the values [nnz] of M and a dense E [m, d]; gradients reach both."""
        return _EdgeProduct.apply(self, value, E)

    def products(self, A: Tensor, B: Tensor) -> Tensor:
        """``A[row] . B[column]`` of every entry [nnz], for A [n, d] and B [m, d]: what an attention starts from."""
        return _EntryProducts.apply(self, A, B)

    def softmax(self, score: Tensor) -> Tensor:
        """Softmax of scores [nnz] over the entries of each row."""
        n = self.shape[0]
        highest = torch.full((n,), -torch.inf, device=score.device, dtype=score.dtype)
        highest = highest.scatter_reduce(0, self.row, score.detach(), "amax")
        weight = (score - highest[self.row]).exp()
        total = torch.zeros(n, device=score.device, dtype=score.dtype).index_add(0, self.row, weight)
        return weight / total[self.row]


class _EdgeProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: EdgeMatrix, value: Tensor, E: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(value, E)
        return _there(edges, value.detach()) @ E

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        edges, (value, E), G = ctx.edges, ctx.saved_tensors, gradients[0].contiguous()
        of_value = _entry_products(edges, G, E) if ctx.needs_input_grad[1] else None
        of_E = _back(edges, value) @ G if ctx.needs_input_grad[2] else None
        return None, of_value, of_E


class _EntryProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: EdgeMatrix, A: Tensor, B: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(A, B)
        return _entry_products(edges, A.detach(), B.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        edges, (A, B), g = ctx.edges, ctx.saved_tensors, gradients[0]
        of_A = _there(edges, g) @ B if ctx.needs_input_grad[1] else None
        of_B = _back(edges, g) @ A if ctx.needs_input_grad[2] else None
        return None, of_A, of_B


def _entry_products(edges: EdgeMatrix, A: Tensor, B: Tensor) -> Tensor:
    """``A[row] . B[column]`` of every entry; gathering the rows takes ten times as long as torch's own product."""
    if A.is_cuda or torch.backends.mkl.is_available():
        places = _there(edges, A.new_zeros(len(edges.row)))
        return torch.sparse.sampled_addmm(places, A, B.T, beta=0.0).values()
    blocks = zip(edges.row.split(_BLOCK), edges.column.split(_BLOCK))
    return torch.cat([(A[row] * B[column]).sum(1) for row, column in blocks])


def _there(edges: EdgeMatrix, value: Tensor) -> Tensor:
    """The matrix of the values."""
    return _csr(edges.indptr, edges.column, value, edges.shape)


def _back(edges: EdgeMatrix, value: Tensor) -> Tensor:
    """The transposed matrix of the values."""
    return _csr(edges.back_indptr, edges.back_row, value[edges.back_order], edges.shape[::-1])


def compressed(matrix: sp.csr_matrix, device: str | torch.device, dtype: Any = np.float32) -> Tensor:
    """A sparse matrix as torch's; products with wide matrices are far faster than sums of table rows."""
    indptr, column = (torch.from_numpy(index.astype(np.int64)) for index in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data.astype(dtype))
    return _csr(indptr, column, values, matrix.shape).to(device)


def padded_rows(matrix: sp.csr_matrix) -> tuple[Tensor, Tensor]:
    """Columns (int64) and values (float32) of each row's entries [n, most entries of a row], both 0 behind the last."""
    length = np.diff(matrix.indptr)
    filled = np.arange(length.max(initial=0)) < length[:, None]
    column, value = np.zeros(filled.shape, dtype=np.int64), np.zeros(filled.shape, dtype=np.float32)
    column[filled], value[filled] = matrix.indices, matrix.data
    return torch.from_numpy(column), torch.from_numpy(value)


def _csr(indptr: Tensor, column: Tensor, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(indptr, column, value, shape, check_invariants=False)
