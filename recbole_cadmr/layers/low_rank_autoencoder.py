"""The linear item-item autoencoder of catalogues for which no matrix of items by items fits: low rank plus sparse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.layers.leading_eigenvectors import leading_eigenvectors
from recbole_cadmr.layers.linear_autoencoder import FitRows, singular
from recbole_cadmr.layers.sparse import compressed, padded_rows, product

BLOCK = 1024  # items whose rows are one task
_IN_CACHE = 128  # of these, computed at once; a part of the result, as it says which of equal entries are kept
_SCORES = 2**27  # and at most, of these items with all others, in very large catalogues
_OVERSAMPLES = 32  # directions looked at beyond those kept
_ROUNDS = 5  # of subspace iteration
_HEAVY = 64  # users at most who are rows of the low-rank part
_GATHERED = 2**22  # entries of the sparse part that are looked at together
_COLUMNS = 2**14  # columns of a product computed together, whose factor stays in the cache
_PADDED = 2**25  # entries of padded rows held at once: the row of a popular item may be as long as the catalogue

RowsOf: TypeAlias = Callable[[slice], sp.csr_matrix]
BlockMap: TypeAlias = Callable[[RowsOf, Sequence[slice]], Iterable[sp.csr_matrix]]


@dataclass(frozen=True)
class LowRankAutoencoder:
    """B of :func:`exact_autoencoder`, its leading components exact and the rest to first order.

    ``B = (W - diag W) / (1 - diag W)`` by columns, where ``W = G (G + reg_weight I)^-1`` and ``G = X'X + F F'``,
    brought from the scale of X and F, rows below those of X, to that of the rows they were made from. With G's largest
    eigenvalues ``theta_1 >= ... >= theta_r`` and their vectors V (by subspace iteration), ``f(t) = t / (t +
    reg_weight)`` and ``a = f(theta_r) / theta_r``,

        ``W ~ V diag(f(theta) - a theta) V' + a F F' + a X'X``:

    what f does to the smaller eigenvalues is taken to be linear, which it nearly is below ``reg_weight``. B is exact
    where r is the rank of G, and is never formed. With an order (:class:`FitRows`) there is ``P K`` beside it, with
    ``P = (G + reg_weight I)^-1 ~ V diag(1 / (theta + reg_weight) - c) V' + c I``, c being ``1 / (t + reg_weight)`` of
    the mean t of the other eigenvalues, and k its diagonal: ``W diag(1 + k) + P K diag(1 - diag W)`` in place of W,
    whose diagonal is left out, too, before columns are divided by ``1 - diag W``.

    Attributes:
        left, right: [I, r + d], the dense part ``left right'`` of W.
        rows_T, rows: [I, n] and [n, I], the sparse part ``rows_T rows``.
        diagonal: of W [I].
        of_column: [I], what a column of ``W - diag W`` is multiplied by.
        scale: [I], by which the columns of X were multiplied.
    """

    left: np.ndarray
    right: np.ndarray
    rows_T: sp.csr_matrix
    rows: sp.csr_matrix
    diagonal: np.ndarray
    of_column: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, given: FitRows, components: tuple[np.ndarray, np.ndarray]) -> LowRankAutoencoder:
        """The autoencoder of some rows.

        Args:
            components: V and theta, of :func:`leading_components`.

        Raises:
            ModelError: if a column of X is the sum of others to its precision, and the ridge too small.
        """
        X, F, ridge, (V, theta) = given.X, given.F, given.reg_weight, components
        f = theta / (theta + ridge)
        slope = float(f[-1] / theta[-1]) if len(theta) else 0.0
        degree = np.asarray(X.multiply(X).sum(0), dtype=np.float64).ravel()
        left, weight = np.hstack([V, F]), np.append(f - slope * theta, np.full(F.shape[1], slope))
        diagonal = (left.astype(np.float64) ** 2) @ weight + slope * degree
        if not np.isfinite(diagonal).all() or diagonal.max() >= 1 - 8 * np.finfo(V.dtype).eps:
            raise singular(ridge)
        right, of_column = left * weight.astype(V.dtype), 1 / ((1 - diagonal) * given.scale)
        if given.Y is None:
            rows = sp.csr_matrix((X.data * X.dtype.type(slope), X.indices, X.indptr), X.shape)
            return cls(left, right, X.T.tocsr(), rows, diagonal, of_column, given.scale)
        Y, rest = given.Y, 1 - diagonal
        n_left = max(len(degree) - len(theta), 1)
        least = 1 / (max((degree.sum() + float((F.astype(np.float64) ** 2).sum()) - theta.sum()) / n_left, 0.0) + ridge)
        of_order = (Y.T @ (X @ V) - X.T @ (Y @ V)) * (1 / (theta + ridge) - least).astype(V.dtype)  # K'V, weighed
        k = np.einsum("ir,ir->i", V, of_order, dtype=np.float64)
        right *= (1 + k)[:, None].astype(V.dtype)
        right[:, : len(theta)] += of_order * rest[:, None].astype(V.dtype)
        ordered = sp.diags((least * rest).astype(X.dtype))
        rows = sp.vstack([X @ sp.diags((slope * (1 + k)).astype(X.dtype)) + Y @ ordered, -X @ ordered], "csr")
        rows_T = sp.hstack([X.T, Y.T], "csr")
        return cls(left, right, rows_T, rows, diagonal + k, of_column, given.scale)

    def product(self, rows: sp.csr_matrix) -> np.ndarray:
        """``rows B`` [n, I] of sparse rows [n, I], dense."""
        rows = (rows @ sp.diags(self.scale)).tocsr().astype(self.left.dtype)
        product = ((rows @ self.rows_T) @ self.rows).toarray()
        product += (rows @ self.left) @ self.right.T
        entries = rows.tocoo()
        np.subtract.at(product, (entries.row, entries.col), entries.data * self.diagonal[entries.col])
        product *= self.of_column
        return product

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """B at these rows [n] and columns [m]: float64 [n, m]."""
        sparse = (self.rows_T[rows].astype(np.float64) @ self.rows[:, columns].astype(np.float64)).toarray()
        W = self.left[rows].astype(np.float64) @ self.right[columns].T + sparse
        W -= np.where(rows[:, None] == columns, self.diagonal[columns], 0.0)
        return self.scale[rows, None] * W * self.of_column[columns]


def leading_components(X: sp.csr_matrix, F: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``rank`` leading eigenvectors [I, r] of ``X'X + F F'`` and their eigenvalues, none of them 0, largest first.

    Args:
        F: [I, d], of as many further rows.
    """
    n_items, rank = X.shape[1], min(rank, X.shape[0] + F.shape[1], X.shape[1])
    if not X.nnz and not F.any():
        return np.zeros((n_items, 0), X.dtype), np.zeros(0)
    of_users, of_items = (compressed(matrix, "cpu", X.dtype) for matrix in (X, X.T.tocsr()))
    further = torch.from_numpy(F)

    def times_gram(Q: Tensor) -> Tensor:
        return product(of_items, product(of_users, Q)).addmm_(further, further.T @ Q)

    V, theta = leading_eigenvectors(times_gram, n_items, rank, _OVERSAMPLES, _ROUNDS, of_users.dtype)
    kept = theta > theta[0] * torch.finfo(V.dtype).eps
    return V[:, kept].numpy(), theta[kept].numpy()


@dataclass(frozen=True)
class LowRankPlusSparse:
    """A matrix of items by items ``left right' + sparse``.

    Attributes:
        left, right: float32 [I, r].
        sparse: float32 [I, I].
    """

    left: Tensor
    right: Tensor
    sparse: sp.csr_matrix

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any], n_items: int, device: torch.device) -> LowRankPlusSparse:
        """The matrix of parts by name, as they are out of a checkpoint.

        Raises:
            ValueError: if they are none, as in a checkpoint that was edited.
        """
        factors = [part for name in ("left", "right") if isinstance(part := parts.get(name), Tensor) and part.ndim == 2]
        sparse: Any = parts.get("sparse")
        shapes = {tuple(part.shape) for part in factors}
        is_square = sp.issparse(sparse) and sparse.shape == (n_items, n_items)
        if len(factors) < 2 or len(shapes) > 1 or len(factors[0]) != n_items or not is_square:
            raise ValueError(f"its weights are no matrix of {n_items:,} items by {n_items:,}")
        left, right = (part.to(device).float() for part in factors)
        return cls(left, right, sparse.tocsr().astype(np.float32, copy=False))

    def entries(self, rows: np.ndarray, column: int) -> np.ndarray:
        """The matrix at these rows [n] of a column: float64 [n]."""
        low_rank = self.left[rows].double() @ self.right[column].double()
        return low_rank.cpu().numpy() + self.sparse[rows, column].toarray().ravel()

    def product(self, rows: sp.csr_matrix, padding: int = 0) -> Tensor:
        """``rows`` [n, I] times the matrix, dense, behind ``padding`` columns of 0: float32 [n, padding + I]."""
        result = self.left.new_empty(rows.shape[0], padding + rows.shape[1])
        result[:, :padding] = 0
        scores, of_rows = result[:, padding:], torch.from_numpy(rows @ self.left.cpu().numpy()).to(self.left)
        for right, place in zip(self.right.split(_COLUMNS), scores.split(_COLUMNS, 1)):
            torch.mm(of_rows, right.T, out=place)
        end = np.append(0, np.diff(self.sparse.indptr)[rows.indices].cumsum())[rows.indptr]
        last = np.flatnonzero(np.diff(end[1:] // _GATHERED)) + 1
        for start, stop in zip([0, *last], [*last, rows.shape[0]]):
            self._add_sparse(scores[start:stop], rows[start:stop])
        return result

    def _add_sparse(self, scores: Tensor, rows: sp.csr_matrix) -> None:
        sparse = self.sparse[rows.indices]
        column = torch.from_numpy(sparse.indices).to(scores.device)
        value = torch.from_numpy(sparse.data * np.repeat(rows.data, np.diff(sparse.indptr))).to(scores)
        sizes = np.diff(sparse.indptr[rows.indptr]).tolist()
        for row, columns, values in zip(scores, column.split(sizes), value.split(sizes)):
            row.index_add_(0, columns, values)


def entries(weights: Tensor | sp.csr_matrix | LowRankPlusSparse, rows: np.ndarray, column: int) -> np.ndarray:
    """Weights of items by items, in whichever form, at these rows [n] of a column: float64 [n]."""
    if isinstance(weights, Tensor):
        return weights[torch.from_numpy(rows).to(weights.device), column].double().cpu().numpy()
    if isinstance(weights, LowRankPlusSparse):
        return weights.entries(rows, column)
    return weights[rows, column].toarray().ravel().astype(np.float64)


def in_threads(rows_of: RowsOf, blocks: Sequence[slice]) -> Iterable[sp.csr_matrix]:
    """``rows_of`` of every block, on as many threads as torch uses."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(rows_of, blocks)


def with_content(
    B: LowRankAutoencoder,
    enhancing: sp.csr_matrix,
    scale: np.ndarray,
    smoothing: sp.csr_matrix,
    direct: sp.csr_matrix,
    n_entries: int,
    device: torch.device,
    map_blocks: BlockMap = in_threads,
) -> LowRankPlusSparse:
    """``enhancing B diag(scale) smoothing + direct`` [I, I], of whose sparse part a row keeps ``n_entries``.

    The users with most items, whose pairs would fill its rows, are in the low-rank part instead: ``a G`` must be nearly
    whole, as the other terms subtract ``a theta``.

    Args:
        enhancing, smoothing, direct: [I, I], sparse.
        scale: [I], of the columns.
        map_blocks: computes rows of the sparse part, a block of items at a time.
    """
    of_column = B.of_column * scale
    enhancing = (enhancing @ sp.diags(B.scale)).tocsr().astype(B.left.dtype)
    heavy = _heavy_rows(B.rows, n_entries)
    if len(heavy):
        others = np.setdiff1d(np.arange(B.rows.shape[0]), heavy)
        dense = [np.hstack([B.left, B.rows_T[:, heavy].toarray()]), np.hstack([B.right, B.rows[heavy].toarray().T])]
        B = replace(B, rows=B.rows[others], rows_T=B.rows_T[:, others], left=dense[0], right=dense[1])
    left = enhancing @ B.left
    right = smoothing.T @ (B.right * of_column[:, None].astype(B.right.dtype))
    rows_of = partial(_in_parts, partial(_sparse_rows, B, enhancing, of_column, smoothing, direct, n_entries))
    n_items = len(scale)
    step = min(BLOCK, max(_SCORES // n_items, 1))
    blocks = [slice(start, min(start + step, n_items)) for start in range(0, n_items, step)]
    sparse = _stacked(map_blocks(rows_of, blocks), n_items, n_entries)
    factors = (torch.from_numpy(np.ascontiguousarray(part, np.float32)).to(device) for part in (left, right))
    return LowRankPlusSparse(next(factors), next(factors), sparse)


def _stacked(blocks: Iterable[sp.csr_matrix], n_items: int, n_entries: int) -> sp.csr_matrix:
    """The matrix of blocks of its rows, of ``n_entries`` at most; no block is kept beside it."""
    column, value = np.empty(n_items * n_entries, np.int32), np.empty(n_items * n_entries, np.float32)
    length, end = [np.zeros(1, np.int64)], 0
    for block in blocks:
        place = slice(end, end := end + block.nnz)
        column[place], value[place] = block.indices, block.data
        length.append(np.diff(block.indptr))
    return sp.csr_matrix((value[:end], column[:end], np.concatenate(length).cumsum()), (n_items, n_items))


def _heavy_rows(rows: sp.csr_matrix, n_entries: int) -> np.ndarray:
    """Those with most entries, if these are more than a quarter of what a row of items by items keeps."""
    degree = rows.getnnz(1)
    largest = np.argsort(-degree, kind="stable")[:_HEAVY]
    return largest[4 * degree[largest] > n_entries]


def _in_parts(rows_of: RowsOf, block: slice) -> sp.csr_matrix:
    """The rows of a block, as many at once as a cache holds."""
    starts = range(block.start, block.stop, _IN_CACHE)
    return sp.vstack([rows_of(slice(at, min(at + _IN_CACHE, block.stop))) for at in starts], "csr")


def _sparse_rows(
    B: LowRankAutoencoder,
    enhancing: sp.csr_matrix,
    of_column: np.ndarray,
    smoothing: sp.csr_matrix,
    direct: sp.csr_matrix,
    n_entries: int,
    block: slice,
) -> sp.csr_matrix:
    rows = enhancing[block]
    of_gram = (rows @ B.rows_T) @ B.rows
    of_gram = (of_gram - rows @ sp.diags(B.diagonal.astype(rows.dtype))).tocsr()
    of_gram.data *= of_column[of_gram.indices]
    near = strongest(of_gram.astype(np.float32, copy=False), n_entries)
    return strongest((near @ smoothing + direct[block]).tocsr().astype(np.float32, copy=False), n_entries)


def strongest(matrix: sp.csr_matrix, n_entries: int) -> sp.csr_matrix:
    """The matrix with the ``n_entries`` largest entries of each row by magnitude, the others 0."""
    longest, n_rows = np.diff(matrix.indptr).max(initial=0), matrix.shape[0]
    if longest <= n_entries:
        return matrix
    if (step := max(_PADDED // longest, 1)) < n_rows:
        parts = (matrix[at : at + step] for at in range(0, n_rows, step))
        return sp.vstack([strongest(part, n_entries) for part in parts], "csr")
    columns, values = padded_rows(matrix)
    place = values.abs().topk(n_entries, dim=1, sorted=False).indices
    column, value = columns.gather(1, place).numpy(), values.gather(1, place).numpy()
    filled = value != 0
    indptr = np.append(0, filled.sum(1).cumsum())
    return sp.csr_matrix((value[filled], column[filled].astype(np.int32), indptr), matrix.shape)
