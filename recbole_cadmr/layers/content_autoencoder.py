"""The closed form behind LinearCADMR: content attention before, behind and beside a linear autoencoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.content_graph import two_hops
from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder, sparse_autoencoder
from recbole_cadmr.memory import free_bytes

_BLOCK = 1024  # items smoothed at once


class ContentAutoencoder:
    """Scores ``R S`` with ``S = (I + a H) B (I + b A') + d H``, fitted in closed form.

    A is an attention of items to items by content, ``H = A + two_hop A A``, and B the ridge autoencoder of the
    training rows with zero diagonal (EASE, Steck 2019). ``R + a R H`` is CADMR's enhanced rating matrix: a row that
    already holds the neighbours of what the user chose. Rows are scaled by ``degree^-row_scaling`` and columns by
    ``degree^-item_scaling`` for the fit.

    Args:
        R: binary training rows [U, I].
        A: [I, I] without a diagonal; empty for no attention.
        settings: values of the settings in ``properties/model/LinearCADMR.yaml``.

    Attributes:
        weights: S as a dense tensor, or B as a sparse matrix if S would not fit in memory; None before the fit.
    """

    def __init__(self, R: sp.csr_matrix, A: sp.csr_matrix, settings: Mapping[str, Any], device: torch.device) -> None:
        self._R, self._A, self._settings, self._device = R, A, settings, device
        self._H = two_hops(A, settings["two_hop"])
        self.weights: Tensor | sp.csr_matrix | None = None

    def fit(self, reg_weight: float, kind: str | None = None) -> str:
        """Fit :attr:`weights`, exactly by Cholesky or sparse, and return which: ``exact`` or ``sparse``.

        Args:
            reg_weight: ridge of B, relative to the Gram matrix of the unscaled columns.
            kind: which it has to be; if not given, the setting ``fit`` and the free memory say.

        Raises:
            UserError: if the Gram matrix is singular, or an exact fit is asked for that does not fit in memory.
        """
        settings = self._settings
        self.weights = None  # before free memory is looked at
        degree = np.maximum(np.asarray(self._R.sum(0)).ravel(), 1.0)
        left = degree ** -settings["item_scaling"]
        rows = np.maximum(np.asarray(self._R.sum(1)).ravel(), 1.0) ** -settings["row_scaling"]
        scaled = (sp.diags(rows) @ self._R @ sp.diags(left)).tocsr().astype(np.dtype(settings["fit_dtype"]))
        gram = (scaled.T @ scaled).tocsr()
        # The same ridge for every item_scaling, relative to the size of the Gram matrix.
        unscaled = (self._R.multiply(rows[:, None] ** 2)).sum()
        reg_weight *= float(gram.diagonal().sum() / max(unscaled, 1e-12))
        damping = degree ** -settings["popularity_damping"]
        right = damping / damping.mean() / left
        if not self._is_dense(gram.nnz, kind or settings["fit"]):
            B = sparse_autoencoder(gram, reg_weight, settings["sparse_neighbours"])
            self.weights = (sp.diags(left) @ B @ sp.diags(right)).tocsr().astype(np.float32)
            return "sparse"
        dtype = torch.float64 if settings["fit_dtype"] == "float64" else torch.float32
        entries = _batch(gram, torch.empty(0, dtype=dtype, device=self._device))
        # Dense on the device alone.
        dense = torch.zeros(gram.shape, dtype=entries.value.dtype, device=self._device)
        dense[entries.row, entries.column] = entries.value
        B = exact_autoencoder(dense, reg_weight)
        B *= torch.from_numpy(left).to(B)[:, None]
        B *= torch.from_numpy(right).to(B)
        self.weights = self._with_content(B).float()
        return "exact"

    def _is_dense(self, gram_entries: int, kind: str) -> bool:
        """Whether S is fitted and kept as a dense matrix; says what that takes, and what a sparse one would."""
        n_items = self._R.shape[1]
        needed = 3 * n_items**2 * np.dtype(self._settings["fit_dtype"]).itemsize
        available = free_bytes(self._device)
        fits = needed < 0.8 * available
        entries = min(n_items * self._settings["sparse_neighbours"], gram_entries)
        sparse = 16 * gram_entries + 40 * entries  # values and indices; B is held twice while it is put together
        sizes = (
            f"of {available / 2**30:.1f} GiB free, the exact fit of {n_items:,} items needs {needed / 2**30:.1f} GiB, "
            f"the sparse one {sparse / 2**30:.1f} GiB"
        )
        if kind == "exact" and not fits:
            raise UserError(f"{sizes}; choose fit: sparse")
        dense = kind == "exact" or (kind == "auto" and fits)
        logging.getLogger("recbole_cadmr").info(f"{sizes}; fit: {'exact' if dense else 'sparse'}")
        return dense

    def _with_content(self, S: Tensor) -> Tensor:
        """``(I + a H) S (I + b A') + d H`` of a dense S."""
        settings = self._settings
        if settings["enhancement"] and self._H.nnz:
            S = S + settings["enhancement"] * _batch(self._H, S).matmul(S)
        if settings["output_smoothing"] and self._A.nnz:
            A = _batch(self._A, S)
            for block in S.split(_BLOCK):
                block += settings["output_smoothing"] * A.matmul(block.T.contiguous()).T
        H = _batch(self._H, S)
        S[H.row, H.column] += settings["direct_path"] * H.value
        return S

    def scores(self, batch: RowBatch) -> Tensor:
        """Scores [B, I] of a batch of rows of the rating matrix; 0 before the fit."""
        if self.weights is None:
            return torch.zeros(batch.n_rows, batch.n_columns, device=batch.value.device)
        if isinstance(self.weights, Tensor):
            return batch.matmul(self.weights)
        return self._sparse_scores(batch, self.weights).to(batch.value.device)

    def _sparse_scores(self, batch: RowBatch, B: sp.csr_matrix) -> Tensor:
        settings = self._settings
        place = batch.row.cpu().numpy(), batch.column.cpu().numpy()
        R = sp.csr_matrix((batch.value.cpu().numpy(), place), shape=(batch.n_rows, batch.n_columns))
        near = R @ self._H
        scores = ((R + settings["enhancement"] * near) @ B).toarray()
        smoothed = (self._A @ scores.T).T if settings["output_smoothing"] else 0.0
        scores += settings["output_smoothing"] * smoothed + settings["direct_path"] * near
        return torch.from_numpy(np.asarray(scores, dtype=np.float32))


def _batch(matrix: sp.csr_matrix, like: Tensor) -> RowBatch:
    """A sparse matrix as a batch of rows, on the device and in the precision of ``like``."""
    entries = matrix.tocoo()
    row, column = (torch.from_numpy(index.astype(np.int64)).to(like.device) for index in (entries.row, entries.col))
    return RowBatch(row, column, torch.from_numpy(entries.data).to(like), *matrix.shape)
