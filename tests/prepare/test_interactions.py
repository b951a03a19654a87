"""Duplicates, the k-core and the splits, against known answers and independent computations."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_cadmr.data.prepare.interactions import clean, k_core
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.split import SPLITS, split_parts
from recbole_cadmr.errors import UserError

REAL = Path(os.environ.get("RECBOLE_CADMR_DATA", Path(__file__).parents[3] / "shared" / "data"))


def table(pairs, **columns):
    return pd.DataFrame({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs], **columns})


def many(sizes):
    """A user for each size, with so many items."""
    return table([(f"u{user}", f"i{item}") for user, size in enumerate(sizes) for item in range(size)])


def label(frame, split, seed=0):
    return SPLITS[split](frame, np.random.default_rng(seed))


def test_a_repeated_pair_is_kept_once_at_its_earliest():
    frame = table([("a", "x"), ("a", "y"), ("a", "x")], timestamp=[3.0, 2.0, 1.0])
    skipped = SkippedRows()
    kept = clean(frame, skipped)
    assert kept.to_dict("records") == [
        {"user_id": "a", "item_id": "y", "timestamp": 2.0},
        {"user_id": "a", "item_id": "x", "timestamp": 1.0},
    ]
    assert skipped.counts == {"repeated interactions of a user with an item": 1}


def test_ids_that_an_atomic_file_cannot_hold_are_passed_over():
    skipped = SkippedRows()
    assert len(clean(table([("a", "x"), ("", "x"), ("a", None), ("a\tb", "x"), ("a", "x\ny")]), skipped)) == 1
    assert skipped.counts == {"interactions without a usable user or item id": 4}


def test_blanks_around_an_id_are_part_of_it_and_said():
    skipped = SkippedRows()
    assert len(clean(table([("a", "x"), ("a ", "x"), (" a", "x"), ("a b", "y"), ("a", "x ")]), skipped)) == 5
    assert skipped.lines() == [
        "interactions whose user_id has blanks at an end, which are taken for a part of it: 2 ('a ')",
        "interactions whose item_id has blanks at an end, which are taken for a part of it: 1 ('x ')",
    ]


def test_the_core_is_the_one_that_peeling_leaves():
    rng = np.random.default_rng(0)
    pairs = sorted({(f"u{a}", f"i{b}") for a, b in zip(rng.zipf(1.5, 3000) % 200, rng.zipf(1.4, 3000) % 100)})
    left = list(pairs)
    while True:  # one user or item at a time
        users, items = ([pair[side] for pair in left] for side in (0, 1))
        poor = [(0, user) for user in set(users) if users.count(user) < 4]
        poor += [(1, item) for item in set(items) if items.count(item) < 4]
        if not poor:
            break
        side, name = poor[0]
        left = [pair for pair in left if pair[side] != name]
    assert 50 < len(left) < len(pairs)
    assert [tuple(row) for row in k_core(table(pairs), 4).to_numpy()] == left
    with pytest.raises(UserError, match="none of the 6 lies in a 3-core"):
        k_core(many([3, 3]), 3)


def test_sizes_of_the_random_split():
    frame = many(range(1, 45))
    counts = pd.crosstab(frame["user_id"], label(frame, "random"))
    for user in range(44):
        n = user + 1
        held = n // 5 if n >= 10 else min(2, n - 1)
        assert counts.loc[f"u{user}"].tolist() == [n - held, held // 2, held - held // 2]


@pytest.mark.parametrize("name", ["baby", "sports"])
def test_the_random_split_has_the_sizes_of_the_published_ones(name):
    path = REAL / name / f"{name}.inter"
    if not path.is_file():
        pytest.skip(f"no real data in {REAL}")
    published = pd.read_csv(path, sep="\t")
    published.columns = ["user_id", "item_id", "label"]
    drawn = label(published, "random")
    assert pd.crosstab(published["user_id"], drawn).equals(
        pd.crosstab(published["user_id"], published["label"].to_numpy())
    )
    # Another draw: about an eighth of the held-out interactions would be test again by chance.
    assert ((drawn == 2) & (published["label"] == 2)).sum() < 0.2 * (drawn == 2).sum()


def test_the_random_split_holds_out_every_place_equally():
    frame = many([20] * 2000)
    held = (label(frame, "random") > 0).reshape(2000, 20).mean(0)
    assert np.abs(held - 0.2).max() < 0.04
    assert (label(frame, "random", 1) != label(frame, "random", 2)).any()


def test_leave_last_by_time_and_by_order():
    frame = table([("a", i) for i in "vwxyz"] + [("b", "x"), ("b", "y"), ("c", "x")])
    assert label(frame, "leave-last").tolist() == [0, 0, 0, 1, 2, 0, 2, 0]
    timed = frame.assign(timestamp=[5.0, 4, 3, 2, 1, 2, 1, 0])
    assert label(timed, "leave-last").tolist() == [2, 1, 0, 0, 0, 2, 0, 0]


def test_where_the_split_goes_by_the_order_the_parts_have_it():
    frame = table([("a", i) for i in "vwxyz"] + [("b", "x"), ("b", "y"), ("c", "x")])
    timed = frame.assign(timestamp=[5.0, 4, 4, 4, 1, 2, 1, 0])  # w, x and y of a at once

    def order(data, how):
        parts = split_parts(data, how, 0, SkippedRows()).values()
        whole = pd.concat(parts).sort_index()
        return whole["order"].tolist() if "order" in whole else None

    assert order(frame, "leave-last") == [0, 1, 2, 3, 4, 0, 1, 0]
    assert order(timed, "leave-last") == order(timed, "time") == [4, 1, 1, 1, 0, 1, 0, 0]
    assert order(timed.assign(order=range(8)), "leave-last") == list(range(8))  # of a source that knows better
    assert order(timed, "random") is None


def test_global_time():
    frame = many([10, 10]).assign(timestamp=np.arange(20)[::-1])
    assert label(frame, "time").tolist() == [2, 2, 1, 1] + [0] * 16
    with pytest.raises(UserError, match="needs timestamps"):
        label(many([5]), "time")


def test_cold_items_are_in_one_part_alone():
    frame = many([40] * 10)
    split = label(frame, "cold-items")
    by_item = frame.assign(part=split).groupby("item_id")["part"]
    assert (by_item.nunique() == 1).all() and by_item.first().value_counts().to_dict() == {0: 32, 1: 4, 2: 4}
