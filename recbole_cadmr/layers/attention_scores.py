"""What a trained attention of items to items adds to the scores of a closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers.item_attention import log_mean_entries, log_totals, shares_of_mean
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.memory import free_bytes

# Paths of a score: what a chosen item's attention adds beside that of any item, and what an equal one of all would.
ATTENTION, UNIFORM, NO_CANDIDATE = "attention", "uniform attention", "not looked at by the attention"
TINY = 1e-30  # least probability, within float32


class AttentionScores:
    """``log p(j | u)`` with ``p(j | u) = mean_(i in u) A_ij``, a mean over some members; 0 for empty rows.

    Items of a row count for their values, which are 1 on average.

    Args:
        members: of each, queries [I, d], divided by its temperature, and keys [I, d], whose products are the logits of
            ``A = softmax(Q K')``.
        keeps_rows: whether A is kept as soon as it is asked for, if it takes no more than a fifth of the free memory.
    """

    def __init__(self, members: Sequence[tuple[Tensor, Tensor]], keeps_rows: bool = False) -> None:
        self.members, self._keeps_rows = list(members), keeps_rows
        self._rows: list[Tensor] | None = None

    def log_p(self, batch: RowBatch) -> Tensor:
        """Of all items: [B, I]."""
        size = torch.bincount(batch.row, minlength=batch.n_rows)[:, None]
        total: Tensor | float = 0.0
        for mean in self._sums(batch):
            total = total + (mean / size.clamp(min=1)).clamp_(min=TINY).log_()
        return (total / len(self.members)).masked_fill_(size == 0, 0.0)  # type: ignore[union-attr]

    def _sums(self, batch: RowBatch) -> list[Tensor]:
        """``sum_(i in u) A_ij`` [B, I] of each member."""
        key = self.members[0][1]
        if self._keeps_rows and self._rows is None and 4 * len(key) ** 2 < 0.2 * free_bytes(key.device):
            self._rows = [(query @ key.T).softmax(1) for query, key in self.members]
        if self._rows is not None:
            return [batch.matmul(rows) for rows in self._rows]
        item, place = batch.column.unique(return_inverse=True)
        among = RowBatch(batch.row, place, batch.value, batch.n_rows, len(item))
        return [among.matmul((query[item] @ key.T).softmax(1)) for query, key in self.members]

    def log_p_at(self, batch: RowBatch, items: Tensor) -> Tensor:
        """Of some items [B, C] alone: [B, C]."""
        parts = zip(self.members, self._log_totals)
        return torch.stack([log_mean_entries(*member, total, batch, items) for member, total in parts]).mean(0)

    @cached_property
    def _log_totals(self) -> list[Tensor]:
        return [log_totals(query, key) for query, key in self.members]

    def added_to(self, scores: Tensor, batch: RowBatch, weight: Tensor | float, n_candidates: int | None) -> Tensor:
        """``scores + weight * log p`` [B, I].

        Args:
            n_candidates: how many of the best by ``scores`` are looked at; what is no candidate is behind all that are.
                None for all.
        """
        if n_candidates is None:
            return scores + weight * self.log_p(batch)
        items = candidates(scores, n_candidates)
        log_p = weight * self.log_p_at(batch, items)
        behind = log_p.amin(1, keepdim=True)
        return (scores + behind).scatter_add_(1, items, log_p - behind)

    def paths(
        self,
        chosen: Tensor,
        item: int,
        weight: float,
        scores: Tensor | None,
        n_candidates: int | None,
        counts: Tensor | None = None,
    ) -> list[ScorePath]:
        """What each of the items ``chosen`` [n] adds to ``weight * log p`` of an item.

        ``log p(j | u) = log(I p(j | u)) - log I``: a chosen item has the share of the first term that it has in the
        mean ``p(j | u)``; the second is the same for all items. Several members count alike.

        Args:
            scores: [1, I], by which ``n_candidates`` are looked at; None if all are.
            counts: [n], what each of the chosen items counts for, 1 on average; all alike if not given.
        """
        if scores is not None and n_candidates is not None:
            zeros = torch.zeros_like(chosen)
            value = torch.ones(len(chosen), device=chosen.device) if counts is None else counts
            batch = RowBatch(zeros, chosen, value, 1, scores.shape[1])
            items = candidates(scores, n_candidates)
            if item not in items:
                behind = weight * self.log_p_at(batch, items).amin()
                return [ScorePath(NO_CANDIDATE, "", np.array([float(behind)]), by_item=False)]
        uniform = math.log(len(self.members[0][1]))
        added = torch.zeros(len(chosen), dtype=torch.float64, device=chosen.device)
        for query, key in self.members:
            log_p, shares = shares_of_mean(query, key, chosen, item, counts)
            added += shares * (max(log_p, math.log(TINY)) + uniform) / len(self.members)
        attention = ScorePath(ATTENTION, "", (weight * added).cpu().numpy())
        return [attention, ScorePath(UNIFORM, "", np.array([-weight * uniform]), by_item=False)]


def candidates(scores: Tensor, n: int) -> Tensor:
    """The ``n`` best items by scores [B, I], in no order: [B, C]."""
    return scores.topk(min(n, scores.shape[1]), dim=1, sorted=False).indices
