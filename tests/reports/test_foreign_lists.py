"""Lists from files against a split: what may not be in them is told, removed and counted, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.foreign_lists import SplitData, read_foreign
from recbole_cadmr.runs.topk_lists import by_user

USERS, ITEMS = 40, 30


def number(user, item):
    return user * (ITEMS + 1) + item


def pairs(*rows):
    return np.unique([number(user, item) for user, item in rows])


def split():
    """User u has train items u+1, u+2, u+3, the validation item u+4 and the held-out items u+5 and u+6, modulo 30."""
    part = {n: [(u, (u + n - 1) % ITEMS + 1) for u in range(1, USERS + 1)] for n in range(1, 7)}
    return SplitData(
        name="toy",
        users={f"u{u}": u for u in range(1, USERS + 1)},
        items={f"i{i}": i for i in range(1, ITEMS + 1)},
        n_items=ITEMS + 1,
        n_candidates=ITEMS + 1,
        train=pairs(*part[1], *part[2], *part[3]),
        valid=pairs(*part[4]),
        test=pairs(*part[5], *part[6]),
        masks_valid=False,
        missing=np.zeros(ITEMS + 1, dtype=bool),
        modalities=None,
    )


def lists(*steps, users=USERS):
    """For each user the items at these distances from its number, the best first."""
    rows = [
        (f"u{u}", f"i{(u + n - 1) % ITEMS + 1}", place) for u in range(1, users + 1) for place, n in enumerate(steps, 1)
    ]
    return pd.DataFrame(rows, columns=["user", "item", "rank"])


def read(frame, folder, topk=(1, 2, 4), **changes):
    frame.to_csv(folder / "lists.csv", index=False)
    return read_foreign(folder / "lists.csv", replace(split(), **changes), topk)


def recall(foreign, k):
    return by_user(foreign.lists, [1, 2, 4], ["Recall"])[f"recall@{k}"].mean()


def test_lists_are_measured_by_hand(tmp_path):
    found = read(lists(5, 9, 4, 6, 12), tmp_path)
    assert [recall(found, k) for k in (1, 2, 4)] == [0.5, 0.5, 1.0]
    assert (found.rows, found.measured_at, found.notes) == (200, [1, 2, 4], [])
    assert len(found.sha256) == 64 and found.lists.top.shape == (USERS, 4)
    assert found.lists.user_degree.tolist() == [3] * USERS and found.lists.item_degree.sum() == 3 * USERS


def test_scores_that_tie_keep_the_order_of_the_file(tmp_path):
    frame = lists(5, 9, 6, 4).assign(score=1.0).drop(columns="rank")
    assert recall(read(frame, tmp_path), 1) == 0.5 and recall(read(frame.iloc[::-1], tmp_path), 1) == 0.0


def test_what_the_protocol_leaves_out_is_removed_and_counted(tmp_path):
    masked = read(lists(4, 5, 9, 6, 10), tmp_path, masks_valid=True)
    assert recall(masked, 1) == 0.5 and masked.notes == ["40 items of the users' validation part removed"]
    few = lists(5, 9, 6, 4, 10)
    few.loc[3, "item"] = "i2"  # of the first user's train part, in the place of the validation item
    removed = read(few, tmp_path)
    assert removed.notes == ["1 item of the users' train part removed"] and recall(removed, 4) == 1.0
    nobodys = read(lists(5, 9, 6, 4, 10), tmp_path, n_candidates=ITEMS, train=split().train, test=pairs((1, 5), (1, 6)))
    assert not any("nobody" in note for note in nobodys.notes)


def test_short_lists_are_told_and_not_measured_beyond(tmp_path):
    short = read(lists(5, 9), tmp_path)
    assert short.measured_at == [1, 2]
    assert short.notes[:2] == ["40 lists are shorter than 4", "not measured at 4, which most lists do not reach"]
    frame = lists(5, 4, 6, 10)
    some = read(frame[~(frame["user"].isin(["u1", "u2"]) & (frame["rank"] == 4))], tmp_path)
    assert some.measured_at == [1, 2, 4] and some.notes == ["2 lists are shorter than 4"]
    with pytest.raises(UserError, match="hold fewer than 2 items; make them 4 long"):
        read(lists(5), tmp_path, topk=(2, 4))


def test_users_without_a_list_count_as_without_a_hit(tmp_path):
    found = read(lists(5, 6, 4, 10, users=38), tmp_path)
    assert found.notes == ["2 users have no list, which counts as one without a hit"]
    assert recall(found, 2) == pytest.approx(38 / 40)
    others = read(lists(5, 6, 4, 10), tmp_path, test=split().test[:70])
    assert others.notes == ["5 users without held-out items passed over"]
    with pytest.raises(UserError, match="lists of 20 of the 40 users of toy with held-out items"):
        read(lists(5, 6, users=20), tmp_path)


def test_lists_that_leave_out_the_validation_items_have_an_advantage_and_it_is_told(tmp_path):
    assert "no list has a validation item" in read(lists(5, 6, 9, 10), tmp_path).notes[0]
    assert read(lists(5, 6, 9, 10), tmp_path, masks_valid=True).notes == []
    of_others = pairs(*((u, (u + 3) % ITEMS + 1) for u in range(21, USERS + 1)))
    first = pairs(*((u, (u + n - 1) % ITEMS + 1) for u in range(1, 21) for n in (5, 6)))
    apart = read(lists(5, 6, 9, 10, users=20), tmp_path, valid=of_others, test=first)
    assert apart.notes == []  # nobody with a held-out item has a validation item


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (lists(5, 4).assign(user="u99"), "1 of 1 users that toy does not have, such as 'u99'"),
        (lists(5, 4).replace("i7", "7"), "1 of 30 items that toy does not have, such as '7'"),
        (pd.concat([lists(5, 4), lists(5, users=1)]), "the item 'i6' twice for the user 'u1', as 1 rows do"),
        (lists(1, 2, 3, 5), "120 train items of toy to the users who have them, and 40 held-out"),
        (lists(*range(7, 27)), "none of the 80 held-out items of toy, of which random lists would hold about 53"),
    ],
)
def test_other_ids_and_splits_are_refused(frame, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(frame, tmp_path)
