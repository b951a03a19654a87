"""How well scores rank the held-out items of users, user by user."""

from __future__ import annotations

import math
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
ENTRIES = 1.25e8  # scores of users by items that are looked at
_BLOCK, _IN_CACHE = 128, 2**20  # users measured at once at most, and scores of them
_SMALLEST = 16  # but as many in any case: products with sparse matrices read these once a block
_LEAST, _MOST = 2000, 2.5e8  # users that are looked at in any case, and scores of them at most
_FEW = 4  # held-out items of users that may be decided by rivals
_RIVALS = 2  # rivals a place of the list
_PARTS = (1 / 8, 1 / 4, 1 / 2)  # of the users, after which a measurement may be given up
_SAMPLE = 250  # users, fewer of whom tell nothing of the others
_ROUNDING = 1e-5  # of the largest score: more than what the order of a sum changes


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
        users = np.flatnonzero(np.diff(V.indptr))
        most = max(min(_LEAST, int(_MOST) // R.shape[1]), int(ENTRIES) // R.shape[1], 1)
        # In random order, so that the first ones are a sample of all.
        users = np.random.default_rng(0).choice(users, min(len(users), most), replace=False)
        looks = (math.ceil(share * len(users)) for share in _PARTS)
        self._ends = [*(end for end in looks if end >= _SAMPLE), len(users)]
        self.users, self.rows = users, R[users].tocsr()
        held = V[users].tocsr()
        self._size = np.diff(held.indptr)
        seen = (self.rows - self.rows.multiply(held)).tocsr()
        seen.eliminate_zeros()
        self._held, self._seen = RatingRows(held), RatingRows(seen)
        # Of users with few held-out items: these, the last one again where there are fewer; and items that beat them.
        place = np.minimum(np.arange(_FEW), self._size[:, None] - 1)
        self._own = torch.from_numpy(held.indices[held.indptr[:-1, None] + place].astype(np.int64))
        self._few = torch.from_numpy(self._size <= _FEW)
        self._rivals = torch.zeros(len(users), min(_RIVALS * self.k, R.shape[1]), dtype=torch.int64)
        self._has_rivals = torch.zeros(len(users), dtype=torch.bool)

    def measure(
        self,
        scores_of: Callable[[Tensor], Tensor],
        scores_at: Callable[[Tensor, Tensor], Tensor] | None = None,
        is_hopeless: Callable[[np.ndarray], bool] = lambda _: False,
    ) -> np.ndarray:
        """Metrics [users, metrics] of the scores [n, I] that ``scores_of`` gives for users by their places [n].

        Args:
            scores_at: scores [n, m] of some items [n, m] alone, for users by their places [n]. With it users need no
                list where items that beat their held-out ones before still do.
            is_hopeless: whether the metrics of the first users, who are a random sample of all, are enough: then those
                of the others are left out.
        """
        metrics, begin = np.empty((0, len(self._names))), 0
        for end in self._ends:
            metrics = np.concatenate([metrics, self._measured(begin, end, scores_of, scores_at)])
            if (begin := end) < len(self.users) and is_hopeless(metrics):
                break
        return metrics

    def _measured(
        self,
        begin: int,
        end: int,
        scores_of: Callable[[Tensor], Tensor],
        scores_at: Callable[[Tensor, Tensor], Tensor] | None,
    ) -> np.ndarray:
        """Metrics [n, metrics] of the users at these places."""
        is_hit = np.zeros((end - begin, self.k), dtype=bool)
        among = torch.zeros(len(self.users), dtype=torch.bool)
        among[begin:end] = True
        for users in self._blocks(among & ~self._decided(scores_at, among)):
            scores = scores_of(users)
            scores[self._seen.entries(users)] = -torch.inf
            row, item = self._held.entries(users)
            hits = hits_by_rank(scores, (row * scores.shape[1] + item).to(scores.device), self.k)[:, :-1].bool().cpu()
            is_hit[users.numpy() - begin] = hits.numpy()
            if scores_at is not None:
                self._name_rivals(users, scores, ~hits.any(1))
        values = []
        for name in self._names:
            metric: Any = getattr(recbole_metrics, name)({"topk": [self.k], "metric_decimal_place": 16})
            values.append(
                metric.metric_info(is_hit, *([self._size[begin:end]] if name in _SIZED else []))[:, self.k - 1]
            )
        return np.stack(values, 1).astype(np.float64)

    def _decided(self, scores_at: Callable[[Tensor, Tensor], Tensor] | None, among: Tensor) -> Tensor:
        """Which users [users] ``among`` some surely have no held-out item in their lists: enough rivals are better."""
        decided = torch.zeros(len(self.users), dtype=torch.bool)
        if scores_at is None:
            return decided
        for users in self._blocks(among & self._has_rivals):
            scores = scores_at(users, torch.cat([self._own[users], self._rivals[users]], 1))
            own = scores[:, :_FEW].amax(1, keepdim=True) + _ROUNDING * scores.abs().amax(1, keepdim=True)
            decided[users] = ((scores[:, _FEW:] > own).sum(1) >= self.k).cpu()
        return decided

    def _name_rivals(self, users: Tensor, scores: Tensor, unlisted: Tensor) -> None:
        """Let the best items be rivals of the held-out ones of users in whose lists these are not."""
        few = unlisted & self._few[users]
        best = scores[few.to(scores.device)].topk(self._rivals.shape[1], dim=1)
        enough = best.values[:, -1].cpu() > -torch.inf
        named = users[few][enough]
        self._rivals[named], self._has_rivals[named] = best.indices.cpu()[enough], True

    def _blocks(self, users: Tensor) -> list[Tensor]:
        """Places of the users marked in a mask, as many at once as are measured together."""
        step = max(min(_BLOCK, _IN_CACHE // self.rows.shape[1]), _SMALLEST)
        return [block for block in users.nonzero().squeeze(1).split(step) if len(block)]
