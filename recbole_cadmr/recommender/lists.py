"""The best items of people, by scores in which what is left out does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from recbole_cadmr.data.rows import RatingRows, RowBatch
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.recommender.engine import SCORES, Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.training.ranking import ListedScores, best, contained

Ranked = tuple[slice, Tensor, Tensor]  # people, and the scores and items of their lists [B, k]


def of_users(
    engine: Engine, histories: Histories, sequences: Sequences | None, users: Tensor, left_out: RatingRows, k: int
) -> Iterator[Ranked]:
    """The lists of users [B] by number, block by block, of the engine's scores.

    Args:
        left_out: what of each user's is not recommended.
    """
    step, start = engine.users_at_once, 0
    while start < len(users):
        block = slice(start, start + step)
        some = users[block]
        known = left_out.entries(some)
        scores_of = partial(_scores_of_users, engine, histories, sequences)
        changed = engine.takes_histories and bool(histories.has_added[some].any())
        listed = engine.listed(some) if not changed else None
        if listed is None:
            step = engine.users_at_once
            ranked = best(_masked(scores_of(some), known), k)
        else:
            step = max(min(SCORES // 2 * len(some) // max(listed.nnz, 1), 2 * len(some)), engine.users_at_once)
            dense = partial(_of_some, scores_of, some, known)
            ranked = best(ListedScores.of(listed, known, dense, engine.users_at_once), k)
        yield block, *ranked
        start += len(some)


def of_rows(engine: Engine, rows: RatingRows, k: int) -> Iterator[Ranked]:
    """The lists of people by what they have, without it."""
    for people in torch.arange(rows.n_rows).split(engine.users_at_once):
        batch = without_ids(rows.batch(people))
        block = slice(int(people[0]), int(people[-1]) + 1)
        yield block, *best(_masked(engine.scores(batch), (batch.row, batch.column)), k)


def without_ids(batch: RowBatch) -> RowBatch:
    """A batch of people whom the model has not seen."""
    return RowBatch(batch.row, batch.column, batch.value, batch.n_rows, batch.n_columns)


def _scores_of_users(engine: Engine, histories: Histories, sequences: Sequences | None, users: Tensor) -> Tensor:
    """Scores of users, by what has been added to their histories, too, where the model takes histories."""
    if not engine.knows_users:
        return engine.scores(histories.known.batch(users))
    has_added = histories.has_added[users] if engine.takes_histories else torch.zeros(len(users), dtype=torch.bool)
    if not has_added.any():
        return engine.scores_of_users(users, sequences)
    scores = torch.empty(len(users), engine.n_items)
    scores[has_added] = engine.scores(without_ids(histories.known.batch(users[has_added])))
    if not has_added.all():
        scores[~has_added] = engine.scores_of_users(users[~has_added], sequences)
    return scores


def _masked(scores: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
    scores[known] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores


def _of_some(
    scores_of: Callable[[Tensor], Tensor], users: Tensor, known: tuple[Tensor, Tensor], some: Tensor
) -> Tensor:
    """Scores of all items for the users at some ascending places of a batch."""
    row, item = known
    theirs = contained(row, some)
    return _masked(scores_of(users[some]), (torch.searchsorted(some, row[theirs]), item[theirs]))
