"""What models share whose scores of a user follow from rows of the rating matrix."""

from __future__ import annotations

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor

_BLOCK = 1024  # users scored at once outside RecBole's own batches


class RowRecommender(GeneralRecommender):
    """A model that scores all items of a user at once: RecBole's two ways of asking, from one ``_scores``.

    Its training batches are ids of rows (``batch_by_rows``), not interactions.
    """

    batch_by_rows = True

    def _scores(self, users: Tensor) -> Tensor:
        """Scores [B, n_items] of user ids [B], the padding item's being 0."""
        raise NotImplementedError

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of the batch's users for all items [B, n_items]; the padding item's is 0."""
        return self._scores(interaction[self.USER_ID])

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores [B] of pairs of user and item."""
        users, place = interaction[self.USER_ID].unique(return_inverse=True)
        items = interaction[self.ITEM_ID]
        scores = torch.empty(len(items), device=items.device)
        for index, block in enumerate(users.split(_BLOCK)):
            mine = (place // _BLOCK == index).nonzero().squeeze(1)
            scores[mine] = self._scores(block)[place[mine] % _BLOCK, items[mine]]
        return scores
