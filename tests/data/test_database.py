"""SQLite and a real PostgreSQL: queries streamed, tables whole or not at all, and nothing said that is secret."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from recbole_cadmr.data import database
from recbole_cadmr.data.database import Database
from recbole_cadmr.errors import UserError
from tests.postgres import ESCAPED, PASSWORD

KEY = ("user_id", "rank")
FRAME = pd.DataFrame(
    {
        "user_id": np.array(["007", "ann", "ann"], dtype=object),
        "item_id": np.array(["a'; DROP TABLE lists", "%s", "Ä"], dtype=object),
        "rank": [1, 1, 2],
        "score": np.array([0.5, 0.25, -3], dtype=np.float32),
    }
)
MANY = pd.concat([FRAME.assign(user_id=str(n)) for n in range(50)]).reset_index(drop=True).assign(rank=range(150))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    postgres = request.getfixturevalue("postgres")
    yield postgres.url
    run(postgres.url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def run(url, *statements):
    """Rows of the last statement, by a connection of its own."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        return [tuple(row) for row in result] if result.returns_rows else []


def tables(url):
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    return sorted(sa.inspect(engine).get_table_names())


def rows(frame):
    return [tuple(row) for row in frame.itertuples(index=False)]


def test_a_table_is_written_and_replaced(url, monkeypatch):
    monkeypatch.setattr(database, "_BLOCK", 2)
    Database(url, "--to_sql").write(FRAME, "lists", KEY)
    assert run(url, "SELECT * FROM lists ORDER BY user_id, rank") == rows(FRAME)
    with pytest.raises(UserError, match="has a table 'lists'; choose another --table, or replace it with --overwrite"):
        Database(url, "--to_sql").write(MANY, "lists", KEY)
    Database(url, "--to_sql").write(MANY, "lists", KEY, overwrite=True)
    assert run(url, "SELECT * FROM lists ORDER BY rank") == rows(MANY) and tables(url) == ["lists"]
    Database(url, "--to_sql").write(FRAME[:0], 'Two "words"', KEY, overwrite=True)
    assert run(url, 'SELECT * FROM "Two ""words"""') == []
    key = sa.inspect(sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))).get_pk_constraint("lists")
    assert key["constrained_columns"] == ["user_id", "rank"]


def test_what_fails_in_the_middle_leaves_the_old_table(url, monkeypatch):
    monkeypatch.setattr(database, "_BLOCK", 10)
    Database(url, "--to_sql").write(FRAME, "lists", KEY)
    twice = MANY.assign(rank=[*range(149), 0], user_id=[*map(str, range(149)), "0"])  # its key is no key
    with pytest.raises(UserError, match="^cannot write 'lists' to .*(UNIQUE constraint failed|duplicate key)"):
        Database(url, "--to_sql").write(twice, "lists", KEY, overwrite=True)
    assert run(url, "SELECT * FROM lists ORDER BY user_id, rank") == rows(FRAME) and tables(url) == ["lists"]


def test_a_database_that_goes_away_in_the_middle(postgres, monkeypatch):
    monkeypatch.setattr(database, "_BLOCK", 10)
    Database(postgres.url, "--to_sql").write(FRAME, "lists", KEY)
    inserts = itertools.count()

    def crash(connection, cursor, statement, *_):
        if statement.startswith("INSERT") and next(inserts) == 5:
            postgres.crash()

    sa.event.listen(sa.Engine, "before_cursor_execute", crash)
    try:
        with pytest.raises(UserError, match=f"^cannot write 'lists' to {postgres.shown.replace('+', '.')}: ") as raised:
            Database(postgres.url, "--to_sql").write(MANY, "lists", KEY, overwrite=True)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", crash)
        refused = Database(postgres.url, "--to_sql")
        with pytest.raises(UserError, match="^cannot look into .*refused$"):
            refused.write(MANY, "lists", KEY, overwrite=True)
        postgres.start()
    assert "\n" not in str(raised.value) and PASSWORD not in str(raised.value)
    assert run(postgres.url, "SELECT * FROM lists ORDER BY user_id, rank") == rows(FRAME)
    assert tables(postgres.url) == ["lists"]
    run(postgres.url, "DROP TABLE lists")


WRITE = """
import sys, time
import numpy as np, pandas as pd, sqlalchemy as sa
from recbole_cadmr.data import database
database._BLOCK = 1
frame = pd.DataFrame({"user_id": ["a"] * 1000, "rank": range(1000)}).astype({"user_id": object})
@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def slowly(connection, cursor, statement, *_):
    if statement.startswith("INSERT"):
        print(statement, flush=True)
        time.sleep(0.05)
database.Database(sys.argv[1], "--to_sql").write(frame, "lists", ["user_id", "rank"], overwrite=True)
"""


def test_a_writer_that_is_killed_leaves_the_old_table_which_can_be_read_meanwhile(url):
    Database(url, "--to_sql").write(FRAME, "lists", KEY)
    writer = subprocess.Popen([sys.executable, "-c", WRITE, url], stdout=subprocess.PIPE, text=True)
    assert [writer.stdout.readline()[:6] for _ in range(3)] == ["INSERT"] * 3
    assert run(url, "SELECT * FROM lists ORDER BY user_id, rank") == rows(FRAME)
    writer.kill()
    writer.wait()
    deadline = time.monotonic() + 30
    while tables(url) != ["lists"] and time.monotonic() < deadline:  # until the server has noticed
        time.sleep(0.1)
    assert run(url, "SELECT * FROM lists ORDER BY user_id, rank") == rows(FRAME) and tables(url) == ["lists"]
    Database(url, "--to_sql").write(MANY, "lists", KEY, overwrite=True)


def test_a_schema_of_postgres(postgres):
    run(postgres.url, "CREATE SCHEMA nightly")
    Database(postgres.url, "--to_sql").write(FRAME, "nightly.lists", KEY)
    Database(postgres.url, "--to_sql").write(FRAME, "nightly.lists", KEY, overwrite=True)
    assert run(postgres.url, "SELECT count(*) FROM nightly.lists") == [(3,)] and tables(postgres.url) == []
    run(postgres.url, "DROP SCHEMA nightly CASCADE")
    with pytest.raises(UserError, match="^cannot write 'nightly.lists' to .*: schema \"nightly\" does not exist$"):
        Database(postgres.url, "--to_sql").write(FRAME, "nightly.lists", KEY)


def test_a_view_is_not_replaced(url):
    run(url, "CREATE VIEW lists AS SELECT 1 AS x")
    with pytest.raises(UserError, match="^cannot write 'lists' to "):
        Database(url, "--to_sql").write(FRAME, "lists", KEY, overwrite=True)
    assert run(url, "SELECT * FROM lists") == [(1,)] and tables(url) == []


def test_a_database_that_is_locked(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="database is locked$"):
            Database(f"sqlite:///{tmp_path / 'shop.db'}?timeout=0.1", "--to_sql").write(FRAME, "lists", KEY)


def test_a_file_that_was_made_for_nothing_is_removed(tmp_path):
    file = tmp_path / "new.db"
    lists = Database(f"sqlite:///{file}", "--to_sql", to_write=True)
    lists.refuse_table("lists")
    assert not file.exists()
    with pytest.raises(UserError, match="^cannot write 'lists' to .*UNIQUE constraint failed"):
        lists.write(pd.concat([FRAME, FRAME]), "lists", KEY)
    assert not list(tmp_path.iterdir())
    lists.write(FRAME, "lists", KEY)
    with pytest.raises(UserError, match="UNIQUE"):
        lists.write(pd.concat([FRAME, FRAME]), "others", KEY)
    assert tables(f"sqlite:///{file}") == ["lists"]


def test_columns_are_called_as_the_shop_calls_them(url):
    odd = FRAME.assign(**{name: f"of {name}" for name in ("order", 'a "b" 50%', "x:y (z)", "Größe")})
    Database(url, "--to_sql").write(odd.astype({"rank": int}), "lists", KEY)
    with Database(url, "--url").rows_of("SELECT * FROM lists ORDER BY user_id, rank") as (names, answer):
        assert names == list(odd) and [tuple(row) for row in answer] == rows(odd)
    twins = odd.assign(RANK="x")
    if url.startswith("sqlite"):
        with pytest.raises(UserError, match="^'rank' and 'RANK' are the same name of a column to SQLite; leave one"):
            Database(url, "--to_sql").write(twins, "twins", KEY)
    else:
        Database(url, "--to_sql").write(twins, "twins", KEY)


@pytest.mark.parametrize("backend", ["mysql", "mysql+pymysql", "mariadb", "oracle+oracledb", "mssql+pyodbc"])
def test_databases_that_no_table_is_written_to(backend):
    said = f"^tables are written to postgresql and sqlite, not to {backend.partition('+')[0]}; write a csv and load it$"
    with pytest.raises(UserError, match=said):
        Database(f"{backend}://shop:geheim@host/shop", "--to_sql", to_write=True)
    with pytest.raises(UserError, match="knows no database 'sqlit'; did you mean sqlite"):
        Database("sqlit:///x.db", "--to_sql", to_write=True)


def test_rows_are_streamed(postgres):
    """A billion rows would take minutes and more memory than there is."""
    start = time.monotonic()
    with Database(postgres.url, "--url").rows_of(
        "SELECT n, n % 7 AS m FROM (SELECT generate_series(1, 1000000000) AS n) s;"
    ) as found:
        names, answer = found
        assert names == ["n", "m"] and [tuple(row) for row in itertools.islice(answer, 3)] == [(1, 1), (2, 2), (3, 3)]
    assert time.monotonic() - start < 60


def test_a_query_changes_nothing(url):
    run(url, "CREATE TABLE orders (a INTEGER)", "INSERT INTO orders VALUES (1)")
    for statement in (
        "DELETE FROM orders",
        "DROP TABLE orders",
        "DELETE FROM orders RETURNING a",
        "CREATE TABLE x (a INTEGER)",
    ):
        with pytest.raises(UserError), Database(url, "--url").rows_of(statement) as (_, answer):
            list(answer)
    assert run(url, "SELECT a FROM orders") == [(1,)] and tables(url) == ["orders"]


def test_percent_signs_and_colons_are_characters(url):
    run(url, "CREATE TABLE x (a INTEGER)")
    query = "SELECT '100 %s %(x)s :y :: ?' AS \"a:b%\""
    with Database(url, "--url").rows_of(query) as (names, answer):
        assert names == ["a:b%"] and [tuple(row) for row in answer] == [("100 %s %(x)s :y :: ?",)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("shop.db", "^--url must be a URL of a database such as sqlite:///shop.db or"),
        (f"postgresql//shop:{ESCAPED}@host/x", "^--url must be a URL"),
        (f"postgresql://shop:{ESCAPED}@host:port/x", "^--url must be a URL"),
        (
            "mysql://a:geheim@host/x",
            r"^--url: the driver MySQLdb is not installed; install it, or name .* as in mysql\+DRIVER://",
        ),
        (
            "postgres+asdf://a:geheim@host/x",
            "^--url: SQLAlchemy knows no database 'postgres.asdf'; did you mean postgresql",
        ),
        ("sqlit:///x.db", "^--url: SQLAlchemy knows no database 'sqlit'; did you mean sqlite"),
        ("sqlite:///nowhere.db", "^there is no file nowhere.db$"),
        ("sqlite:////dev", "^there is no file /dev$"),
        (
            f"postgresql://shop:{ESCAPED}@127.0.0.1:1/x",
            "^cannot read from postgresql.psycopg://shop@127.0.0.1:1/x: .*refused",
        ),
        ("postgresql://127.0.0.1:1/x?password=geheim&application_name=a", r"psycopg://127.0.0.1:1/x: .*refused"),
    ],
)
def test_urls_that_are_wrong(tmp_path, url, said):
    with pytest.raises(UserError, match=said) as raised, Database(url, "--url").rows_of("SELECT 1"):
        pass
    assert not any(secret in str(raised.value) for secret in (PASSWORD, ESCAPED, "geheim"))
    assert not list(tmp_path.iterdir())


def test_what_a_database_says_is_told_without_the_password(postgres):
    for query, said in (
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        (f"SELECT '{PASSWORD}'::integer", r'invalid input syntax for type integer: "\*\*\*"'),
        ("SELECT", "has no column|no rows|syntax"),
    ):
        with (
            pytest.raises(UserError, match=said) as raised,
            Database(postgres.url, "--url").rows_of(query) as (_, answer),
        ):
            list(answer)
            raise UserError("has no column")
        assert PASSWORD not in str(raised.value) and "\n" not in str(raised.value)
    wrong = Database(postgres.url.replace(ESCAPED, "wrong"), "--url")
    with pytest.raises(UserError, match='password authentication failed for user "shop"'), wrong.rows_of("SELECT 1"):
        pass
    with pytest.raises(UserError, match="^tables are written to postgresql and sqlite, not to oracle; write a csv"):
        other = Database("sqlite://", "--to_sql")
        other._url = other._url.set(drivername="oracle")
        other.refuse_table("x")
