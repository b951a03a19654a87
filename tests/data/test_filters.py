"""What RecBole's filters leave out: exactly what an independent computation does, and counted in the log."""

from __future__ import annotations

import pandas as pd
import pytest

from recbole_cadmr.data.exact import parse_intervals, within
from recbole_cadmr.errors import UserError
from tests.micro import open_drawn, tokens_of, write_drawn

ROWS = [f"u{u} i{i} {1 + (u + i) % 5}" for u in range(4) for i in range(5)] + ["few i0 5", "few i9 5"]
HEADER = "user_id:token item_id:token rating:float"
RATED = {"inter": ["user_id", "item_id", "rating"]}


def pairs_of(session):
    return sorted(pair for part in tokens_of(session) for pair in part)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("[3,inf)", [3, 4, 5]),
        ("(3,5)", [4]),
        ("(-inf,2]", [1, 2]),
        ("[1.5,3.5]", [2, 3]),
        ("(2.5,4.5)", [3, 4]),
        ("[1,1];[4,5]", [1, 4, 5]),
        (" [ 2 , 3 ] ", [2, 3]),
    ],
)
@pytest.mark.parametrize("kind", ["int64", "float64", "object"])
def test_intervals(text, inside, kind):
    values = pd.Series([1, 2, 3, 4, 5]).astype(kind)
    assert values[within(values, parse_intervals(text))].tolist() == inside


@pytest.mark.parametrize(
    "text", ["", "3", "[3]", "[3,4", "3,4]", "[a,b]", "[4,3]", "(3,3)", "[1,2][3,4]", "[nan,1]", "[1,2];"]
)
def test_what_is_no_interval(text):
    with pytest.raises(UserError, match="interval"):
        parse_intervals(text)


def test_values(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        session = open_drawn(write_drawn(tmp_path, ROWS, HEADER), load_col=RATED, val_interval={"rating": "[3,4]"})
    rows = [row.split() for row in ROWS]
    assert pairs_of(session) == sorted((u, i) for u, i, r in rows if 3 <= int(r) <= 4)
    assert "14 of 22 interactions of drawn, 1 of 5 users and 1 of 6 items are left out by val_interval" in caplog.text


def test_times_are_compared_to_the_last_digit(tmp_path):
    first = 1_600_000_000_000_000_000
    rows = [f"u i{k} {first + k}" for k in range(10)] + [f"v j {first + 3}"]
    folder = write_drawn(tmp_path, rows, HEADER.replace("rating", "timestamp"))
    settings = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "metrics": ["Recall"]}
    session = open_drawn(folder, val_interval={"timestamp": f"({first + 1},{first + 7}]"}, **settings)
    assert pairs_of(session) == [*(("u", f"i{k}") for k in range(2, 8)), ("v", "j")]


def test_tokens(tmp_path):
    folder = write_drawn(tmp_path, ROWS, HEADER.replace("float", "token"))
    session = open_drawn(folder, load_col=RATED, val_interval={"rating": [5, "1"]})
    assert pairs_of(session) == sorted(tuple(row.split()[:2]) for row in ROWS if row[-1] in "15")


def test_numbers_of_interactions(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        session = open_drawn(write_drawn(tmp_path, ROWS, HEADER), user_inter_num_interval="[5,inf)")
    assert pairs_of(session) == sorted(tuple(row.split()[:2]) for row in ROWS if not row.startswith("few"))
    assert (
        "2 of 22 interactions of drawn, 1 of 5 users and 1 of 6 items are left out by user_inter_num_interval"
        in caplog.text
    )


def test_repeated_interactions(tmp_path, caplog):
    folder = write_drawn(tmp_path, [*ROWS, *ROWS[:3]], HEADER)
    with caplog.at_level("WARNING"):
        session = open_drawn(folder, rm_dup_inter="first")
    assert len(pairs_of(session)) == len(ROWS)
    assert "3 of 25 interactions of drawn, 0 of 5 users and 0 of 6 items are left out by rm_dup_inter" in caplog.text
    assert "rm_dup_inter: no times are loaded, so that first means first in the file" in caplog.text


def test_repeated_interactions_that_are_kept(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        parts = tokens_of(open_drawn(write_drawn(tmp_path, [*ROWS, *ROWS], HEADER)))
    both = sum(pair in parts[0] for pair in parts[2])
    assert both
    assert f"{both} of {len(parts[2])} held-out test interactions of drawn are train interactions, too" in caplog.text
    assert "leave repeated ones out with --rm_dup_inter=first" in caplog.text


def test_items_that_are_not_described(tmp_path, caplog):
    folder = write_drawn(tmp_path, ROWS, HEADER)
    (folder / "drawn" / "drawn.item").write_text(
        "item_id:token\n" + "\n".join(["i0", "i1", "i2", "i3", "i3", "new"]) + "\n"
    )
    with caplog.at_level("WARNING"):
        session = open_drawn(folder, load_col=None)
    assert not [pair for pair in pairs_of(session) if pair[1] == "i4"]
    assert "5 of 22 interactions of drawn, 0 of 5 users and 2 of 6 items are left out by filter_inter" in caplog.text
    assert "drawn.item names 1 item_id again" in caplog.text
    assert "1 items of the file drawn.item have no interactions; they are ranked, too" in caplog.text


def test_missing_numbers_are_counted(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        open_drawn(write_drawn(tmp_path, [*ROWS, "few i2 "], HEADER), load_col=RATED)
    assert "1 missing values of rating in inter of drawn become the mean of others" in caplog.text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"load_col": {"inter": ["user_id", "item_id", "ratng"]}}, r"has no column ratng; did you mean rating\?"),
        ({"load_col": {"inter": ["user_id"]}}, "must have a column item_id:token in its header, and load_col"),
        (
            {"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id"]}},
            "load_col names columns of item, but there",
        ),
        ({"load_col": None, "unload_col": {"inter": ["x"]}}, "unload_col: .* has no column x"),
        (
            {"val_interval": {"rating": "[3,inf)"}},
            "val_interval: no column rating of drawn is loaded; name it in load_col",
        ),
        ({"val_interval": {"rating": [3]}, "load_col": RATED}, r"rating is of type float; give an interval"),
        ({"val_interval": {"item_id": "[3,4]"}}, "item_id is of type token; give a list of those to keep"),
        ({"normalize_field": ["rating"]}, "normalize_field: no column rating of drawn is loaded"),
        (
            {"normalize_field": ["item_id"]},
            "normalize_field: item_id is of type token in drawn, not float or float_seq",
        ),
        ({"seq_len": {"rating": 3}, "load_col": RATED}, "seq_len: rating is of type float"),
        ({"alias_of_item_id": ["other"]}, "alias_of_item_id: no column other of drawn is loaded"),
        ({"unused_col": {"inter": ["rating"]}}, "unused_col: no column rating of inter is loaded"),
        ({"unused_col": {"inter": ["item_id"]}}, "unused_col: item_id is always used"),
        ({"user_inter_num_interval": "[99,inf)"}, "filtering leaves nothing of drawn"),
    ],
)
def test_settings_that_do_not_fit_the_file(tmp_path, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        open_drawn(write_drawn(tmp_path, ROWS, HEADER), **settings)
