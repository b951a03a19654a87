"""How interactions are split into train (0), validation (1) and test (2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError

PARTS = ("train", "valid", "test")
Split = Callable[[pd.DataFrame, np.random.Generator], np.ndarray]


def split_random(interactions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """8:1:1 for each user at random, as the multimodal toolboxes draw it.

    A fifth of a user's interactions is held out, rounded down, and half of it, rounded up, is test; a user of fewer
    than ten has one for validation and one for test, of two one for test, and a single one is train.
    """
    place, n = _places(interactions["user_id"], rng.permutation(len(interactions)))
    held = np.where(n < 10, np.minimum(n - 1, 2), n // 5)
    return np.where(place < held - held // 2, 2, np.where(place < held, 1, 0))


def split_leave_last(interactions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Each user's last interaction is test, the one before it validation; of only two, one is train and one test.

    The order is that of time or, without timestamps, of the rows.
    """
    place, n = _places(interactions["user_id"], _by_time(interactions)[::-1])
    return np.where((place == 0) & (n > 1), 2, np.where((place == 1) & (n > 2), 1, 0))


def split_time(interactions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """The first 80 % of all interactions in time are train, the next 10 % validation, the last test.

    Raises:
        UserError: without timestamps.
    """
    if "timestamp" not in interactions:
        raise UserError("--split time needs timestamps, which this source does not have; choose another split")
    n = len(interactions)
    label = np.empty(n, dtype=np.int64)
    label[_by_time(interactions)] = np.searchsorted([n * 8 // 10, n * 9 // 10], np.arange(n), side="right")
    return label


def split_cold_items(interactions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """A tenth of the items, with all their interactions, is validation, another tenth test: no train row holds them."""
    item, items = pd.factorize(interactions["item_id"])
    n = len(items)
    label = np.zeros(n, dtype=np.int64)
    order = rng.permutation(n)
    held = max(n // 10, 1)
    label[order[:held]], label[order[held : 2 * held]] = 1, 2
    return label[item]


SPLITS: dict[str, Split] = {
    "random": split_random,
    "leave-last": split_leave_last,
    "time": split_time,
    "cold-items": split_cold_items,
}


_ORDERED = ("leave-last", "time")


def split_parts(table: pd.DataFrame, how: str, seed: int, skipped: SkippedRows) -> dict[str, pd.DataFrame]:
    """Train, validation and test part of ``table`` by one of :data:`SPLITS`.

    Where that goes by the order of interactions, and they have no column ``order``, they get it: how many of the user's
    are earlier.

    Raises:
        UserError: if nothing is left to train on, or the split needs timestamps that are missing.
    """
    labels = SPLITS[how](table, np.random.default_rng(seed))
    if how in _ORDERED and "order" not in table:
        table = table.assign(order=_earlier(table))
    parts = {part: table[labels == label] for label, part in enumerate(PARTS)}
    if parts["train"].empty:
        raise UserError(f"--split {how} leaves nothing to train on; give more data or another split")
    if how == "leave-last" and "timestamp" not in table:
        skipped.remark("--split leave-last uses the order of the rows, since there are no times")
    for part in (part for part, rows in parts.items() if rows.empty):
        skipped.remark(f"--split {how} leaves {part} without interactions")
    return parts


def _by_time(interactions: pd.DataFrame) -> np.ndarray:
    """Rows in the order of time; those of the same time, or all without timestamps, in their own order."""
    if "timestamp" not in interactions:
        return np.arange(len(interactions))
    return np.argsort(interactions["timestamp"].to_numpy(), kind="stable")


def _earlier(interactions: pd.DataFrame) -> np.ndarray:
    """Of each row: how many rows of its user have an earlier time or, without timestamps, come before it."""
    order = _by_time(interactions)
    place, _ = _places(interactions["user_id"], order)
    if "timestamp" not in interactions:
        return place
    same = [pd.factorize(interactions["user_id"])[0], interactions["timestamp"].to_numpy()]
    return pd.Series(place).groupby(same).transform("min").to_numpy()


def _places(ids: pd.Series, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row: how many rows of its id come before it in ``order``, and how many there are."""
    codes = pd.factorize(ids)[0].astype(np.int32)[order]
    by_id = np.argsort(codes, kind="stable")
    size = np.bincount(codes)
    first = np.repeat(size.cumsum() - size, size)
    place, n = np.empty((2, len(order)), dtype=np.int64)
    place[order[by_id]], n[order] = np.arange(len(order)) - first, size[codes]
    return place, n
