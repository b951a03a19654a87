"""Tables of strangers: every id and text arrives as it stands in the file; what is not read is counted."""

from __future__ import annotations

import csv
import gzip
import json
from argparse import ArgumentTypeError
from datetime import date, datetime, timezone
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.data.prepare.tables import separator as the_separator
from recbole_cadmr.errors import UserError

STRANGE = [
    "NA",
    "null",
    "None",
    "nan",
    "007",
    "1e5",
    "12345678901234567890",
    '"',
    '""',
    '"a',
    'a"b',
    "'",
    " x ",
    "#",
    "\\N",
]


def write(path, rows):
    """A table in the format that its ending names."""
    name = path.name
    if name.endswith(".parquet"):
        pa.parquet.write_table(pa.table({"a b": [row[0] for row in rows], "c": [row[1] for row in rows]}), path)
        return
    opened = gzip.open if name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if ".csv" in name:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a b", "c"), *rows])
        elif ".tsv" in name:
            file.write("".join("\t".join(row) + "\n" for row in [("a b", "c"), *rows]))
        else:
            file.write("".join(json.dumps({"a b": a, "c": c}, ensure_ascii=len(a) % 2 == 0) + "\n" for a, c in rows))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "tsv.gz", "jsonl.gz"])
def test_any_texts_come_back_exactly(tmp_path_factory, ending):
    folder = tmp_path_factory.mktemp("tables")
    beyond = ["\t", "\n", "\r"] if "tsv" in ending else []
    text = st.one_of(
        st.sampled_from(STRANGE),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters=beyond), max_size=9),
    )
    rows = st.lists(st.tuples(text, text), max_size=6)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(rows)
    def comes_back(rows):
        path, skipped = folder / f"t.{ending}", SkippedRows()
        rows = [row for row in rows if "tsv" not in ending or row != ("", "")] or [("x", "y")]
        write(path, rows)
        table = read_rows(path, skipped, ["a b", "c"])
        assert [tuple(row) for row in table.to_numpy()] == rows
        assert set(skipped.counts) <= {f"fields of t.{ending} in quotes that hold what looks like whole rows"}

    comes_back()


def read(path, content, columns=("id",), **how):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    skipped = SkippedRows()
    return read_rows(path, skipped, columns, **how).to_dict("list"), skipped.lines()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
@pytest.mark.parametrize(
    ("ending", "text"), [("csv", "id,t\n007,ü\n"), ("tsv", "id\tt\n007\tü\n"), ("jsonl", '{"id":"007","t":"ü"}\n')]
)
def test_byte_order_marks(tmp_path, encoding, ending, text):
    given = ("\ufeff" if encoding == "utf-16-be" else "") + text
    assert read(tmp_path / f"a.{ending}", given.encode(encoding), ["id", "t"]) == ({"id": ["007"], "t": ["ü"]}, [])


def test_a_lone_quote_swallows_no_line(tmp_path):
    lines = ["id\ttitle", '1\t"Heroes', '2\ta "b"', '3\t"c"', "4\td", "5"]
    titles = ['"Heroes', 'a "b"', '"c"', "d"]
    assert read(tmp_path / "a.tsv", "\n".join(lines), ["id", "title"]) == (
        {"id": ["1", "2", "3", "4"], "title": titles},
        ["malformed lines of a.tsv: 1 (line 6: it has 1 columns instead of 2)"],
    )
    content = 'id,title\r\n1,"Heroes\r\n2,6" pipe\r\n3,"two\r\nlines, ""so"""\r\n\r\n4,"x"y\r\n5,"never\r\n6,end\r\n'
    table, said = read(tmp_path / "a.csv", content, ["id", "title"])
    assert table == {"id": ["2", "3", "6"], "title": ['6" pipe', 'two\r\nlines, "so"', "end"]}
    unclosed = "a quotation mark is not closed, or does not end its field"
    assert said == [f"malformed lines of a.csv: 3 (line 2: {unclosed}; line 7: {unclosed}; line 8: {unclosed})"]


def test_rows_between_two_quotes_are_told(tmp_path):
    table, said = read(tmp_path / "a.csv", 'id,t\n1,"open\n2,b\n3,c\n4,closed"\n', ["id", "t"])
    assert len(table["id"]) == 1
    assert said == ["fields of a.csv in quotes that hold what looks like whole rows: 1 (line 2)"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_of_a_csv_is_recognised(tmp_path, separator):
    content = f'id{separator} "title, or name"{separator}c\n1{separator}"a{separator}b"{separator}x\n'
    table, _ = read(tmp_path / "a.csv", content.replace(' "', '"'), columns=["id", "c"])
    assert table == {"id": ["1"], "c": ["x"]}
    assert read(tmp_path / "b.csv", "a;b,c\n1;2,3\n", columns=["b,c"])[0] == {"b,c": ["2,3"]}
    assert read(tmp_path / "c.tsv", "a;b\n1;2\n", ["a", "b"], separator=";")[0] == {"a": ["1"], "b": ["2"]}


def test_separators_by_name():
    assert [the_separator(text) for text in ("tab", "\\t", ";")] == ["\t", "\t", ";"]
    for text in ("", "::", '"', "\n"):
        with pytest.raises(ArgumentTypeError, match="must be one character"):
            the_separator(text)


def test_fields_of_megabytes(tmp_path):
    long = "x" * 3_000_000
    for ending, content in (("csv", f"id,{long}\n1,{long}\n"), ("tsv", f"id\t{long}\n1\t{long}\n")):
        assert read(tmp_path / f"a.{ending}", content, ["id", long])[0] == {"id": ["1"], long: [long]}


def test_parquet_columns_of_every_kind(tmp_path):
    columns = {
        "big": pa.array([2**63 - 1, None, 9007199254740993]),
        "unsigned": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "float": pa.array([1.0, None, 1.5]),
        "float32": pa.array([0.1, float("nan"), 16777216.0], pa.float32()),
        "decimal": pa.array([Decimal("12345678901234567890.50"), None, Decimal("1.00")]),
        "bool": pa.array([True, None, False]),
        "date": pa.array([date(2020, 2, 29), None, date(1, 1, 1)]),
        "moment": pa.array([datetime(2020, 1, 1, tzinfo=timezone.utc), None, None], pa.timestamp("ms", "Asia/Tokyo")),
        "text": pa.array(["NA", None, ""], pa.large_string()),
        "few": pa.array(["a", None, "a"]).dictionary_encode(),
        "list": pa.array([["first part", "second"], [], None]),
        "numbers": pa.array([[1, None, 2**60], [], None]),
        "deep": pa.array([[["a"], ["b", "c"]], [], None]),
        "objects": pa.array([{"k": "ü", "n": 1}, None, None]),
        "bytes": pa.array([b"a", None, b"\xc3\xbc"]),
        "nothing": pa.nulls(3),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet", SkippedRows(), list(columns)).to_dict("list") == {
        "big": ["9223372036854775807", "", "9007199254740993"],
        "unsigned": ["18446744073709551615", "", "0"],
        "float": ["1", "", "1.5"],
        "float32": ["0.1", "", "16777216"],
        "decimal": ["12345678901234567890.50", "", "1.00"],
        "bool": ["true", "", "false"],
        "date": ["2020-02-29", "", "0001-01-01"],
        "moment": ["2020-01-01 09:00:00.000+0900", "", ""],
        "text": ["NA", "", ""],
        "few": ["a", "", "a"],
        "list": ["first part second", "", ""],
        "numbers": ["1 1152921504606846976", "", ""],
        "deep": ["a b c", "", ""],
        "objects": ['{"k": "ü", "n": "1"}', "", ""],
        "bytes": ["a", "", "ü"],
        "nothing": ["", "", ""],
    }


def test_slices_of_nested_parquet_columns(tmp_path):
    table = pa.table({"list": [["a"], None, ["b", "c"], ["d"]] * 3, "at": [[{"x": n}] for n in range(12)]})
    pa.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=5)
    rows = read_rows(tmp_path / "a.parquet", SkippedRows(), ["list", "at"])
    assert list(rows["list"]) == ["a", "", "b c", "d"] * 3
    assert list(rows["at"]) == [json.dumps({"x": str(n)}) for n in range(12)]


def test_a_date_that_no_calendar_has_is_text_like_any(tmp_path):
    pa.parquet.write_table(
        pa.table({"d": pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32())}), tmp_path / "a.parquet"
    )
    assert read_rows(tmp_path / "a.parquet", SkippedRows(), ["d"])["d"][1] == "1970-01-01"


def test_json_values_as_they_are_written(tmp_path):
    lines = [
        '{"id": 12345678901234567890, "p": 1.0, "t": true, "l": ["a", ["b", 1.50]], "o": {"k": "ü"}}',
        '{"id": 1, "p": 1e5, "t": null, "l": [], "x": "NA"}',
        '{"id": ' + "[" * 900 + '"deep"' + "]" * 900 + "}",
        '{"id": ' + "1" * 5000 + "}",
        "[1]",
        '{"id": ',
        '{"id": 1, "id": 2}',
        '{"id": ' + "[" * 100_000 + "}",
    ]
    content = "\n".join(lines).encode() + b'\n{"id": "\xff"}\n'
    assert read(tmp_path / "a.jsonl", content, ["id"], optional=["x", *"ptlo"]) == (
        {
            "id": ["12345678901234567890", "1", "deep", "1" * 5000],
            "p": ["1.0", "1e5", "", ""],
            "t": ["true", "", "", ""],
            "l": ["a b 1.50", "", "", ""],
            "o": ['{"k": "ü"}', "", "", ""],
            "x": ["", "NA", "", ""],
        },
        [
            "malformed lines of a.jsonl: 5 "
            "(line 5: it is not an object; line 6: it is not JSON; line 7: it names a key twice; ...)"
        ],
    )


@pytest.mark.parametrize(
    ("name", "content", "how", "said"),
    [
        ("a.csv", "id,id\n1,2\n", {}, "names the column 'id' twice"),
        ("a.csv", "id, id \n1,2\n", {"columns": ["id"]}, "names the column 'id' twice"),
        ("a.tsv", "id\tid\n", {}, "names the column 'id' twice"),
        ("a.csv", "ids,b\n", {"columns": ["id"]}, "has no column 'id'; did you mean ids?; it has ids, b"),
        ("a.jsonl", '{"ids": 1}\n', {"columns": ["id"]}, "has no column 'id'; did you mean ids?"),
        ("a.csv", "", {}, "is empty"),
        ("a.csv", '"id,b\n1,2\n', {}, "line 1 is malformed: a quotation mark is not closed"),
        ("a.csv", "id\n", {"encoding": "utf-9"}, "in utf-9, which is not a known text encoding"),
        ("a.csv", "id\n", {"encoding": "hex"}, "not a known text encoding"),
        ("a.csv", "id\n", {"encoding": "undefined"}, "cannot be read as a table in undefined"),
        ("a.csv", "id\n", {"encoding": "utf-16"}, "cannot be read as a table in utf-16"),
        ("a.csv", "id\nM\xfcller\n".encode("latin-1"), {}, "perhaps cp1252"),
        ("a.csv", "id\nMuller\n".encode("utf-16-le"), {}, "perhaps utf-16-le"),
        ("a.csv", "id\nMuller\n".encode("utf-16-be"), {}, "perhaps utf-16-be"),
        ("a.csv.gz", gzip.compress(b"id,b\n" + b"1,2\n" * 9999, mtime=0)[:-9], {}, "truncated or damaged after line"),
        ("a.csv.gz", b"id,b\n1,2\n", {}, "is truncated or damaged after line 0"),
        ("a.parquet", b"PAR1", {}, "damaged, encrypted, or not a parquet file"),
        ("a.parquet", b"", {}, "damaged, encrypted, or not a parquet file"),
        ("a.txt", b"", {}, "must be one of .csv"),
        ("a.csv", b"PK\3\4\x14", {}, "is a zip archive or a spreadsheet"),
        ("a.tsv", gzip.compress(b"id\n", mtime=0), {}, "is compressed by gzip"),
        ("a.jsonl", b"PAR1", {}, "is a parquet file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, content, how, said):
    with pytest.raises(UserError) as refused:
        read(tmp_path / name, content, **how)
    assert said in str(refused.value) and name in str(refused.value) and "\n" not in str(refused.value)


def test_folders_and_missing_files(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match="is not a file"):
        read_rows(tmp_path / "a.csv", SkippedRows(), ["id"])
    with pytest.raises(UserError, match="there is no file"):
        read_rows(tmp_path / "b.csv", SkippedRows(), ["id"])


def test_parquet_that_is_damaged_inside(tmp_path):
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"a": ["x"] * 10}), path)
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:20] + b"\xff" * 30 + whole[50:], b"PAR1" + b"\0" * 100 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged, encrypted, or not a parquet file"):
            read_rows(path, SkippedRows(), ["a"])
    array = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pa.parquet.write_table(pa.table({"a": array}), path)
    with pytest.raises(UserError, match=r"the column 'a' \(string\) cannot be read as text"):
        read_rows(path, SkippedRows(), ["a"])


def test_an_index_of_pandas_is_a_column(tmp_path):
    pd.DataFrame({"user_id": ["a"], "n": [1]}).set_index("user_id").to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet", SkippedRows(), ["user_id"]).to_dict("list") == {"user_id": ["a"]}


def test_a_table_that_outgrows_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_cadmr.data.prepare.text_lines.LONGEST_LINE", 1000)
    monkeypatch.setattr("recbole_cadmr.data.prepare.text_lines.free_bytes", lambda: 2**20)
    with pytest.raises(UserError, match=r"a\.csv does not fit in memory; 2\d\d lines of it do"):
        read(tmp_path / "a.csv", "id,b\n" + "1,2\n" * 1000)


def test_json_without_records_has_the_columns_asked_for(tmp_path):
    (tmp_path / "a.jsonl").write_text("[1]\n")
    assert list(read_rows(tmp_path / "a.jsonl", SkippedRows(), ["b", "a"])) == ["b", "a"]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "a.jsonl.gz"])
def test_compressed_tables_that_multiply_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr("recbole_cadmr.data.archive.MAX_RATIO", 20)
    separator = "\t" if "tsv" in name else ","
    row = '{"id": 1}' if "jsonl" in name else f"1{separator}2"
    whole = f"id{separator}b\n" * ("jsonl" not in name) + f"{row}\n" * 400_000
    with pytest.raises(UserError, match="unpacks to far more than it should"):
        read(tmp_path / name, gzip.compress(whole.encode()))


def test_a_header_of_very_many_names(tmp_path):
    wide = ",".join(f"c{n}" for n in range(100_000))
    assert read(tmp_path / "a.csv", f"{wide}\n{wide}\n", columns=["c7"])[0] == {"c7": ["c7"]}
    with pytest.raises(UserError, match="has no column 'x'") as refused:
        read(tmp_path / "a.csv", f"{wide}\n", columns=["x"])
    assert len(str(refused.value)) < 1000


def test_whole_numbers_of_a_column_of_floats_are_written_whole(tmp_path):
    path = tmp_path / "ids.parquet"
    pd.DataFrame({"id": [1.0, 2.0**53 + 2, 1e16, float("nan"), 0.5]}).to_parquet(path)
    assert list(read_rows(path, SkippedRows(), ["id"])["id"]) == [
        "1",
        "9007199254740994",
        "10000000000000000",
        "",
        "0.5",
    ]
