"""How well scores rank the held-out items of users, user by user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import recbole.evaluator.metrics as recbole_metrics
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.training.collector import hits_by_rank

_SIZED = ("Recall", "NDCG", "MAP")  # metrics that ask for the number of held-out items
_RANKING = (*_SIZED, "Hit", "MRR", "Precision")
ENTRIES = 5e7  # scores of users by items that are looked at
_BLOCK = 128  # users measured at once, whose scores stay in the processor's cache
_LEAST = 2000  # users that are looked at in any case


class HeldOut:
    """The held-out items of users, or of a random part of them where scores of all would be too many.

    Measured are the metric of validation and NDCG, which tells more of two rankings with few hits each.

    Args:
        R: training rows [U, I], whose items are left out of the ranking.
        V: held-out items [U, I], binary.
        metric: as in the setting ``valid_metric``; one that is none of a ranked list leaves NDCG alone.
        k: length of the lists, if the metric names none.
    """

    def __init__(self, R: sp.csr_matrix, V: sp.csr_matrix, metric: str, k: int) -> None:
        name, _, length = metric.partition("@")
        self.k = min(int(length or k), R.shape[1])
        self._names = dict.fromkeys(["NDCG", *(known for known in _RANKING if known.lower() == name.lower())])
        users, most = np.flatnonzero(np.diff(V.indptr)), max(_LEAST, int(ENTRIES) // R.shape[1])
        if len(users) > most:
            users = np.sort(np.random.default_rng(0).choice(users, most, replace=False))
        self.users, self.rows = users, R[users].tocsr()
        held = V[users].tocsr()
        self._size = np.diff(held.indptr)
        seen = (self.rows - self.rows.multiply(held)).tocsr()
        seen.eliminate_zeros()
        self._held, self._seen = RatingRows(held), RatingRows(seen)

    def measure(self, scores_of: Callable[[slice], Tensor]) -> np.ndarray:
        """Metrics [users, metrics] of the scores [block, I] that ``scores_of`` gives for a block of the users."""
        blocks = []
        for at in range(0, len(self.users), _BLOCK):
            scores = scores_of(slice(at, at + _BLOCK))
            ids = torch.arange(at, at + len(scores))
            scores[self._seen.entries(ids)] = -torch.inf
            row, item = self._held.entries(ids)
            hits = hits_by_rank(scores, (row * scores.shape[1] + item).to(scores.device), self.k)
            blocks.append(hits[:, :-1].bool().cpu().numpy())
        is_hit, values = np.concatenate(blocks), []
        for name in self._names:
            metric: Any = getattr(recbole_metrics, name)({"topk": [self.k], "metric_decimal_place": 16})
            values.append(metric.metric_info(is_hit, *([self._size] if name in _SIZED else []))[:, self.k - 1])
        return np.stack(values, 1).astype(np.float64)
