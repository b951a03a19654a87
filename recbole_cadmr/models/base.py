"""What models share: how RecBole asks them for scores, and what they keep between two batches of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import InputType
from torch import Tensor

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RatingRows, RowBatch, dense_to_batch
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.contract import ModelTraits, Recommender

_Kept = TypeVar("_Kept")


class CachingRecommender(Recommender):
    """A model that keeps what all batches of an evaluation need, computed once."""

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self._cache: dict[str, Any] = {}

    def _cached(self, name: str, compute: Callable[[], _Kept]) -> _Kept:
        """``compute()``, kept across the batches of an evaluation, until :meth:`train` or :meth:`load_state_dict`."""
        if self.training or torch.is_grad_enabled():
            return compute()
        if name not in self._cache:
            self._cache[name] = compute()
        return self._cache[name]

    def train(self, mode: bool = True) -> CachingRecommender:
        """Enter training, or evaluation; what was kept for an evaluation is forgotten, unless that goes on."""
        # Parameters change in training only; their version counters do not tell, a fused optimiser leaves them alone.
        if mode or self.training:
            self._cache.clear()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As torch's; what was kept for an evaluation is forgotten."""
        self._cache.clear()
        return super().load_state_dict(*args, **kwargs)


class HistoryRecommender(CachingRecommender):
    """A model that scores all items of a user at once, by nothing but the entries of a row, seen in training or not.

    Its training batches are ids of rows (``batch_by_rows``), not interactions. A subclass gives :meth:`_scores_of`.

    Attributes:
        rating_rows: of the train part, without the padding item's column; a subclass sets it when it is made.
    """

    input_type = InputType.LISTWISE
    traits = ModelTraits(batch_by_rows=True, recommends_from_history=True)
    rating_rows: RatingRows

    def _scores_of(self, batch: RowBatch) -> Tensor:
        """Scores [B, n_items] of a batch of rows of the rating matrix, the padding item's being 0."""
        raise NotImplementedError

    def _scores(self, users: Tensor) -> Tensor:
        """Scores [B, n_items] of user ids [B], the padding item's being 0."""
        return self._scores_of(self.rating_rows.batch(users))

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of the batch's users for all items [B, n_items]; the padding item's is 0."""
        return self._scores(interaction[self.USER_ID])

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores [B] of pairs of user and item."""
        users, place = interaction[self.USER_ID].unique(return_inverse=True)
        return self._scores(users)[place, interaction[self.ITEM_ID]]

    def score_rows(self, rows: Tensor, content_weight: float = 1.0) -> Tensor:
        """Scores [B, n_items] of people the model has not seen, from their rows [B, n_items] of 0 and 1.

        Raises:
            UserError: on a ``content_weight`` other than 1, of a model whose content has no weight.
        """
        batch = dense_to_batch(rows[:, 1:])
        return self._scores_of(batch) if content_weight == 1.0 else self._weighed_scores_of(batch, content_weight)

    def _weighed_scores_of(self, batch: RowBatch, content_weight: float) -> Tensor:
        """Scores with another weight of content than the model was trained with."""
        raise UserError(f"content has no weight of its own in the scores of {type(self).__name__}")


# Of models that are fitted in one step to interactions and content.
IN_CLOSED_FORM = replace(
    HistoryRecommender.traits,
    multimodal=True,
    deterministic=True,
    scores_cold_items=True,
    explains=True,
    takes_new_items=True,
    refits=True,
)


def weights_of_items(weights: Tensor | sp.csr_matrix, n_items: int, device: torch.device) -> Tensor | sp.csr_matrix:
    """Weights of items by items [I, I] out of a checkpoint in float32, dense on the device or sparse in main memory.

    Raises:
        ValueError: if they are none, as in a checkpoint that was edited.
    """
    if not isinstance(weights, (Tensor, sp.spmatrix)) or tuple(weights.shape) != (n_items, n_items):
        raise ValueError(f"its weights are no matrix of {n_items:,} items by {n_items:,}")
    return weights.to(device).float() if isinstance(weights, Tensor) else weights.tocsr().astype("float32")
