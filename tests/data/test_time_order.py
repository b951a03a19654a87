"""Order TO is the order of the times as they stand in the file; an independent sort in Python says which."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import recbole

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from tests.micro import open_drawn, tokens_of, write_drawn

HEADER = "user_id:token item_id:token timestamp:float"
COLUMNS = {"inter": ["user_id", "item_id", "timestamp"]}
LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
TIMES = {
    "seconds": lambda k: str(1_600_000_000 + k),
    "milliseconds": lambda k: str(1_600_000_000_000 + 10 * k),
    "nanoseconds": lambda k: str(1_600_000_000_000_000_000 + k),
    "nanoseconds with a point": lambda k: f"{1_600_000_000_000_000_000 + k}.0",
    "beyond int64": lambda k: str(2**70 + k),
    "negative": lambda k: str(-1_600_000_000 + k),
    "fractional": lambda k: f"1600000000.{k:03d}",
    "mixed": lambda k: f"{1_600_000_000 + k}" + (".25" if k % 2 else ""),
}


def shuffled(time, users=6, each=8):
    """Rows of users who have item k at their k-th time, in no order."""
    rows = [f"u{user} i{(user + k) % 12} {time(user * each + k)}" for user in range(users) for k in range(each)]
    random.Random(0).shuffle(rows)
    return rows


def by_time(rows, value=Decimal):
    return [tuple(row.split()[:2]) for row in sorted(rows, key=lambda row: value(row.split()[2]))]  # stable


def by_user(pairs):
    found = defaultdict(list)
    for user, item in pairs:
        found[user].append((user, item))
    return found


@pytest.mark.parametrize("name", TIMES)
def test_leave_one_out_holds_the_last_ones_out(tmp_path, name):
    rows = shuffled(TIMES[name])
    parts = tokens_of(open_drawn(write_drawn(tmp_path, rows, HEADER), load_col=COLUMNS, eval_args=LAST))
    expected = by_user(by_time(rows)).values()
    assert sorted(parts[2]) == sorted(mine[-1] for mine in expected)
    assert sorted(parts[1]) == sorted(mine[-2] for mine in expected)


@pytest.mark.parametrize("group_by", ["user", "none", None])
def test_shares_are_the_first_and_the_last(tmp_path, group_by):
    rows = shuffled(TIMES["seconds"], each=10)
    arguments = {**LAST, "split": {"RS": [8, 1, 1]}, "group_by": group_by}
    parts = tokens_of(open_drawn(write_drawn(tmp_path, rows, HEADER), load_col=COLUMNS, eval_args=arguments))
    groups = list(by_user(by_time(rows)).values()) if group_by == "user" else [by_time(rows)]
    for part, share in zip(parts, (slice(0, 0.8), slice(0.8, 0.9), slice(0.9, 1))):
        expected = [
            pair for mine in groups for pair in mine[round(share.start * len(mine)) : round(share.stop * len(mine))]
        ]
        assert sorted(part) == sorted(expected)


def test_a_moment_for_all(tmp_path):
    rows = shuffled(TIMES["nanoseconds"])
    arguments = {**LAST, "split": {"TS": [0.5, 0.25, 0.25]}}
    parts = tokens_of(open_drawn(write_drawn(tmp_path, rows, HEADER), load_col=COLUMNS, eval_args=arguments))
    ordered = by_time(rows)
    cut = int((len(rows) - 1) * 0.75) + 1
    assert sorted(parts[2]) == sorted(ordered[cut:])
    early = by_user(ordered[:cut]).values()
    assert sorted(parts[0]) == sorted(pair for mine in early for pair in mine[: int(len(mine) * 2 / 3)])


def test_one_time_keeps_the_order_of_the_file(tmp_path):
    rows = [f"u{k % 2} i{k} 7" for k in (3, 1, 4, 0, 5, 2)]
    parts = tokens_of(open_drawn(write_drawn(tmp_path, rows, HEADER), load_col=COLUMNS, eval_args=LAST))
    assert sorted(parts[2]) == [("u0", "i2"), ("u1", "i5")]


def test_repeated_interactions_are_told_apart_by_time(tmp_path):
    first, last = ("a x 1600000001", "a y 1600000002", "a z 1600000000"), ("a y 1600000004", "a x 1600000003")
    rows = [last[0], *first, last[1], "b x 1", "b y 2", "b z 3"]
    folder = write_drawn(tmp_path, rows, HEADER)
    for keep, test in (("first", "y"), ("last", "y")):
        parts = tokens_of(open_drawn(folder, load_col=COLUMNS, eval_args=LAST, rm_dup_inter=keep))
        assert dict(parts[2])["a"] == test
        assert dict(parts[1])["a"] == "x"
        assert [pair for part in parts for pair in part].count(("a", "y")) == 1


def test_the_file_that_recbole_ships(tmp_path):
    """Ties are by row: 149 of 943 users get another last item where times have become float32."""
    file = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    rows = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    last = {user: item for user, item, _, _ in sorted(rows, key=lambda row: int(row[3]))}
    settings = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "eval_args": LAST}
    parts = MultimodalDataset(Config("BPR", "ml-100k", settings=settings)).build()
    test = parts[2]
    columns = (test.id2token(field, test.inter_feat[field].numpy()) for field in ("user_id", "item_id"))
    assert dict(zip(*columns)) == last


DATES = {
    "days": lambda k: str(date(2019, 12, 1) + timedelta(days=k)),
    "day first": lambda k: (date(2019, 12, 1) + timedelta(days=k)).strftime("%d.%m.%Y"),
    "of a zone": lambda k: f"2019-12-01T10:{k:02d}:00+01:00",
}


@pytest.mark.parametrize("name", DATES)
def test_dates_are_dates(tmp_path, name):
    rows = shuffled(DATES[name])
    folder = write_drawn(tmp_path, rows, HEADER.replace("float", "token"))
    parts = tokens_of(open_drawn(folder, load_col=COLUMNS, eval_args=LAST))
    value = {"day first": lambda text: text.split(".")[::-1]}.get(name, str)
    assert sorted(parts[2]) == sorted(mine[-1] for mine in by_user(by_time(rows, value)).values())


def test_a_later_hour_may_be_an_earlier_time(tmp_path):
    rows = [
        "a x 2020-01-01T10:00:00Z",
        "a y 2020-01-01T11:00:00+02:00",
        "a z 2020-01-01T09:30:00Z",
        "b w 2020-01-01T00:00Z",
    ]
    folder = write_drawn(tmp_path, rows, HEADER.replace("float", "token"))
    assert tokens_of(open_drawn(folder, load_col=COLUMNS, eval_args=LAST))[2] == [("a", "x")]


@pytest.mark.parametrize(
    ("kind", "times", "sentence"),
    [
        ("token", ["01/02/2020", "03/04/2020"], "timestamp of .* can be read in more than one way"),
        ("token", ["2020-01-31", "2020-02-30"], "line 3: timestamp is '2020-02-30', which is no date"),
        ("token", [*["2020-01-31"] * 60, "soon"], "line 62: timestamp is 'soon', which is no date"),
        ("token", ["soon", "late"], "2 of 2 values of timestamp of .* cannot be read as a time"),
        ("token", ["1600000000", "999999999"], r"a number in a column of tokens; name the column timestamp:float"),
        ("token", ["20200131", "2020-02-01"], "a number in a column of tokens"),
        ("token", ["2020-01-31T10:00:00Z", "2020-01-31T10:00:00"], "has a time zone in line 2 and none in line 3"),
        ("float", ["1", ""], "1 of 2 interactions of drawn have no timestamp, the first in line 3"),
        ("token", ["", "2020-01-01"], "1 of 2 interactions of drawn have no timestamp, the first in line 2"),
        ("float", ["1", "soon"], "line 3 is malformed: timestamp cannot be 'soon'"),
        ("float_seq", ["1", "2"], "there is no order of time"),
    ],
)
def test_what_has_no_order_is_refused(tmp_path, kind, times, sentence):
    rows = [f"u i{k} {time}" for k, time in enumerate(times)]
    folder = write_drawn(tmp_path, rows, f"user_id:token item_id:token timestamp:{kind}")
    with pytest.raises(UserError, match=sentence):
        open_drawn(folder, load_col=COLUMNS, eval_args=LAST)


def test_times_that_are_not_loaded(tmp_path):
    folder = write_drawn(tmp_path, shuffled(TIMES["seconds"]), HEADER)
    with pytest.raises(
        UserError, match="order TO goes by the times in the column timestamp of drawn, which is not loaded"
    ):
        open_drawn(folder, eval_args=LAST)
