"""Scores ``R S`` by weights of items by items, without a model and its data."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.layers.content_paths import weighed
from recbole_cadmr.layers.low_rank_autoencoder import LowRankPlusSparse, entries
from recbole_cadmr.layers.score_paths import ITEM_WEIGHTS, ScorePath, counted
from recbole_cadmr.memory import free_bytes
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.path_weights import PathWeights

_FEW = 2**17  # items whose scores for one person are sorted as quickly as they are listed

Weights: TypeAlias = "Tensor | sp.csr_matrix | LowRankPlusSparse"


class WeightsEngine(Engine):
    """Scores of people by what they have: the sum of its rows of S.

    Args:
        name: of the model.
        weights: S [I, I] of the items without the padding item, float32: dense, sparse, or low rank plus sparse.
        closed_form: what a dense or low-rank S was made by, if it has paths.
        paths: what the entries of a sparse S are made of, if that is known.
        modality_weights: how much each modality counts, by name, where no closed form says it.
        n_scored: items, the padding item included, that can be recommended; of the others, which come last, the model
            knows nothing. All if not given.
        padded: S [I, I + 1], dense, behind a column for the padding item, if scores are to be computed by that.
    """

    takes_histories = True

    def __init__(
        self,
        name: str,
        weights: Weights,
        closed_form: ContentAutoencoder | None = None,
        paths: PathWeights | None = None,
        modality_weights: Mapping[str, float] | None = None,
        n_scored: int | None = None,
        padded: Tensor | None = None,
    ) -> None:
        self.name, self.weights, self.closed_form, self.paths = name, weights, closed_form, paths
        self.padded = padded
        self.n_items = _n_rows(weights) + 1
        self.n_scored = self.n_items if n_scored is None else n_scored
        self._modality_weights = dict(modality_weights or {})
        self.explains = True
        self.weighs_content = closed_form is not None or paths is not None
        self._lock = threading.Lock()  # a closed form fits its autoencoder again when its paths are first asked for

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    @property
    def modality_weights(self) -> Mapping[str, float]:
        """How much each modality counts, by name."""
        if self.closed_form is None:
            return self._modality_weights
        with self._lock:  # what is looked for when it is first asked for is looked for once
            return self.closed_form.modality_weights

    @torch.no_grad()
    def scores(self, rows: RowBatch, content_weight: float = 1.0) -> Tensor:
        """Scores of people by what they have."""
        batch = without_padding(rows)
        if self.padded is not None and content_weight == 1.0:
            scores = batch.matmul(self.padded)
        elif isinstance(self.weights, LowRankPlusSparse) and content_weight == 1.0:
            scores = self.weights.product(batch.csr, padding=1)
        else:
            scores = F.pad(self.scores_of(batch, content_weight), (1, 0))
        scores[:, self.n_scored :] = -torch.inf
        return scores

    def scores_of(self, batch: RowBatch, content_weight: float = 1.0) -> Tensor:
        """The same [B, I] of rows [B, I], both without the padding item."""
        if content_weight != 1.0:
            return self._weighed_scores_of(batch, content_weight)
        return self._product(batch)

    def _product(self, batch: RowBatch) -> Tensor:
        return product(batch, self.weights) if self.padded is None else batch.matmul(self.padded)[:, 1:]

    def _weighed_scores_of(self, batch: RowBatch, content_weight: float) -> Tensor:
        if self.closed_form is not None:
            with self._lock:
                return self.closed_form.scores(batch, content_weight)
        if self.paths is not None:
            alone = product(batch, self.paths.autoencoder)
            return torch.lerp(alone, self._product(batch), content_weight)
        raise UserError(f"content has no weight of its own in the scores of {self.name}")

    def for_many(self, n_rows: int) -> WeightsEngine:
        """With S dense, if memory has room for it, where most of its rows are asked for many times anyway."""
        weights: Any = self.weights
        if self.padded is not None or not sp.issparse(weights) or n_rows < self.n_items:
            return self
        if 4 * self.n_items**2 > 0.2 * free_bytes():
            return self
        # numpy asks for large pages, but not for memory that the system is to clear: that takes four times as long.
        padded = np.empty((self.n_items - 1, self.n_items), dtype=np.float32)
        padded.fill(0)
        padded[np.repeat(np.arange(self.n_items - 1), np.diff(weights.indptr)), 1 + weights.indices] = weights.data
        rest = self.modality_weights, self.n_scored, torch.from_numpy(padded)
        return WeightsEngine(self.name, weights, self.closed_form, self.paths, *rest)

    def listed(self, rows: RowBatch) -> sp.csr_matrix | None:
        """The items of positive score where S is sparse: all others have 0 or less. Of one person, all are scored."""
        if self.padded is not None or not sp.issparse(self.weights) or (rows.n_rows == 1 and self.n_items < _FEW):
            return None
        scores = without_padding(rows).csr @ self.weights
        scores.data[scores.data < 0] = 0
        scores.eliminate_zeros()
        return sp.csr_matrix((scores.data, scores.indices + 1, scores.indptr), (rows.n_rows, self.n_items))

    @torch.no_grad()
    def score_paths(
        self, chosen: Tensor, item: int, user: int | None, content_weight: float = 1.0, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The weights of the item for each of the chosen ones, by path if these are known."""
        paths = self._paths_of(chosen, item, content_weight)
        return counted(paths, None if counts is None else counts.double().numpy())

    def _paths_of(self, chosen: Tensor, item: int, content_weight: float) -> list[ScorePath]:
        row, column = chosen.cpu().numpy() - 1, item - 1
        if self.closed_form is not None:
            with self._lock:
                return weighed(self.closed_form.paths(row, column), content_weight)
        weights = entries(self.weights, row, column)
        if self.paths is None:
            return [ScorePath(ITEM_WEIGHTS, "", weights)]
        return weighed(self.paths.of(row, column, weights), content_weight)


def without_padding(rows: RowBatch) -> RowBatch:
    """Rows [B, n_items] without the column of the padding item."""
    return RowBatch(rows.row, rows.column - 1, rows.value, rows.n_rows, rows.n_columns - 1)


def product(batch: RowBatch, weights: Weights) -> Tensor:
    """``rows W`` [B, I], dense."""
    if isinstance(weights, Tensor):
        return batch.matmul(weights)
    if isinstance(weights, LowRankPlusSparse):
        return weights.product(batch.csr)
    if batch.n_rows > 1:
        return torch.from_numpy((batch.csr @ weights).toarray())
    # Of one person: scipy's product takes several times as long to begin.
    start, end = (weights.indptr[batch.column.numpy() + step] for step in (0, 1))
    places = np.concatenate([np.arange(a, b) for a, b in zip(start, end)]) if len(start) else np.zeros(0, np.int64)
    values = weights.data[places] * np.repeat(batch.value.numpy(), end - start)
    scores = np.bincount(weights.indices[places], values, minlength=weights.shape[1]).astype(np.float32)
    return torch.from_numpy(scores)[None]


def _n_rows(weights: Weights) -> int:
    return len(weights.left) if isinstance(weights, LowRankPlusSparse) else weights.shape[0]
