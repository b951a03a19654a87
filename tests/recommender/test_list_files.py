"""Lists and the files of people in all formats: written and read back, replaced, and refused."""

from __future__ import annotations

import csv
import gzip
import json
import os
import stat

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.list_files import refuse_output, with_columns, write_lists
from recbole_cadmr.recommender.tables import read_exclusions, read_histories, read_items, read_users

LISTS = pd.DataFrame(
    {
        "user_id": np.array(["007", "ann, bob", "007"], dtype=object),
        "item_id": np.array(["a", 'b"c', "d%s"], dtype=object),
        "rank": [1, 2, 3],
        "score": np.array([0.1, -1234567.0, 1e-7], dtype=np.float32),
        "source": np.array(["model", "model", "popular"], dtype=object),
    }
)
TABLE = pd.DataFrame({"title": ["Ä, big", "", "x"], "genre": ["", "", "y z"]}, index=["a", 'b"c', "other"])
ROWS = [["007", "a", "1", "0.1", "model"], ["ann, bob", 'b"c', "2", "-1.23457e+06", "model"],
        ["007", "d%s", "3", "1e-07", "popular"]]  # fmt: skip


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.csv.gz"])
def test_csv(tmp_path, name):
    write_lists(LISTS, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    content = gzip.decompress(content) if name.endswith("gz") else content
    assert list(csv.reader(content.decode().splitlines())) == [list(LISTS), *ROWS]
    assert content.decode().splitlines()[2] == '"ann, bob","b""c",2,-1.23457e+06,model'


@pytest.mark.parametrize("name", ["x.tsv", "x", "x.txt", "x.tsv.gz"])
def test_tsv_and_others(tmp_path, name):
    write_lists(LISTS, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    content = gzip.decompress(content) if name.endswith("gz") else content
    assert [line.split("\t") for line in content.decode().splitlines()] == [list(LISTS), *ROWS]


def test_json_lines(tmp_path):
    write_lists(LISTS, tmp_path / "x.jsonl")
    records = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [list(record) for record in records] == [list(LISTS)] * 3
    assert records[1] == {"user_id": "ann, bob", "item_id": 'b"c', "rank": 2, "score": -1234570.0, "source": "model"}


@pytest.mark.parametrize("rows", [0, 3])
def test_parquet_holds_the_scores_as_they_are(tmp_path, rows):
    write_lists(LISTS[:rows], tmp_path / "x.parquet")
    read = pd.read_parquet(tmp_path / "x.parquet")
    assert read.dtypes.map(str).tolist() == ["object", "object", "int64", "float32", "object"]
    assert (read.to_numpy() == LISTS[:rows].to_numpy()).all() and len(read) == rows


def test_the_same_lists_are_the_same_bytes(tmp_path):
    for name in ("one.csv.gz", "two.csv.gz"):
        write_lists(LISTS, tmp_path / name)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def test_titles_stand_behind_and_what_is_missing_is_counted(tmp_path):
    more, without = with_columns(LISTS, TABLE, ["title", "genre"])
    assert more["title"].tolist() == ["Ä, big", "", ""] and without == {"title": 2, "genre": 3}
    assert list(more) == [*LISTS, "title", "genre"] and list(LISTS)[-1] == "source"
    write_lists(more, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == '007,a,1,0.1,model,"Ä, big",'
    for names, said in (
        (["titel"], "^the data set has no column 'titel' of its items; it has title, genre; did you mean title\\?$"),
        (["title", "title"], "'title' already"),
    ):
        with pytest.raises(UserError, match=said):
            with_columns(LISTS, TABLE, names)
    with pytest.raises(UserError, match="no column 'title' of its items; it says nothing about its items"):
        with_columns(LISTS, TABLE[[]], ["title"])


def test_a_text_that_no_tsv_can_hold_leaves_no_file(tmp_path):
    more, _ = with_columns(LISTS, TABLE.assign(title="a\tb"), ["title"])
    with pytest.raises(UserError, match=r"^'a\\tb' holds a tab or a line end, which no tsv can; write csv"):
        write_lists(more, tmp_path / "x.tsv")
    assert not list(tmp_path.iterdir())
    write_lists(more, tmp_path / "x.csv")


def test_what_is_there_is_replaced_only_if_asked_for_and_only_a_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(UserError, match="already there; choose another `output`, or replace it with --overwrite"):
        write_lists(LISTS, path)
    assert path.read_text() == "old"
    write_lists(LISTS, path, overwrite=True)
    assert path.read_text().startswith("user_id,") and stat.S_IMODE(path.stat().st_mode) == 0o640
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(UserError, match=f"{name} is not a file, and is not replaced"):
            refuse_output(tmp_path / name, overwrite=True)
    with pytest.raises(UserError, match=r"x\.json cannot be written: lists are csv, tsv, jsonl or parquet"):
        refuse_output(tmp_path / "x.json")


def test_people_and_items_come_in_every_format(tmp_path):
    table = pd.DataFrame({"when": [1, 2], "item_id": ["a", "007"], "user_id": ["ann, bob", "NA"]})
    table.to_csv(tmp_path / "x.csv", index=False, sep=";")
    table.to_csv(tmp_path / "x.csv.gz", index=False)
    table.to_csv(tmp_path / "x.tsv", index=False, sep="\t")
    table.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "x.parquet")
    for name in ("x.csv", "x.csv.gz", "x.jsonl", "x.parquet", "x.tsv"):
        path = tmp_path / name
        assert read_histories(path).to_numpy().tolist() == [["ann, bob", "a"], ["NA", "007"]], name
        if name != "x.tsv":
            assert read_users(path) == ["ann, bob", "NA"] and read_items(path) == ["a", "007"], name
            assert read_exclusions(path)[["user_id", "item_id"]].to_numpy().tolist() == [
                ["ann, bob", "a"],
                ["NA", "007"],
            ]
    pd.DataFrame({"user_id": [17, 2**60], "item_id": [1.0, 2.0]}).to_parquet(tmp_path / "numbers.parquet")
    assert read_users(tmp_path / "numbers.parquet") == ["17", str(2**60)]
    assert read_exclusions(tmp_path / "numbers.parquet")["item_id"].tolist() == ["1", "2"]
    table[["item_id"]].to_csv(tmp_path / "mask.csv", index=False)
    assert read_exclusions(tmp_path / "mask.csv") == ["a", "007"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "user,item_id\na,b\n", "has no column 'user_id'; did you mean user"),
        ("x.csv", "user_id,item_id\na,b\nc,\n", "has no item_id in its row 2; give every row one$"),
        ("x.csv", "user_id,item_id\na,b,c\n", "line 2 is malformed"),
        ("x.csv", "user_id,item_id\n", "holds no rows"),
        ("x.csv", "", "is empty"),
        ("x.jsonl", '{"user_id": "a"}\n', "has no column 'item_id'"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b"}\n{\n', "line 2 is malformed: it is not JSON"),
        ("x.parquet", "junk", "damaged, encrypted, or not a parquet file"),
    ],
)
def test_files_of_people_that_are_wrong(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        read_histories(tmp_path / name)


def test_the_command(brief_run, tmp_path, capsys):
    (tmp_path / "users.csv").write_text("user_id\nu0001\nu0002\n")
    command = ["recommend", f"--checkpoint={brief_run.checkpoint}", f"--users={tmp_path / 'users.csv'}", "--topk=3"]
    users = pd.read_csv(tmp_path / "users.csv")
    output = f"--output={tmp_path / 'recs.csv'}"
    assert main([*command, output, "--with=title"]) == 0, capsys.readouterr().err
    first = pd.read_csv(tmp_path / "recs.csv", dtype=str)
    assert list(first) == ["user_id", "item_id", "rank", "score", "source", "title"] and len(first) == 3 * len(users)
    assert main([*command, output]) == 2 and "or replace it with --overwrite" in capsys.readouterr().err
    assert main([*command, output, "--overwrite"]) == 0
    assert pd.read_csv(tmp_path / "recs.csv", dtype=str).equals(first.drop(columns="title"))
    for more, said in (
        (["--with=titel"], "has no column 'titel' of its items"),
        (["--with=score"], "has no column 'score'"),
        (["--with=title", "--ray-address=local"], "--with is for this machine; leave out --ray-address"),
        (["--overwrite", "--ray-address=local"], "--overwrite is for a file, and --ray-address writes a new folder"),
    ):
        assert main([*command, f"--output={tmp_path / 'other'}", *more]) == 2
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recs.csv", "users.csv"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_lists_go_into_a_database(request, brief_run, tmp_path, capsys, kind):
    url = f"sqlite:///{tmp_path / 'shop.db'}" if kind == "sqlite" else request.getfixturevalue("postgres").url
    command = ["recommend", f"--checkpoint={brief_run.checkpoint}", "--topk=3", "--with=title"]
    assert main([*command, f"--output={tmp_path / 'recs.parquet'}"]) == 0
    into = [f"--to_sql={url}", "--table=nightly_lists"]
    assert main([*command, *into]) == 0
    assert "4,500 rows for 1,500 users in the table nightly_lists" in capsys.readouterr().out
    expected = pd.read_parquet(tmp_path / "recs.parquet")
    read = [f"--url={url}", "--inter=SELECT user_id, item_id, rank FROM nightly_lists ORDER BY user_id, rank"]
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    found = pd.read_sql("SELECT * FROM nightly_lists ORDER BY user_id, rank", engine)
    expected = expected.sort_values(["user_id", "rank"])
    texts = ["user_id", "item_id", "rank", "source", "title"]
    assert list(found) == list(expected) and (found[texts].to_numpy() == expected[texts].to_numpy()).all()
    assert found["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), rel=1e-5)
    assert main([*command, *into]) == 2
    assert "has a table 'nightly_lists'; choose another --table, or replace it" in capsys.readouterr().err
    assert main([*command, *into, "--overwrite"]) == 0
    # They can be prepared from, as any table.
    assert main(["prepare", "sql", *read, "--name=again", "--text_model=none", "--k_core=1"]) == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give either --output FILE, or --to_sql URL with --table NAME"),
        (["--output=x", "--to_sql=sqlite:///x.db", "--table=y"], "give either --output FILE, or --to_sql URL"),
        (["--to_sql=sqlite:///x.db"], "--to_sql and --table belong together"),
        (["--output=x", "--table=y"], "--to_sql and --table belong together"),
        (["--to_sql=sqlite:///x.db", "--table=a.", "--overwrite"], "--table must be a name, or SCHEMA.NAME, not 'a.'"),
        (
            ["--to_sql=sqlite:///no/x.db", "--table=a"],
            "cannot write to sqlite:///no/x.db: there is no folder no that can be written",
        ),
        (
            ["--to_sql=mysql://a:geheim@host/x", "--table=a"],
            "tables are written to postgresql and sqlite, not to mysql",
        ),
        (["--to_sql=sqlite:///x.db", "--table=a", "--ray-address=local"], "--to_sql is for this machine"),
    ],
)
def test_destinations_that_are_wrong(brief_run, tmp_path, capsys, options, said):
    assert main(["recommend", f"--checkpoint={brief_run.checkpoint}", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and "geheim" not in error and not list(tmp_path.iterdir())


def test_tables_of_a_shop_name_their_columns_as_they_like(tmp_path):
    orders = tmp_path / "orders.csv"
    orders.write_text("day,customer,product\n1,ann,007\n2,bob,b\n")
    text = tmp_path / "orders.txt"
    text.write_text("customer\tproduct\nann\t007\nbob\tb\n")
    for file in (orders, text):
        assert read_histories(file, "customer", "product").to_numpy().tolist() == [["ann", "007"], ["bob", "b"]]
        assert list(read_histories(file, "customer", "product")) == ["user_id", "item_id"]
        assert read_users(file, "customer") == ["ann", "bob"] and read_items(file, "product") == ["007", "b"]
        assert read_exclusions(file, "customer", "product")["user_id"].tolist() == ["ann", "bob"]
    assert read_exclusions(orders, item="product") == ["007", "b"]
    with pytest.raises(UserError, match="has no column 'item_id'; .*day, customer, product"):
        read_items(orders)


@pytest.mark.parametrize("option", ["history", "candidates", "exclude", "new_interactions", "checkpoint"])
def test_what_lists_are_made_of_is_not_replaced_by_them(tmp_path, capsys, option):
    file = tmp_path / "h.csv"
    file.write_text("user_id,item_id\nann,a\n")
    inputs = {"checkpoint": str(tmp_path / "model.pt"), option: str(file)}
    (tmp_path / "link.csv").hardlink_to(file)
    given = [text for name, value in inputs.items() for text in (f"--{name}", value)]
    assert main(["recommend", *given, "--output", str(tmp_path / "link.csv"), "--overwrite"]) == 2
    assert f"--output and --{option} are both" in capsys.readouterr().err
    assert file.read_text() == "user_id,item_id\nann,a\n"
