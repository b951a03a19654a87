"""Data sets out of databases: what the files of a shop give, as its tables have it."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.database import Database
from recbole_cadmr.data.prepare.query import Query
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError
from tests.postgres import ESCAPED, PASSWORD

ORDERS = [(user, f"{item:03}", f"2024-0{1 + user}-0{1 + item} 10:00:00", user % 2 + item % 3 + 0.5)
          for user in range(6) for item in range(7) if (user + item) % 4]  # fmt: skip
PRODUCTS = [(f"{item:03}", f"Thing <b>{item}</b>, red", None if item == 3 else "Make") for item in range(8)]
COLUMNS = ["--user_column=customer", "--item_column=product", "--time_column=bought", "--rating_column=stars",
           "--title_column=name", "--text_columns=name,brand", "--k_core=2", "--split=leave-last",
           "--text_model=none"]  # fmt: skip
INTER = "--inter=SELECT customer, product, bought, stars FROM orders WHERE stars <> 9 ORDER BY bought"
ITEMS = "--items=SELECT * FROM products"


def shop(url):
    """The tables of a small shop."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    meta = sa.MetaData()
    kinds = {"customer": sa.Integer, "product": sa.Text, "bought": sa.Text, "stars": sa.Numeric(asdecimal=False)}
    orders = sa.Table("orders", meta, *(sa.Column(name, kind) for name, kind in kinds.items()))
    products = sa.Table("products", meta, *(sa.Column(name, sa.Text) for name in ("product", "name", "brand")))
    with engine.begin() as connection:
        meta.drop_all(connection)
        meta.create_all(connection)
        connection.execute(orders.insert(), [dict(zip(orders.columns.keys(), row)) for row in ORDERS])
        connection.execute(products.insert(), [dict(zip(products.columns.keys(), row)) for row in PRODUCTS])


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'shop.db'}"
        shop(address)
        yield address
        return
    address = request.getfixturevalue("postgres").url
    shop(address)
    yield address
    engine = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE orders, products")


def prepare(url, *options):
    return main(["prepare", "sql", f"--url={url}", *COLUMNS, "--name=shop", *options])


def test_the_data_set_is_that_of_the_same_files(tmp_path, url, capsys):
    assert prepare(url, INTER, ITEMS, f"--data_path={tmp_path / 'sql'}") == 0
    said = capsys.readouterr()
    for name, head, rows in (
        ("orders", ("customer", "product", "bought", "stars"), ORDERS),
        ("products", ("product", "name", "brand"), PRODUCTS),
    ):
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([head, *rows])
    files = [f"--inter={tmp_path / 'orders.csv'}", f"--items={tmp_path / 'products.csv'}"]
    assert main(["prepare", "files", *files, *COLUMNS, "--name=shop", f"--data_path={tmp_path / 'files'}"]) == 0
    assert capsys.readouterr().err == said.err
    one, two = (tmp_path / kind / "shop" for kind in ("sql", "files"))
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    differ = {path.name for path in one.iterdir() if path.read_bytes() != (two / path.name).read_bytes()}
    assert differ == {"dataset_card.md"}
    card = (one / "dataset_card.md").read_text()
    assert PASSWORD not in card and ESCAPED not in card and "| times | dates, as s since 1970 |" in card
    assert f"`{INTER.removeprefix('--inter=')}` | " in card and f"`{ITEMS.removeprefix('--items=')}` | " in card
    assert (PASSWORD in said.out + said.err) is False


@pytest.mark.parametrize(
    ("inter", "items", "said"),
    [
        ("SELECT customer, produkt, bought, stars FROM orders", None, "produkt"),
        (
            "SELECT customer, product, bought FROM orders",
            None,
            "has no column 'stars'; it has customer, product, bought",
        ),
        ("SELECT customer, product AS produt, bought, stars FROM orders", None, "'product'; did you mean produt?"),
        ("SELECT *, 1 AS stars FROM orders", None, "names the column 'stars' twice; rename one of them"),
        ("SELECT * FROM orders WHERE customer < 0", None, "has no rows; check the query"),
        ("SELECT * FROM orders WHERE", None, "cannot read from "),
        ("DROP TABLE orders", None, "error: "),
        (None, "SELECT product FROM products", "has no column 'name'; it has product"),
        (None, "SELECT * FROM products WHERE 1 = 0", "has no rows; check the query"),
        (None, "SELECT 'x' || product AS product, name, brand FROM products", "and must match"),
    ],
)
def test_queries_that_are_wrong_are_one_sentence(tmp_path, url, capsys, inter, items, said):
    given = [f"--inter={inter}" if inter else INTER, f"--items={items}" if items else ITEMS]
    assert prepare(url, *given, f"--data_path={tmp_path / 'out'}") == 2
    message = capsys.readouterr().err
    *notes, error = message.splitlines()
    assert error.startswith("error: ") and said in error and PASSWORD not in message
    assert all(note.startswith("note: ") for note in notes) and not (tmp_path / "out" / "shop").exists()
    with closing(Database(url, "--url")._engine.connect()) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == len(ORDERS)


def test_options_that_are_wrong(tmp_path, capsys):
    for options, said in (
        (["--url=sqlite:///no.db", INTER], "give the data set a name with --name"),
        (["--url=sqlite:///no.db", INTER, "--name=x"], "there is no file no.db"),
        (["--url=sqlite:///no.db", INTER, "--name=x", "--text_columns=a"], "--text_columns needs --items"),
        (["--url=sqlite:///no.db", INTER, "--name=x", "--vectors=a"], "there is no option '--vectors=a'"),
        ([INTER, "--name=x"], "--url"),
    ):
        assert main(["prepare", "sql", *options]) == 2
        assert said in capsys.readouterr().err
    secret = "postgresql://shop:geheim@host/x"
    assert main(["prepare", "files", "--inter=x.csv", f"--url={secret}"]) == 2
    assert "there is no option '--url=postgresql://...'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def values(url, query):
    table = Query(Database(url, "--url"), query, "--inter").read(SkippedRows(), ["a"])
    return table["a"].tolist()


def test_values_of_sqlite_arrive_as_they_stand(tmp_path):
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
        given = [9007199254740993, "007", None, 1.0, 0.1, 1e300, "", "Ä\t\n", "NaN", -0.0]
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in given])
        connection.commit()
    found = values(f"sqlite:///{tmp_path / 'x.db'}", "SELECT a FROM t")
    assert found == ["9007199254740993", "007", "", "1", "0.1", f"{1e300:.0f}", "", "Ä\t\n", "NaN", "0"]
    with pytest.raises(UserError, match="--inter from sqlite:.*: the column 'a' holds bytes; convert it in the query$"):
        values(f"sqlite:///{tmp_path / 'x.db'}", "SELECT x'00ff' AS a FROM t")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("9007199254740993::bigint", "9007199254740993"),
        ("'007'", "007"),
        ("'ab'::char(4)", "ab  "),
        ("19.90::numeric(8, 2)", "19.90"),
        ("'1e20'::numeric", "100000000000000000000"),
        ("'NaN'::numeric", ""),
        ("0.1::real", "0.1"),
        ("3::double precision", "3"),
        ("'NaN'::double precision", ""),
        ("NULL", ""),
        ("true", "true"),
        ("'2024-02-29'::date", "2024-02-29"),
        ("'2024-02-29 10:00:00.25'::timestamp", "2024-02-29 10:00:00.250000"),
        ("'2024-02-29 10:00:00+02'::timestamptz AT TIME ZONE 'UTC'", "2024-02-29 08:00:00"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("ARRAY['red', NULL, 'blue']", "red blue"),
        ("ARRAY[1, 2]", "1 2"),
        ("""'{"b": [1, null], "a": "Ä"}'::jsonb""", '{"a": "Ä", "b": [1, null]}'),
    ],
)
def test_values_of_postgres_arrive_as_they_stand(postgres, value, text):
    assert values(postgres.url, f"SELECT {value} AS a") == [text]


def test_times_of_postgres_are_read_with_their_zone(postgres, tmp_path):
    rows = ", ".join(
        f"({user}, {item}, TIMESTAMPTZ '2024-01-01 00:00:{item:02}+00')" for user in "123" for item in range(4)
    )
    query = f"SELECT user_id, item_id, at FROM (VALUES {rows}) AS t (user_id, item_id, at)"
    options = ["--time_column=at", "--k_core=1", "--text_model=none", "--split=leave-last", "--name=x"]
    assert (
        main(
            [
                "prepare",
                "sql",
                f"--url={postgres.url}?options=-c%20timezone%3DAsia/Kolkata",
                f"--inter={query}",
                *options,
            ]
        )
        == 0
    )
    lines = (tmp_path / "dataset" / "x" / "x.test.inter").read_text().splitlines()
    header = "user_id:token\titem_id:token\ttimestamp:float\torder:float"
    assert lines == [header, *(f"{user}\t3\t1704067203\t3" for user in "123")]
