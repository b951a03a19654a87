"""What models share that weigh items by items in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RatingRows, RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.content_autoencoder import as_batch
from recbole_cadmr.layers.low_rank_autoencoder import entries
from recbole_cadmr.layers.score_paths import ITEM_WEIGHTS, ScorePath
from recbole_cadmr.memory import free_bytes
from recbole_cadmr.models.base import IN_CLOSED_FORM, HistoryRecommender, weights_of_items
from recbole_cadmr.models.content import ItemFeatures, training_rows, unit_features

_LARGE = 2**15  # items of a catalogue in which sparse scores are not made dense


@dataclass(frozen=True)
class Given:
    """What weights of items by items are computed from.

    Attributes:
        R: binary training rows [U, I], sparse.
        content: where features of the items are read.
        settings: values of the model's settings by name.
        device: where dense matrices lie.
    """

    R: sp.csr_matrix
    content: ItemFeatures
    settings: Mapping[str, Any]
    device: torch.device

    def rating_gram(self) -> Tensor:
        """``R'R`` [I, I], on the device."""
        return self.dense(self.R.T @ self.R)

    def content_gram(self) -> Tensor:
        """``F F'`` [I, I] of the items' content F, on the device: sums of cosines over the modalities, 0 if missing."""
        features = unit_features(self.content)[0].to(self.device)
        return features @ features.T

    def dense(self, matrix: sp.csr_matrix) -> Tensor:
        """A sparse matrix as a dense one on the device, float32."""
        return as_batch(matrix, torch.empty(0, device=self.device)).dense


class ItemWeightsRecommender(HistoryRecommender):
    """Scores ``R W`` with item weights W [I, I], computed in one step; a subclass gives :meth:`item_weights`.

    W is dense, on the device, or sparse.

    Attributes:
        given: what W is computed from.
    """

    type = ModelType.TRADITIONAL
    traits = IN_CLOSED_FORM

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.given = Given(training_rows(dataset), dataset, config.model_settings(), self.device)
        self.rating_rows = RatingRows(self.given.R, self.device)
        self._weights: Tensor | sp.csr_matrix | None = None
        self.other_parameter_name = ["weights"]
        self.nothing_to_learn = nn.Parameter(torch.zeros(1))  # RecBole's trainer wants an optimiser

    @staticmethod
    def item_weights(given: Given) -> Tensor | sp.csr_matrix:
        """W, float32 [I, I]."""
        raise NotImplementedError

    @property
    def weights(self) -> Tensor | sp.csr_matrix | None:
        """W; None before the fit."""
        return self._weights

    @weights.setter
    def weights(self, weights: Tensor | sp.csr_matrix | None) -> None:
        self._weights = None if weights is None else weights_of_items(weights, self.n_items - 1, self.device)

    def score_paths(self, chosen: Tensor, item: int, user: int | None = None) -> list[ScorePath]:
        """The weights of the item for each of the chosen ones: one path."""
        W, row = self._weights, chosen.cpu().numpy() - 1
        of_item = np.zeros(len(row)) if W is None else entries(W, row, item - 1)
        return [ScorePath(ITEM_WEIGHTS, "", of_item)]

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Fit the model at the first batch; the loss is 0 and teaches nothing.

        Raises:
            UserError: if the matrices of the fit do not fit in memory.
        """
        if self._weights is None:
            self._check_memory()
            self._weights = self.item_weights(self.given)
        return self.nothing_to_learn.sum() * 0.0

    def refit(self, before: Any, dataset: MultimodalDataset, n_known: int) -> None:
        """Compute W anew."""
        self._weights = None
        self.calculate_loss(Interaction({}))

    def _check_memory(self) -> None:
        n_items, n_matrices = self.given.R.shape[1], self.traits.item_matrices
        needed, available = 4 * n_matrices * n_items**2, free_bytes(self.device)
        if needed > 0.8 * available:
            raise UserError(
                f"{type(self).__name__} weighs {n_items:,} items by each other, for which it needs "
                f"{needed / 2**30:.1f} GiB of {available / 2**30:.1f} GiB free; LinearCADMR does without (fit: sparse)"
            )

    def listed_scores(self, interaction: Interaction) -> sp.csr_matrix | None:
        """``R W`` by its entries in a large catalogue, if W is sparse and has none below 0, the score of others."""
        W = self._weights
        if self.n_items < _LARGE or W is None or isinstance(W, Tensor) or (W.data < 0).any():
            return None
        scores = self.rating_rows.batch(interaction[self.USER_ID]).csr @ W
        shape = scores.shape[0], self.n_items
        return sp.csr_matrix((scores.data, scores.indices + 1, scores.indptr), shape=shape)

    def _scores_of(self, batch: RowBatch) -> Tensor:
        if self._weights is None:
            return torch.zeros(batch.n_rows, self.n_items, device=batch.value.device)
        if isinstance(self._weights, Tensor):
            return F.pad(batch.matmul(self._weights), (1, 0))
        scores = torch.from_numpy((batch.csr @ self._weights).toarray())
        return F.pad(scores.to(batch.value.device), (1, 0))
