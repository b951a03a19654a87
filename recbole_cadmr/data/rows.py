"""Rows of a rating matrix, straight from compressed sparse rows into a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import scipy.sparse as sp
import torch

SCORES = 2**22  # numbers held at once, which fit a cache
_USERS, _MOST_SCORES = 64, 2**25


def users_at_once(n_items: int) -> int:
    """Users whose scores of all items are computed together.

    As many as make 4,194,304 scores; of catalogues of more than 65,536 items 64 users, so that what all users are
    multiplied by is read once for these, up to 128 MiB; one at least.
    """
    return max(SCORES // n_items, min(_USERS, _MOST_SCORES // n_items), 1)


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a rating matrix by their entries: ``value`` at (``row``, ``column``), 0 elsewhere.

    Attributes:
        row: int64 [nnz], place of the row in the batch, ascending.
        column: int64 [nnz].
        value: float32 [nnz].
        n_rows, n_columns: shape of the batch.
        ids: int64 [n_rows], which rows of the matrix these are; None for rows from elsewhere.
    """

    row: torch.Tensor
    column: torch.Tensor
    value: torch.Tensor
    n_rows: int
    n_columns: int
    ids: torch.Tensor | None = None

    @cached_property
    def dense(self) -> torch.Tensor:
        """The rows [n_rows, n_columns]."""
        zeros = torch.zeros(self.n_rows, self.n_columns, dtype=self.value.dtype, device=self.value.device)
        return zeros.index_put_((self.row, self.column), self.value)

    @property
    def csr(self) -> sp.csr_matrix:
        """The rows as a sparse matrix [n_rows, n_columns] in main memory."""
        place = self.row.cpu().numpy(), self.column.cpu().numpy()
        return sp.csr_matrix((self.value.cpu().numpy(), place), shape=(self.n_rows, self.n_columns))

    def matmul(self, table: torch.Tensor) -> torch.Tensor:
        """The rows times ``table`` [n_columns, d], at a cost of nnz x d: float32 [n_rows, d]."""
        begin = torch.searchsorted(self.row, torch.arange(self.n_rows, device=self.row.device))
        return torch.nn.functional.embedding_bag(self.column, table, begin, mode="sum", per_sample_weights=self.value)


def binary(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The places of a matrix's entries other than 0, each once and as 1.0."""
    matrix = sp.csr_matrix(matrix, dtype="float32", copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data[:] = 1
    return matrix


class RatingRows:
    """Binary rows of a sparse matrix on a device.

    Args:
        matrix: [n_rows, n_columns]; every stored entry counts as 1, however often it is stored.
        device: where the rows are used.
        are_counts: whether entries, each stored once, count for what they are instead.
    """

    def __init__(self, matrix: sp.csr_matrix, device: str | torch.device = "cpu", are_counts: bool = False) -> None:
        csr = sp.csr_matrix(matrix)
        csr.sum_duplicates()
        self.n_rows, self.n_columns = csr.shape
        self._start = torch.from_numpy(csr.indptr.astype("int64")).to(device)
        self._column = torch.from_numpy(csr.indices.astype("int32")).to(device)
        self._count = torch.from_numpy(csr.data.astype("float32")).to(device) if are_counts else None

    def lengths(self, ids: torch.Tensor) -> torch.Tensor:
        """How many ones there are in rows ``ids`` [B]."""
        return self._start[ids + 1] - self._start[ids]

    def entries(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of the entries of rows ``ids`` [B]: their place in ``ids`` and their column, [nnz] each."""
        row, place = self._places(ids)
        return row, self._column[place].long()

    def _places(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        start, length = self._start[ids], self.lengths(ids)
        row = torch.repeat_interleave(torch.arange(len(ids), device=ids.device), length)
        first = length.cumsum(0) - length  # where each row begins in the result
        place = torch.arange(len(row), device=ids.device) - first[row] + start[row]
        return row, place

    def batch(self, ids: torch.Tensor) -> RowBatch:
        """Rows ``ids`` [B], every entry 1 or what it counts for."""
        row, place = self._places(ids)
        value = torch.ones(len(row), device=row.device) if self._count is None else self._count[place]
        return RowBatch(row, self._column[place].long(), value, len(ids), self.n_columns, ids)

    def dense(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows ``ids`` as float32 [B, n_columns]."""
        return self.batch(ids).dense


class EntriesByRow:
    """The columns of the ones in each row, of one row or in a list of several: RecBole's are arrays of tensors."""

    def __init__(self, rows: RatingRows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows.n_rows

    def __getitem__(self, ids: Any) -> torch.Tensor | list[torch.Tensor]:
        """int64 [n] of one id; a list of these of several."""
        several = torch.as_tensor(ids)
        row, column = self._rows.entries(several.reshape(-1))
        if not several.dim():
            return column
        return list(column.split(torch.bincount(row, minlength=len(several)).tolist()))


def dense_to_batch(rows: torch.Tensor) -> RowBatch:
    """Rows [B, n_columns] as a batch of their entries other than 0."""
    row, column = rows.nonzero(as_tuple=True)
    return RowBatch(row, column, rows[row, column], len(rows), rows.shape[1])


def row_pairs(row: torch.Tensor, other: torch.Tensor, n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of an entry of one batch and an entry of another that lie in the same row.

    Args:
        row, other: int64 [n] and [m], rows of the entries, both ascending.

    Returns:
        Place of each pair's entry in ``row`` and in ``other``, ordered by the first.
    """
    size = torch.bincount(other, minlength=n_rows)
    begin = size.cumsum(0) - size
    place = torch.repeat_interleave(torch.arange(len(row), device=row.device), size[row])
    first = size[row].cumsum(0) - size[row]  # where the pairs of each entry begin
    return place, torch.arange(len(place), device=row.device) - first[place] + begin[row[place]]


def cap_row_lengths(row: torch.Tensor, n_rows: int, most: int) -> torch.Tensor:
    """Entries of which no row has more than ``most``, a random part of the longer ones: bool [nnz]."""
    size = torch.bincount(row, minlength=n_rows)
    if not len(row) or int(size.max()) <= most:
        return torch.ones_like(row, dtype=torch.bool)
    order = (row + torch.rand(len(row), dtype=torch.float64, device=row.device)).argsort()
    rank = torch.empty_like(row)
    rank[order] = torch.arange(len(row), device=row.device) - (size.cumsum(0) - size)[row]
    return rank < most


def hold_out(row: torch.Tensor, n_rows: int, share: float) -> torch.Tensor:
    """A random part of the entries of every row: bool [nnz], at least one entry of a row and never all of them.

    Args:
        row: int64 [nnz], rows of the entries, ascending.
        share: how likely an entry is held out, beyond that.
    """
    size = torch.bincount(row, minlength=n_rows)
    draw = torch.rand(len(row), dtype=torch.float64, device=row.device)
    held = draw < share
    order = (row + draw).argsort()  # within each row by what was drawn
    first = size.cumsum(0) - size
    held[order[first[size > 0]]] = True
    held[order[(first + size - 1)[size > 0]]] = False
    return held


def hold_out_later(row: torch.Tensor, place: torch.Tensor, n_rows: int, share: float) -> torch.Tensor:
    """The entries of every row that come after a random one: bool [nnz], at least one and never all of them.

    Rows without an order are parted as by :func:`hold_out`.

    Args:
        row: int64 [nnz], rows of the entries, ascending.
        place: [nnz], of each in the order of its row.
        share: what is held out on average.
    """
    at_random = hold_out(row, n_rows, share)
    first, last = (
        torch.zeros(n_rows, device=row.device).scatter_reduce_(0, row, place, how, include_self=False)
        for how in ("amin", "amax")
    )
    drawn = torch.rand(n_rows, device=row.device) ** (share / (1 - share))
    last_kept = first + (last - first) * drawn
    return torch.where((last > first)[row], place > last_kept[row], at_random)
