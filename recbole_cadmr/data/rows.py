"""Rows of a rating matrix, straight from compressed sparse rows into a batch."""

from __future__ import annotations

import scipy.sparse as sp
import torch


class RatingRows:
    """Binary rows of a sparse matrix on a device.

    Args:
        matrix: [n_rows, n_columns]; every stored entry counts as 1, however often it is stored.
        device: where the rows are used.
    """

    def __init__(self, matrix: sp.csr_matrix, device: str | torch.device = "cpu") -> None:
        csr = sp.csr_matrix(matrix)
        csr.sum_duplicates()
        self.n_rows, self.n_columns = csr.shape
        self._start = torch.from_numpy(csr.indptr.astype("int64")).to(device)
        self._column = torch.from_numpy(csr.indices.astype("int64")).to(device)

    def entries(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of the ones in rows ``ids`` [B]: their place in ``ids`` and their column, [nnz] each."""
        start = self._start[ids]
        length = self._start[ids + 1] - start
        row = torch.repeat_interleave(torch.arange(len(ids), device=ids.device), length)
        first = length.cumsum(0) - length  # where each row begins in the result
        place = torch.arange(len(row), device=ids.device) - first[row] + start[row]
        return row, self._column[place]

    def dense(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows ``ids`` as float32 [B, n_columns]."""
        dense = torch.zeros(len(ids), self.n_columns, device=self._column.device)
        dense[self.entries(ids)] = 1.0
        return dense
