"""Departures from the protocol, measured on trained models: what each of them is worth in a metric.

The protocol ranks all items, train items left out, and the metric is a mean over all users who have test items. What
is measured here otherwise, and in particular what lets a model see test items, is nowhere else in the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.contract import traits
from recbole_cadmr.runs.session import Session
from recbole_cadmr.runs.topk_lists import TopKLists, by_user
from recbole_cadmr.training.ranking import ListedScores, best

SAMPLED = (99, 300, 1000)  # items that are drawn to rank the test items against
_BUSY, _SEVERAL = 10, 2  # train interactions, and test items, that the users of a departure have more of
_NOTHING = torch.empty(0, dtype=torch.long)
NOT_THERE = "the data set has too few items for it, or no such users"


# What :func:`measure` measures a trained model under.
_VALID_OUT = "validation items left out, too"
_BUSY_USERS, _SEVERAL_ITEMS = f"users with more than {_BUSY} train items", f"users with more than {_SEVERAL} test items"
_AGAINST = {n: f"ranked against {n:,} sampled items" for n in SAMPLED}
_TRAIN_IN, _TRAIN_HITS = "train items not left out", "train items count as hits"
_VALID_READ, _TEST_READ = "validation items in the row", "validation and test items in the row"
MEASURED = (
    *_AGAINST.values(),
    _VALID_OUT,
    _BUSY_USERS,
    _SEVERAL_ITEMS,
    _TRAIN_IN,
    _TRAIN_HITS,
    _VALID_READ,
    _TEST_READ,
)


@dataclass(frozen=True)
class Ranking:
    """A way to rank and to count hits.

    Attributes:
        left_out, held: [n_users, n_items], what is in no list, and what counts as a hit.
        rows: [n_users, n_items], the rating rows that are scored in place of the users' own.
        users: bool [n_users], those that the mean is over, as far as anything of theirs is held out.
        sampled: items drawn for each user, from those in no part; the held-out ones are ranked among them alone.
    """

    left_out: sp.csr_matrix
    held: sp.csr_matrix
    rows: sp.csr_matrix | None = None
    users: np.ndarray | None = None
    sampled: int | None = None


def measure(session: Session) -> dict[str, dict[str, float | None]]:
    """Metrics of a session's model under every departure that needs no other training, by its name; none of one that
    the data do not go with (:data:`NOT_THERE`)."""
    return _measure(session, in_good_faith=False)


def measure_in_good_faith(session: Session) -> dict[str, dict[str, float | None]]:
    """The same under departures alone that show no model what it is to find, and that all models can be measured by."""
    return _measure(session, in_good_faith=True)


def _measure(session: Session, in_good_faith: bool) -> dict[str, dict[str, float | None]]:
    parts = (data._dataset for data in (session.train_data, session.valid_data, session.test_data))
    train, valid, test = (part.inter_matrix(form="csr").astype(bool) for part in parts)
    if traits(type(session.model)).sequential or session.dataset.domains() is not None:
        raise UserError("departures from the protocol are of models without an order and of data sets of one domain")
    masks_valid = bool(session.config["mask_valid_at_test"])
    protocol = partial(Ranking, train + valid if masks_valid else train, test)
    rankings = {
        **({} if masks_valid else {_VALID_OUT: Ranking(train + valid, test)}),
        _BUSY_USERS: protocol(users=_counts(train) > _BUSY),
        _SEVERAL_ITEMS: protocol(users=_counts(test) > _SEVERAL),
    }
    taken = _counts(train + valid + test).max()
    too_few = {name for n, name in _AGAINST.items() if n + taken >= train.shape[1]}
    rankings |= {name: protocol(sampled=n) for n, name in _AGAINST.items() if name not in too_few}
    if not in_good_faith:
        nothing = sp.csr_matrix(train.shape, dtype=bool)
        rankings[_TRAIN_IN] = Ranking(nothing, test)
        rankings[_TRAIN_HITS] = Ranking(nothing, train + test)
    if not in_good_faith and traits(type(session.model)).recommends_from_history:
        rankings[_VALID_READ] = protocol(rows=train + valid)
        rankings[_TEST_READ] = protocol(rows=train + valid + test)
    return {
        name: metrics_of(session, ranking, train + valid + test) if _asked(ranking).any() else {}
        for name, ranking in rankings.items()
    } | {name: {} for name in sorted(too_few)}


def on_parts_of(session: Session, source: Path, dataset: str) -> dict[str, float | None]:
    """Metrics of a session's model on the test part of another data set of the same users and items.

    Args:
        source: folder of that data set, which comes split.
    """
    train, valid, test = (_matrix(session, source / f"{dataset}.{part}.inter") for part in ("train", "valid", "test"))
    left_out = train + valid if session.config["mask_valid_at_test"] else train
    return metrics_of(session, Ranking(left_out, test), train + valid + test)


def _matrix(session: Session, file: Path) -> sp.csr_matrix:
    """The pairs in a file by the session's ids; those with an item that the session lacks are left out."""
    data = session.dataset
    columns = {name: f"{name}:token" for name in (data.uid_field, data.iid_field)}
    table = read_table(file, data.config["field_separator"], data.config["encoding"] or "utf-8", columns.values())
    users, items = (table[column].map(data.field2token_id[name]) for name, column in columns.items())
    known = users.notna() & items.notna()
    pairs = users[known].astype(int), items[known].astype(int)
    ones = np.ones(int(known.sum()), dtype=bool)
    return sp.csr_matrix((ones, pairs), shape=(data.user_num, data.item_num))


def metrics_of(session: Session, ranking: Ranking, known: sp.csr_matrix) -> dict[str, float | None]:
    """Metrics by RecBole's names.

    Args:
        known: bool [n_users, n_items], pairs of any part, which are not drawn as negative items.
    """
    topk = session.config["topk"]
    users = np.flatnonzero(_asked(ranking))
    drawn = np.random.default_rng(session.config["seed"])
    tops = []
    for block in _blocks(session, users):
        scores = _scores(session, block, ranking.rows)
        scores[_places(ranking.left_out, block)] = -torch.inf
        if ranking.sampled is not None:
            keys = drawn.random(scores.shape, dtype=np.float32)
            keys[known[block].nonzero()] = np.inf
            keys[:, 0] = np.inf
            chosen = np.argpartition(keys, ranking.sampled - 1, axis=1)[:, : ranking.sampled]
            kept = torch.zeros(scores.shape, dtype=torch.bool).scatter_(1, torch.from_numpy(chosen), True)
            kept[_places(ranking.held, block)] = True
            scores.masked_fill_(~kept, -torch.inf)
        value, item = best(scores, min(max(topk), scores.shape[1] - 1))
        tops.append(item.masked_fill(value == -torch.inf, 0).int().numpy())
    row, item = ranking.held[users].nonzero()
    n_items, empty = ranking.held.shape[1], np.zeros(len(users), np.int32)
    lists = TopKLists(
        users, np.concatenate(tops), np.zeros((len(users), 0), np.int32), row, item, empty, np.zeros(n_items, np.int32),
        np.zeros(n_items, bool),
    )  # fmt: skip
    return {name: float(values.mean()) for name, values in by_user(lists, topk, session.config["metrics"]).items()}


def _asked(ranking: Ranking) -> np.ndarray:
    """The users who have something held out and are among those that count: bool [n_users]."""
    asked = _counts(ranking.held) > 0
    return asked if ranking.users is None else asked & ranking.users


def _counts(matrix: sp.csr_matrix) -> np.ndarray:
    return np.diff(matrix.indptr)


def _blocks(session: Session, users: np.ndarray) -> Iterator[np.ndarray]:
    step = session.trainer.users_at_once
    for start in range(0, len(users), step):
        yield users[start : start + step]


@torch.no_grad()
def _scores(session: Session, users: np.ndarray, rows: sp.csr_matrix | None) -> Tensor:
    """Scores [B, n_items] on the CPU, nothing left out but the padding item."""
    if rows is None:
        interaction = Interaction({session.dataset.uid_field: torch.from_numpy(users)})
        scores = session.trainer.rank((interaction, (_NOTHING, _NOTHING), None, None))
        if isinstance(scores, ListedScores):
            raise UserError(
                f"{session.config['dataset']} is too large for departures from the protocol: "
                f"{session.config['model']} scores a part of its items alone"
            )
    else:
        dense = torch.from_numpy(rows[users].toarray().astype(np.float32))
        scores = session.model.score_rows(dense.to(session.trainer.device))
        scores[:, 0] = -torch.inf
    return scores.cpu()


def _places(matrix: sp.csr_matrix, users: np.ndarray) -> tuple[Tensor, Tensor]:
    row, item = matrix[users].nonzero()
    return torch.from_numpy(row).long(), torch.from_numpy(item).long()
