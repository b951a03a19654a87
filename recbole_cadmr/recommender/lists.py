"""The best items of people: what does not count is left out, who is unknown gets the most popular, lists can vary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_cadmr.data.rows import SCORES, RatingRows, RowBatch
from recbole_cadmr.progress import advance
from recbole_cadmr.recommender.diversity import POOL, diversified
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.training.ranking import ListedScores, best_by_id, contained

if TYPE_CHECKING:
    from recbole_cadmr.data.sequences import Sequences  # RecBole comes with it

Pairs = tuple[Tensor, Tensor]  # rows and items, ascending by both


@dataclass(frozen=True)
class Wanted:
    """What lists are to be like.

    Attributes:
        k: items of a list.
        among: bool [n_items], the only items that count; None for all.
        excluded: what is left out beside: rows of the people in the order in which they are asked for.
        diversity: weight of redundancy against score, from 0 to below 1.
        vectors: of length 1 or 0 [n_items, d], what tells it; for a diversity above 0.
        content_weight: factor of what content adds to the scores, of an engine that weighs it.
        popularity: [n_items], by which those are ranked of whom nothing is known; None to rank them as all others.
    """

    k: int
    among: Tensor | None = None
    excluded: RatingRows | None = None
    diversity: float = 0.0
    vectors: Tensor | None = None
    content_weight: float = 1.0
    popularity: Tensor | None = None

    @property
    def n_ranked(self) -> int:
        """How many of the best items a list is made of."""
        return POOL * self.k if self.diversity else self.k


@dataclass(frozen=True)
class Lists:
    """Lists of some of the people asked for.

    Attributes:
        start: place of the first of them.
        scores, items: [B, k], best first; -inf where there are no more.
        is_popular: bool [B], whose list is of the most popular items.
    """

    start: int
    scores: Tensor
    items: Tensor
    is_popular: Tensor


def of_users(
    engine: Engine,
    histories: Histories,
    sequences: Sequences | None,
    users: Tensor,
    left_out: RatingRows,
    wanted: Wanted,
) -> Iterator[Lists]:
    """The lists of users [B] by number, block by block.

    Args:
        left_out: what of each user's is not recommended.
    """
    engine = engine.for_many(len(users))
    step, start = engine.users_at_once, 0
    while start < len(users):
        some = users[start : start + step]
        rows = histories.known.batch(some)
        people = torch.arange(start, start + len(some))
        known = _with_excluded(left_out.entries(some), wanted, people, engine.n_items)
        nothing = _unknown(engine, histories, sequences, some)
        scores_of = partial(_scores_of_users, engine, histories, sequences, wanted.content_weight)
        is_other = wanted.content_weight != 1.0 or (engine.knows_users and bool(histories.has_added[some].any()))
        listed = None if is_other or nothing.all() else engine.listed(rows)
        if listed is None:
            step = engine.users_at_once
            by_rows = partial(engine.scores, rows, wanted.content_weight)
            yield _ranked(start, partial(scores_of, some) if engine.knows_users else by_rows, nothing, known, wanted)
        else:
            step = max(min(SCORES // 2 * len(some) // max(listed.nnz, 1), 2 * len(some)), engine.users_at_once)
            dense = partial(_of_some, scores_of, some, known)
            scores = partial(ListedScores.of, listed, known, dense, engine.users_at_once)
            yield _ranked(start, scores, nothing, known, wanted)
        start += len(some)


def of_rows(engine: Engine, rows: RatingRows, wanted: Wanted) -> Iterator[Lists]:
    """The lists of people by what they have, without it."""
    engine = engine.for_many(rows.n_rows)
    for people in torch.arange(rows.n_rows).split(engine.users_at_once):
        batch = without_ids(rows.batch(people))
        known = _with_excluded((batch.row, batch.column), wanted, people, engine.n_items)
        yield _ranked(
            int(people[0]),
            partial(engine.scores, batch, wanted.content_weight),
            rows.lengths(people) == 0,
            known,
            wanted,
        )


def most_popular(wanted: Wanted) -> Lists:
    """The list of somebody of whom nothing is known."""
    no_pairs = torch.zeros(0, dtype=torch.long)
    return _ranked(0, lambda: torch.empty(0), torch.ones(1, dtype=torch.bool), (no_pairs, no_pairs), wanted)


def without_ids(batch: RowBatch) -> RowBatch:
    """A batch of people whom the model has not seen."""
    return replace(batch, ids=None)


def _ranked(
    start: int, scores_of: Callable[[], Tensor | ListedScores], nothing: Tensor, known: Pairs, wanted: Wanted
) -> Lists:
    """Lists by scores, and by popularity of those of whom ``nothing`` is known."""
    is_popular = nothing if wanted.popularity is not None else torch.zeros_like(nothing)
    n_ranked = wanted.n_ranked
    if wanted.popularity is None or not is_popular.any():
        values, items = _best(scores_of(), known, n_ranked, wanted.among)
    else:
        everyone = torch.where(wanted.popularity > 0, wanted.popularity, -torch.inf)
        places = is_popular.nonzero().squeeze(1)
        of_popular = everyone.expand(len(places), -1).clone()
        popular = _best(of_popular, _of_places(known, places), n_ranked, wanted.among)
        if is_popular.all():
            values, items = popular
        else:
            values, items = _best(scores_of(), known, n_ranked, wanted.among)
            values[places], items[places] = popular
    if wanted.diversity and wanted.vectors is not None:
        values, items = diversified(values, items, wanted.vectors, wanted.k, wanted.diversity)
    advance(len(nothing))
    return Lists(start, values, items, is_popular)


def _best(scores: Tensor | ListedScores, known: Pairs, k: int, among: Tensor | None) -> tuple[Tensor, Tensor]:
    if isinstance(scores, Tensor):
        scores = _masked(scores, known)
    return best_by_id(scores, min(k, scores.shape[1]), among)


def _unknown(engine: Engine, histories: Histories, sequences: Sequences | None, users: Tensor) -> Tensor:
    """Of which users the model knows nothing: bool [B]."""
    if sequences is not None:
        return sequences.length[users] == 0
    rows = histories.known if engine.takes_histories else histories.trained
    return rows.lengths(users) == 0


def _scores_of_users(
    engine: Engine, histories: Histories, sequences: Sequences | None, content_weight: float, users: Tensor
) -> Tensor:
    """Scores of users, by what has been added to their histories, too, where the model takes histories."""
    if not engine.knows_users or content_weight != 1.0:
        return engine.scores(without_ids(histories.known.batch(users)), content_weight)
    has_added = histories.has_added[users] if engine.takes_histories else torch.zeros(len(users), dtype=torch.bool)
    if not has_added.any():
        return engine.scores_of_users(users, sequences)
    scores = torch.empty(len(users), engine.n_items)
    scores[has_added] = engine.scores(without_ids(histories.known.batch(users[has_added])))
    if not has_added.all():
        scores[~has_added] = engine.scores_of_users(users[~has_added], sequences)
    return scores


def _with_excluded(known: Pairs, wanted: Wanted, people: Tensor, n_items: int) -> Pairs:
    """What the people at some places have, and what is excluded for them."""
    if wanted.excluded is None:
        return known
    row, item = known
    others = wanted.excluded.entries(people)
    keys = torch.cat([row * n_items + item, others[0] * n_items + others[1]]).unique()
    return keys // n_items, keys % n_items


def _masked(scores: Tensor, known: Pairs) -> Tensor:
    scores[known] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores


def _of_places(known: Pairs, places: Tensor) -> Pairs:
    """The pairs of the rows at some ascending places, which are counted anew."""
    row, item = known
    theirs = contained(row, places)
    return torch.searchsorted(places, row[theirs]), item[theirs]


def _of_some(scores_of: Callable[[Tensor], Tensor], users: Tensor, known: Pairs, some: Tensor) -> Tensor:
    """Scores of all items for the users at some ascending places of a batch."""
    return _masked(scores_of(users[some]), _of_places(known, some))
