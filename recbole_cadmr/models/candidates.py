"""The items that a first model ranks best, for a second one to look at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recbole_cadmr.data.rows import RatingRows, RowBatch, users_at_once
from recbole_cadmr.memory import free_bytes


class BestItems:
    """The ``k`` best items of every user by scores that do not change, kept once they have been computed.

    Args:
        rows: of the rating matrix, a user each.
        scores_of: scores [B, I] of a batch of them.
    """

    def __init__(self, rows: RatingRows, scores_of: Callable[[RowBatch], Tensor], k: int) -> None:
        self._rows, self._scores_of, self._k = rows, scores_of, min(k, rows.n_columns)
        self._items = torch.zeros(0, self._k, dtype=torch.int32)
        self._scores = torch.zeros(0, self._k)
        self._known = torch.zeros(rows.n_rows, dtype=torch.bool)

    def of(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Items (int64) and scores [B, k] of users [B], in no order, on the device of ``users``."""
        place = users.cpu()
        if len(self._items) or 8 * len(self._known) * self._k < 0.2 * free_bytes():
            if not len(self._items):
                self._items, self._scores = (
                    table.new_zeros(len(self._known), self._k) for table in (self._items, self._scores)
                )
            missing = place[~self._known[place]].unique()
            if len(missing):
                items, self._scores[missing] = self._computed(missing.to(users.device))
                self._items[missing], self._known[missing] = items.int(), True
            return self._items[place].long().to(users.device), self._scores[place].to(users.device)
        items, scores = self._computed(users)
        return items.to(users.device), scores.to(users.device)

    def _computed(self, users: Tensor) -> tuple[Tensor, Tensor]:
        step = users_at_once(self._rows.n_columns)
        best = [
            self._scores_of(self._rows.batch(block)).topk(self._k, dim=1, sorted=False) for block in users.split(step)
        ]
        return torch.cat([part.indices.cpu() for part in best]), torch.cat([part.values.cpu() for part in best])
