"""LinearCADMR: the closed-form member of the CADMR family."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import psutil
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.utils import InputType, ModelType
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.graph import nearest_items
from recbole_cadmr.data.rows import RatingRows, RowBatch, dense_to_batch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.content_graph import alignment_weights, fused, softmax_attention, two_hops
from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder, sparse_autoencoder
from recbole_cadmr.models.base import RowRecommender

_BLOCK = 1024  # items smoothed at once


class LinearCADMR(RowRecommender):
    """Content attention before, behind and beside a linear autoencoder, fitted in closed form: no epochs.

    Scores are ``R S`` with ``S = (I + a H) B (I + b A) + d H``. A is the attention of items to items by content
    (weighted modalities, each a softmax of cosines over an item's nearest), ``H = A + two_hop A A``, and B the ridge
    autoencoder of the training rows with zero diagonal (EASE, Steck 2019); ``R + a R H`` is the enhanced rating
    matrix of CADMR: a row that already holds the neighbours of what the user chose. Rows are scaled by
    ``degree^-row_scaling`` and columns by ``degree^-item_scaling`` for the fit.

    Catalogues whose dense S would not fit in memory get a sparse B (``fit: sparse``); S is then never formed.
    Settings are declared in ``properties/model/LinearCADMR.yaml``.
    """

    input_type = InputType.LISTWISE
    type = ModelType.TRADITIONAL
    multimodal = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._R = dataset.inter_matrix(form="csr").astype(np.float32)[:, 1:].tocsr()
        self._R.sum_duplicates()
        self._R.data[:] = 1
        self.rating_rows = RatingRows(self._R, self.device)
        self._settings = {name: config[name] for name in (
            "regularisation", "row_scaling", "item_scaling", "popularity_damping", "attention", "attention_neighbours",
            "attention_temperature", "modality_weights", "two_hop", "enhancement", "output_smoothing", "direct_path",
            "fit", "fit_dtype", "sparse_neighbours")}  # fmt: skip
        self._A, self._H = self._attention(dataset)
        self._weights: Tensor | sp.csr_matrix | None = None  # S if dense, B if sparse
        self.other_parameter_name = ["_weights"]
        self.nothing_to_learn = nn.Parameter(torch.zeros(1))  # RecBole's trainer wants an optimiser

    def _attention(self, dataset: Any) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """A and H [I, I]."""
        settings, names = self._settings, dataset.modality_names
        k, temperature = settings["attention_neighbours"], settings["attention_temperature"]
        if settings["attention"] == "none":
            nothing = sp.csr_matrix(2 * (self._R.shape[1],), dtype=np.float32)
            return nothing, nothing
        graphs = {name: dataset.item_graph(name) or nearest_items(dataset.modality(name), k) for name in names}
        attentions = {name: softmax_attention(graph, k, temperature) for name, graph in graphs.items()}
        weights = self._modality_weights(attentions)
        self.modality_weights = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        if settings["attention"] == "fused":
            content = fused([dataset.modality(name) for name in names], list(weights.values()))
            A = softmax_attention(nearest_items(content, k), k, temperature)
        else:
            A = sum((weights[name] * attention for name, attention in attentions.items())).tocsr()
        return A, two_hops(A, settings["two_hop"])

    def _modality_weights(self, attentions: dict[str, sp.csr_matrix]) -> dict[str, float]:
        given = self._settings["modality_weights"]
        if given is None:
            return alignment_weights(self._R, attentions)
        if len(given) != len(attentions) or sum(given) <= 0:
            raise UserError(
                f"modality_weights must hold one weight for each of {', '.join(attentions)}, not all 0; it is {given}"
            )
        return {name: weight / sum(given) for name, weight in zip(attentions, given)}

    # Fit

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Fit the model at the first batch of its one epoch; the loss is 0 and teaches nothing."""
        if self._weights is None:
            self._weights = self._fit()
        return self.nothing_to_learn.sum() * 0.0

    def _fit(self) -> Tensor | sp.csr_matrix:
        settings = self._settings
        logger = logging.getLogger()
        if settings["attention"] != "none":
            logger.info(f"content attention: {self.modality_weights}")
        dense = self._is_dense(logger)
        degree = np.maximum(np.asarray(self._R.sum(0)).ravel(), 1.0)
        scale = degree ** -settings["item_scaling"]
        dtype = np.dtype(settings["fit_dtype"])
        rows = np.maximum(np.asarray(self._R.sum(1)).ravel(), 1.0) ** -settings["row_scaling"]
        scaled = (sp.diags(rows) @ self._R @ sp.diags(scale)).tocsr().astype(dtype)
        gram = (scaled.T @ scaled).tocsr()
        # The same ridge for every item_scaling, relative to the size of the Gram matrix.
        unscaled = (self._R.multiply(rows[:, None] ** 2)).sum()
        regularisation = settings["regularisation"] * float(gram.diagonal().sum() / max(unscaled, 1e-12))
        damping = degree ** -settings["popularity_damping"]
        left, right = scale, damping / damping.mean() / scale
        if not dense:
            B = sparse_autoencoder(gram, regularisation, settings["sparse_neighbours"])
            return (sp.diags(left) @ B @ sp.diags(right)).tocsr().astype(np.float32)
        B = exact_autoencoder(torch.from_numpy(gram.toarray()).to(self.device), regularisation)
        B *= torch.from_numpy(left).to(B)[:, None]
        B *= torch.from_numpy(right).to(B)
        return self._with_content(B).float()

    def _is_dense(self, logger: logging.Logger) -> bool:
        """Whether S is fitted and kept as a dense matrix; says what that takes."""
        kind, n_items = self._settings["fit"], self._R.shape[1]
        needed = 3 * n_items**2 * np.dtype(self._settings["fit_dtype"]).itemsize
        if self.device.type == "cuda":
            available = torch.cuda.mem_get_info(self.device)[0]
        else:
            available = psutil.virtual_memory().available
        fits = needed < 0.8 * available
        sizes = f"the exact fit of {n_items:,} items needs {needed / 2**30:.1f} GiB of {available / 2**30:.1f} GiB free"
        if kind == "exact" and not fits:
            raise UserError(f"{sizes}; choose --fit=sparse")
        dense = kind == "exact" or (kind == "auto" and fits)
        logger.info(f"{sizes}; fit: {'exact' if dense else 'sparse'}")
        return dense

    def _with_content(self, S: Tensor) -> Tensor:
        """``(I + a H) S (I + b A) + d H`` of a dense S."""
        settings = self._settings
        if settings["enhancement"] and self._H.nnz:
            S = S + settings["enhancement"] * _batch(self._H, S).times(S)
        if settings["output_smoothing"] and self._A.nnz:
            transposed = _batch(self._A.T.tocsr(), S)
            for block in S.split(_BLOCK):
                block += settings["output_smoothing"] * transposed.times(block.T.contiguous()).T
        H = _batch(self._H, S)
        S[H.row, H.column] += settings["direct_path"] * H.value
        return S

    # Scores

    def _scores(self, users: Tensor) -> Tensor:
        return self._scores_of(self.rating_rows.batch(users))

    def score_rows(self, rows: Tensor) -> Tensor:
        """Scores [B, n_items] of people the model has not seen, from their rows [B, n_items] of 0 and 1."""
        return self._scores_of(dense_to_batch(rows[:, 1:]))

    def _scores_of(self, batch: RowBatch) -> Tensor:
        """Scores [B, n_items] of a batch of rows of the rating matrix; 0 before the fit."""
        if self._weights is None:
            scores = torch.zeros(batch.n_rows, batch.n_columns, device=batch.value.device)
        elif isinstance(self._weights, Tensor):
            scores = batch.times(self._weights)
        else:
            scores = self._sparse_scores(batch, self._weights).to(batch.value.device)
        return F.pad(scores, (1, 0))

    def _sparse_scores(self, batch: RowBatch, B: sp.csr_matrix) -> Tensor:
        settings = self._settings
        place = batch.row.cpu().numpy(), batch.column.cpu().numpy()
        R = sp.csr_matrix((batch.value.cpu().numpy(), place), shape=(batch.n_rows, batch.n_columns))
        near = R @ self._H
        scores = ((R + settings["enhancement"] * near) @ B).toarray()
        smoothed = (self._A.T @ scores.T).T if settings["output_smoothing"] else 0.0
        scores += settings["output_smoothing"] * smoothed + settings["direct_path"] * near
        return torch.from_numpy(np.asarray(scores, dtype=np.float32))


def _batch(matrix: sp.csr_matrix, like: Tensor) -> RowBatch:
    """A sparse matrix as a batch of rows, on the device and in the precision of ``like``."""
    entries = matrix.tocoo()
    row, column = (torch.from_numpy(index.astype(np.int64)).to(like.device) for index in (entries.row, entries.col))
    return RowBatch(row, column, torch.from_numpy(entries.data).to(like), *matrix.shape)
