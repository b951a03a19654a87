"""How interactions are split into train (0), validation (1) and test (2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from recbole_cadmr.errors import UserError

PARTS = ("train", "valid", "test")
Split = Callable[[pd.DataFrame, np.random.Generator], np.ndarray]


def split_random(interactions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """8:1:1 for each user at random, as the multimodal toolboxes draw it.

    A fifth of a user's interactions is held out, rounded down, and half of it, rounded up, is test; a user of fewer
    than ten has one for validation and one for test, of two one for test, and a single one is train.
    """
    order = rng.permutation(len(interactions))
    user = _codes(interactions["user_id"])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = _place_in_group(user[order])
    return _held_out(place, np.bincount(user)[user])


def split_leave_last(interactions: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Each user's last interaction is test, the one before it validation; of two, one is train and one test.

    The order is that of time or, without timestamps, of the rows.
    """
    order = _by_time(interactions)[::-1]
    user = _codes(interactions["user_id"])
    last = np.empty(len(order), dtype=np.int64)
    last[order] = _place_in_group(user[order])
    n = np.bincount(user)[user]
    return np.where((last == 0) & (n > 1), 2, np.where((last == 1) & (n > 2), 1, 0))


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
    item = _codes(interactions["item_id"])
    n = int(item.max()) + 1
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


def _held_out(place: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Labels from an interaction's place among its user's ``n``: the first places are held out."""
    held = np.where(n < 10, np.minimum(n - 1, 2), n // 5)
    test = held - held // 2
    return np.where(place < test, 2, np.where(place < held, 1, 0))


def _codes(ids: pd.Series) -> np.ndarray:
    return pd.factorize(ids)[0]


def _by_time(interactions: pd.DataFrame) -> np.ndarray:
    """Rows in the order of time; those of one time, or all without timestamps, in their own order."""
    if "timestamp" not in interactions:
        return np.arange(len(interactions))
    return np.argsort(interactions["timestamp"].to_numpy(), kind="stable")


def _place_in_group(group: np.ndarray) -> np.ndarray:
    """How many earlier entries each entry has in its group."""
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], group[order])
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - start
    return place
