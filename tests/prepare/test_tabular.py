"""A user's own files: habits of real exports, and what is refused or counted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.prepare import assemble as assembling

NAMES = ("user_id", "item_id")


def prepare(folder, *arguments, source="files", name="d"):
    given = ["--data_path", folder / "out", "--name", name, "--k_core", 1, "--text_model", "none"]
    return main(["prepare", source, *map(str, [*arguments, *given])])


def rows(folder, part=None, name="d"):
    parts = [part] if part else ["train", "valid", "test"]
    lines = [(folder / "out" / name / f"{name}.{part}.inter").read_text().split("\n")[1:-1] for part in parts]
    return sorted(tuple(line.split("\t")) for part in lines for line in part)


def card(folder, name="d"):
    return (folder / "out" / name / "dataset_card.md").read_text()


def write(path, table, header=NAMES):
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *table]) + "\n")
    return path


def error(capsys):
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


PAIRS = [(f"u{user}", f"i{item}") for user in range(3) for item in range(4)]


def test_returns_and_low_ratings_are_left_out_and_counted(tmp_path):
    table = [
        ("a", "x", 5, 1), ("a", "y", 2, 1), ("a", "z", 4, -1), ("b", "x", 4, 0), ("b", "y", 4.5, 2),
        ("b", "z", 3.99, 1), ("a", "x", 5, -1),
    ]  # fmt: skip
    inter = write(tmp_path / "i.csv", table, (*NAMES, "stars", "n"))
    given = ["--inter", inter, "--rating_column", "stars", "--min_rating", 4, "--quantity_column", "n"]
    assert prepare(tmp_path, *given) == 0
    assert rows(tmp_path) == [("a", "x", "5"), ("b", "y", "4.5")]
    assert "interactions rated below 4: 2" in card(tmp_path)
    assert "interactions without a positive quantity: 3" in card(tmp_path)


def test_a_filter_that_leaves_nothing_names_itself(tmp_path, capsys):
    inter = write(tmp_path / "i.csv", [("a", "x", 1)], (*NAMES, "n"))
    assert prepare(tmp_path, "--inter", inter, "--rating_column", "n", "--min_rating", 6) == 2
    assert "no interaction is left: all 1 are rated below 6" in error(capsys)


def test_too_many_unreadable_numbers_refuse_the_column(tmp_path, capsys):
    inter = write(
        tmp_path / "i.csv", [(*pair, "4" if n > 1 else "good") for n, pair in enumerate(PAIRS)], (*NAMES, "n")
    )
    assert prepare(tmp_path, "--inter", inter, "--rating_column", "n") == 2
    assert "2 of 12 values of the rating of i.csv cannot be read as a number, such as 'good', 'good'" in error(capsys)


def test_files_of_several_days(tmp_path, capsys):
    first = write(tmp_path / "one.csv", [(*pair, n) for n, pair in enumerate(PAIRS[:5])], (*NAMES, "t"))
    second = tmp_path / "two.jsonl"
    second.write_text(
        "".join(json.dumps({"item_id": i, "t": 9 + n, "user_id": u}) + "\n" for n, (u, i) in enumerate(PAIRS[5:]))
    )
    given = ["--inter", first, second, "--time_column", "t"]
    assert prepare(tmp_path, *given, "--split", "leave-last") == 0
    assert [row[:2] for row in rows(tmp_path)] == PAIRS
    assert [row[:2] for row in rows(tmp_path, "test")] == [(f"u{user}", "i3") for user in range(3)]
    assert "`one.csv`" in card(tmp_path) and "`two.jsonl`" in card(tmp_path)
    late = write(tmp_path / "late.csv", [("u1", "i9", "soon"), ("u9", "i1", 3)], (*NAMES, "t"))
    assert prepare(tmp_path, "--inter", first, second, late, *given[3:], name="late") == 0
    assert "malformed lines of late.csv: 1 (the line of u1 and i9: its timestamp cannot be read)" in card(
        tmp_path, "late"
    )
    assert prepare(tmp_path, "--inter", first, write(tmp_path / "x.csv", PAIRS, ("user", "item_id"))) == 2
    assert "x.csv has no column 'user_id'" in error(capsys)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_dates_of_a_column_are_read_one_way(tmp_path, ending, capsys):
    days = [f"{day:02d}/01/2020" for day in range(12, 8, -1)]  # i0 is the last
    table = pd.DataFrame([(*pair, days[n % 4]) for n, pair in enumerate(PAIRS)], columns=[*NAMES, "date"])
    inter = tmp_path / f"i.{ending}"
    table.to_csv(inter, index=False) if ending == "csv" else table.to_parquet(inter)
    given = ["--inter", inter, "--time_column", "date", "--split", "leave-last"]
    assert prepare(tmp_path, *given) == 2
    assert "2020-01-12 day first and 2020-12-01 month first" in error(capsys) and not (tmp_path / "out" / "d").exists()
    assert prepare(tmp_path, *given, "--time_format", "day-first") == 0
    assert [row[1] for row in rows(tmp_path, "test")] == ["i0"] * 3
    assert "| times | dates, day first, as s since 1970 |" in card(tmp_path)


def test_times_of_parquet_are_exact(tmp_path):
    table = pd.DataFrame(PAIRS, columns=NAMES)
    table["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta([n * 37 % 12 for n in range(12)], unit="ns")
    table.to_parquet(tmp_path / "i.parquet")
    given = ["--inter", tmp_path / "i.parquet", "--time_column", "when", "--split", "time"]
    assert prepare(tmp_path, *given) == 0
    latest = table.sort_values("when").iloc[-2:]
    assert [row[:3] for row in rows(tmp_path, "test")] == sorted(
        (user, item, str(when.value)) for user, item, when in latest.itertuples(index=False)
    )


def test_fractions_of_seconds_are_written_as_they_stand(tmp_path):
    inter = write(
        tmp_path / "i.csv", [("a", "x", "1600000000.000000002"), ("a", "y", "1600000000.000000001")], (*NAMES, "t")
    )
    assert prepare(tmp_path, "--inter", inter, "--time_column", "t", "--split", "leave-last") == 0
    assert rows(tmp_path, "test") == [("a", "x", "1600000000.000000002", "1")]
    assert rows(tmp_path, "train") == [("a", "y", "1600000000.000000001", "0")]


def test_ids_of_items_that_are_written_otherwise(tmp_path, capsys):
    inter = write(tmp_path / "i.csv", [("a", "1"), ("b", "2")])
    items = write(tmp_path / "t.csv", [("001", "one"), ("002", "two")], ("item_id", "title"))
    assert prepare(tmp_path, "--inter", inter, "--items", items) == 2
    assert "the ids are such as '001', '002' there and '1', '2' here" in error(capsys)


def test_texts_that_are_not_there(tmp_path, capsys):
    inter = write(tmp_path / "i.csv", PAIRS)
    items = write(tmp_path / "t.csv", [("i0", "", "x")], ("item_id", "title", "more"))
    given = ["--inter", inter, "--items", items]
    assert prepare(tmp_path, *given) == 0
    assert "no item that is kept has a text in title of t.csv" in card(tmp_path)
    assert (
        main(["prepare", "files", *map(str, given), "--k_core", "1", "--data_path", str(tmp_path), "--name", "e"]) == 2
    )
    assert "name other --text_columns, or give --text_model none" in error(capsys)
    assert prepare(tmp_path, *given, "--text_columns", "more,many", name="f") == 2
    assert "t.csv has no column 'many'" in error(capsys)
    assert prepare(tmp_path, *given, "--text_columns", "more, item_id", "--title_column", "item_id", name="g") == 0
    assert (tmp_path / "out" / "g" / "g.item").read_text().split("\n")[1] == "i0\ti0"


def test_html_is_taken_out_of_titles(tmp_path):
    items = write(tmp_path / "t.csv", [("i0", "<b>Soft</b> &amp; warm<br>a < b")], ("item_id", "title"))
    assert prepare(tmp_path, "--inter", write(tmp_path / "i.csv", PAIRS), "--items", items) == 0
    assert "i0\tSoft & warm a < b" in (tmp_path / "out" / "d" / "d.item").read_text()


@pytest.mark.parametrize("pair", [("[PAD]", "x"), ("a", "[PAD]")])
def test_the_padding_of_recbole_is_no_id(tmp_path, capsys, pair):
    assert prepare(tmp_path, "--inter", write(tmp_path / "i.csv", [*PAIRS, pair])) == 2
    assert "'[PAD]' is RecBole's padding token" in error(capsys)


def test_ids_that_no_file_can_hold(tmp_path):
    lines = [
        *({"user_id": u, "item_id": i} for u, i in PAIRS),
        {"user_id": "\ud83d", "item_id": "i"},
        {"user_id": "a\0", "item_id": "i"},
    ]
    (tmp_path / "i.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert prepare(tmp_path, "--inter", tmp_path / "i.jsonl") == 0
    assert rows(tmp_path) == PAIRS and "interactions without a usable user or item id: 2" in card(tmp_path)


def test_what_the_core_took_is_told(tmp_path, capsys):
    table = [(f"u{user}", f"i{item}") for user in range(3) for item in range(3)] + [("u0", "new"), ("newer", "new")]
    inter = write(tmp_path / "i.csv", table)
    assert (
        main(
            [
                "prepare",
                "files",
                "--inter",
                str(inter),
                "--k_core",
                "2",
                "--data_path",
                str(tmp_path / "out"),
                "--name",
                "d",
            ]
        )
        == 0
    )
    told = "2, which removed 1 users, 1 items and 2 interactions in 2 rounds"
    assert f"| k-core | {told} |" in card(tmp_path) and f"note: k-core: {told}" in capsys.readouterr().err


def test_a_core_that_is_empty_names_what_was_passed_over(tmp_path, capsys):
    inter = write(tmp_path / "i.csv", [("a", "x"), ("a", "x"), ("", "y")])
    given = ["--inter", inter, "--data_path", tmp_path / "out"]
    assert main(["prepare", "files", *map(str, given)]) == 2
    said = error(capsys)
    assert "none of the 1 lies in a 5-core" in said and "repeated interactions of a user with an item: 1" in said


def test_columns_that_are_kept_stand_in_the_data_set_as_they_are(tmp_path, capsys):
    inter = write(tmp_path / "i.csv", PAIRS)
    header = ("item_id", "title", "price", "foto", "more")
    items = write(
        tmp_path / "t.csv", [("i0", "One", " 05.50", "a b&amp;c.jpg", "x"), ("i1", "Two", "", "", "y")], header
    )
    given = ["--inter", inter, "--items", items]
    assert prepare(tmp_path, *given, "--keep_columns", "price,more,price", "--image_column", "foto") == 0
    file = next((tmp_path / "out").glob("*/*.item"))
    assert file.read_text().splitlines() == [
        "item_id:token\ttitle:token_seq\tfoto:token\tprice:token\tmore:token",
        "i0\tOne\ta b&amp;c.jpg\t 05.50\tx",
        "i1\tTwo\t\t\ty",
    ]
    assert prepare(tmp_path, *given, "--keep_columns", "many", name="n") == 2
    assert "t.csv has no column 'many'" in error(capsys)


def test_an_order_without_times_is_told(tmp_path):
    assert prepare(tmp_path, "--inter", write(tmp_path / "i.csv", PAIRS), "--split", "leave-last") == 0
    assert "--split leave-last uses the order of the rows, since there are no times" in card(tmp_path)


def test_parts_that_stay_empty_are_told(tmp_path):
    assert prepare(tmp_path, "--inter", write(tmp_path / "i.csv", [("a", "x"), ("a", "y"), ("b", "x")])) == 0
    assert "--split random leaves valid without interactions" in card(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--time_format", "s"], "--time_format needs --time_column"),
        (["--text_columns", "a"], "--text_columns needs --items"),
        (["--image_column", "a"], "--image_column needs --items"),
        (["--keep_columns", "a"], "--keep_columns needs --items"),
        (
            ["--items", "i.csv", "--keep_columns", "title"],
            "--keep_columns cannot keep 'title': that name has a meaning",
        ),
        (["--items", "i.csv", "--keep_columns", "a:b"], "--keep_columns cannot keep 'a:b': a data set's names hold no"),
        (["--item_column", "user_id"], "--user_column and --item_column are both 'user_id'"),
        (["--separator", "::"], "--separator must be one character"),
        (["--min_rating", "nan", "--rating_column", "item_id"], "--min_rating must be a number"),
        (["--rating_column", "item_id"], "values of the rating of i.csv cannot be read as a number"),
    ],
)
def test_options_that_would_do_nothing_or_harm(tmp_path, capsys, options, said):
    assert prepare(tmp_path, "--inter", write(tmp_path / "i.csv", PAIRS), *options) == 2
    assert said in error(capsys)


def test_options_of_other_formats(tmp_path, capsys):
    pd.DataFrame(PAIRS, columns=NAMES).to_parquet(tmp_path / "i.parquet")
    for option, value in (("--separator", ";"), ("--encoding", "utf-8")):
        assert prepare(tmp_path, "--inter", tmp_path / "i.parquet", option, value) == 2
        assert f"{option} is for csv" in error(capsys)
    assert prepare(tmp_path, "--inter", tmp_path / "i.parquet", tmp_path / "i.parquet") == 2
    assert "--inter names a file twice" in error(capsys)


# The other sources go through the same checks


def amazon(folder, release, change):
    """Reviews of three users on four items, the third item of each last; ``change`` alters records by number."""
    keys = (
        ("reviewerID", "asin", "overall", "unixReviewTime")
        if release == "2014"
        else ("user_id", "parent_asin", "rating", "timestamp")
    )
    records = [dict(zip(keys, (*pair, 5.0, 100 + (n % 4) * (n % 4 != 3)))) for n, pair in enumerate(PAIRS)]
    for number, values in change.items():
        records[number] |= dict(zip(keys[2:], values))
    raw = folder / "raw"
    raw.mkdir()
    reviews, meta = ("reviews_B_5.json", "meta_B.json") if release == "2014" else ("B.jsonl", "meta_B.jsonl")
    (raw / reviews).write_text("".join(json.dumps(record) + "\n" for record in records))
    (raw / meta).write_text(json.dumps({keys[1]: "i0", "title": "T &amp; t"}) + "\n")
    return ["--category", "B", "--release", release, "--source", raw, "--split", "leave-last"]


@pytest.mark.parametrize("release", ["2014", "2023"])
def test_one_review_without_a_time_costs_itself_alone(tmp_path, release):
    given = amazon(tmp_path, release, {0: (5.0, None), 4: (2.0, 100)})
    assert prepare(tmp_path, *given, "--min_rating", 3, source="amazon") == 0
    assert [row[:2] for row in rows(tmp_path, "test")] == [(f"u{user}", "i2") for user in range(3)]
    assert len(rows(tmp_path)) == 10
    assert "the line of u0 and i0: its timestamp cannot be read" in card(tmp_path)
    assert "interactions rated below 3: 1" in card(tmp_path)
    assert "i0\tT & t" in (tmp_path / "out" / "d" / "d.item").read_text()


def test_reviews_without_times_are_refused_where_times_were(tmp_path, capsys):
    given = amazon(tmp_path, "2023", dict.fromkeys(range(4), (5.0, None)))
    assert prepare(tmp_path, *given, source="amazon") == 2
    assert "4 of 12 values of the time column of B.jsonl cannot be read" in error(capsys)


def test_reviews_that_lack_ratings(tmp_path, capsys):
    given = amazon(tmp_path, "2014", dict.fromkeys(range(4), (None, 100)))
    assert prepare(tmp_path, *given, source="amazon") == 0
    assert {len(row) for row in rows(tmp_path)} == {4}  # user, item, time, order
    assert "interactions without a rating, so that ratings are dropped: 4" in card(tmp_path)
    assert prepare(tmp_path, *given, "--min_rating", 3, source="amazon", name="e") == 2
    assert "4 of 12 values of the rating" in error(capsys)


def test_microlens_times_go_through_the_same_checks(tmp_path, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    write(
        raw / "M_pairs.csv",
        [(*pair, f"{n % 4}" if n else "") for n, pair in enumerate(PAIRS)],
        ("user", "item", "timestamp"),
    )
    write(raw / "M_titles.csv", [("i0", "t")], ("item", "title"))
    assert prepare(tmp_path, "--source", raw, source="microlens") == 0
    assert [row[:2] for row in rows(tmp_path, "test")] == [(f"u{user}", "i3") for user in range(3)]
    assert "the line of u0 and i0: its timestamp cannot be read" in card(tmp_path)
    write(raw / "M_pairs.csv", [(*pair, "soon") for pair in PAIRS], ("user", "item", "timestamp"))
    assert prepare(tmp_path, "--source", raw, source="microlens", name="e") == 2
    assert "12 of 12 values of the time column of M_pairs.csv cannot be read" in error(capsys)
    assert prepare(tmp_path, "--source", raw, "--min_rating", 3, source="microlens", name="e") == 2
    assert "--min_rating needs a rating of each interaction" in error(capsys)


@pytest.mark.parametrize("layout", ["u.data", "ratings.dat", "ratings.csv"])
def test_movielens_ratings_go_through_the_same_checks(tmp_path, layout, capsys):
    raw, separator = tmp_path / "raw", {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ","}[layout]
    raw.mkdir()
    table = [(*pair, "5", str(n % 4) if n else "soon") for n, pair in enumerate(PAIRS)]
    head = [("userId", "movieId", "rating", "timestamp")] if layout == "ratings.csv" else []
    (raw / layout).write_text("".join(separator.join(row) + "\n" for row in [*head, *table]))
    (raw / {"u.data": "u.item", "ratings.dat": "movies.dat"}.get(layout, "movies.csv")).write_text(
        "movieId,title,genres\ni0,t,x\n"
    )
    given = ["--source", raw, "--split", "leave-last"]
    assert prepare(tmp_path, *given, source="movielens") == 0
    assert [row[:2] for row in rows(tmp_path, "test")] == [(f"u{user}", "i3") for user in range(3)]
    assert len(rows(tmp_path)) == 11 and "its timestamp cannot be read" in card(tmp_path)
    assert prepare(tmp_path, *given, "--min_rating", 6, source="movielens", name="e") == 2
    assert "all 11 are rated below 6" in error(capsys)


def test_a_link_that_leads_to_itself(tmp_path, capsys):
    (tmp_path / "i.csv").symlink_to("i.csv")
    assert prepare(tmp_path, "--inter", tmp_path / "i.csv") == 2
    assert "i.csv" in error(capsys)


def test_examples_of_what_was_passed_over_fit_a_card(tmp_path):
    lines = [{"user_id": u, "item_id": i, "n": 5} for u, i in PAIRS]
    lines += [{"user_id": "\ud83d a\nb" + "x" * 100_000, "item_id": "i", "n": "bad"}]
    (tmp_path / "i.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert prepare(tmp_path, "--inter", tmp_path / "i.jsonl", "--rating_column", "n") == 0
    (said,) = [line for line in card(tmp_path).split("\n") if "malformed lines" in line]
    assert r"the line of \ud83d a bxxx" in said and len(said) < 500


def test_ready_made_vectors_follow_the_rows_of_the_items(tmp_path):
    inter = write(tmp_path / "i.csv", PAIRS)
    (tmp_path / "items.csv").write_text("item_id\n" + "\n".join(["i2", "elsewhere", "i0", "i3", "i0", "i1"]) + "\n")
    np.save(tmp_path / "v.npy", np.array([[2, 1], [9, 9], [0.5, 1], [0, 0], [8, 8], [1, 1]], dtype=np.float16))
    given = ["--inter", inter, "--items", tmp_path / "items.csv", "--vectors", f"sound={tmp_path / 'v.npy'}"]
    assert prepare(tmp_path, *given) == 0
    folder = tmp_path / "out" / "d"
    assert (folder / "d.sound").read_text() == "item_id:token\ni0\ni1\ni2\n"
    vectors = np.load(folder / "d.sound.npy")
    assert vectors.dtype == np.float16 and vectors.tolist() == [[0.5, 1], [1, 1], [2, 1]]
    assert "items whose sound vector is zeros, so that they lack sound: 1" in card(tmp_path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("text=v.npy", "has 2 rows, but 4 items can be read of --items"),
        ("text", "--vectors takes MODALITY=FILE"),
        ("test=v.npy", "cannot be the modality 'test'"),
        ("text=v.pt", "save it as .npy"),
        ("image=v.npy", "give --image_model none"),
        ("text=none.npy", "there is no file none.npy"),
    ],
)
def test_vectors_that_do_not_fit(tmp_path, capsys, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    items = write(tmp_path / "items.csv", [(f"i{item}",) for item in range(4)], ("item_id",))
    np.save("v.npy", np.ones((2, 3)))
    assert prepare(tmp_path, "--inter", write(tmp_path / "i.csv", PAIRS), "--items", items, "--vectors", given) == 2
    assert sentence in error(capsys)


def test_more_interactions_than_memory_holds(tmp_path, capsys, monkeypatch):
    inter = write(tmp_path / "i.csv", PAIRS)
    monkeypatch.setattr(assembling, "free_bytes", lambda: 64 * len(PAIRS) - 1)
    assert prepare(tmp_path, "--inter", inter) == 2
    assert "12 interactions of i.csv need at least 768 bytes of memory beside" in error(capsys)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(assembling, "free_bytes", lambda: 64 * len(PAIRS))
    assert prepare(tmp_path, "--inter", inter) == 0
