"""Databases by SQLAlchemy: the rows of a query, and a table written whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from recbole_cadmr.errors import UserError, did_you_mean

_BLOCK = 2**14  # rows fetched or sent at once
_LONGEST = 300  # characters of what a database says
_SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)  # in names of a URL's parameters
# Where a table can be made and renamed in one transaction, tested.
_WRITABLE = ("postgresql", "sqlite")
_KNOWN = (*_WRITABLE, "mysql", "mariadb", "oracle", "mssql")
_TYPES: dict[str, Any] = {"O": sa.Text, "i": sa.Integer, "f": sa.REAL}


class Database:
    """A database by its URL, whose password is never shown.

    Args:
        url: as SQLAlchemy has it, such as ``sqlite:///shop.db`` or ``postgresql://user@host/shop``.
        option: the one that gave it, for messages.
        to_write: whether tables will be written there.

    Raises:
        UserError: if it is no URL, its driver is not installed, or no tables can be written there though they will be.
    """

    def __init__(self, url: str, option: str, to_write: bool = False) -> None:
        try:
            self._url = _with_driver(make_url(url))
            if to_write and self._url.get_backend_name() in _KNOWN:  # of others it is said below what they are
                self._refuse_backend()
            # Values of ids stay out of messages, too.
            self._engine = sa.create_engine(self._url, hide_parameters=True, poolclass=sa.NullPool)
        except ModuleNotFoundError as error:
            backend = self._url.get_backend_name()
            brings = f"install it, or name the one that you have, as in {backend}+DRIVER://..."
            if backend == "postgresql":
                brings = "pip install 'recbole_cadmr[sql]' brings one"
            raise UserError(f"{option}: the driver {error.name} is not installed; {brings}") from None
        except NoSuchModuleError:
            name = self._url.drivername
            near = did_you_mean(name.partition("+")[0], _KNOWN)
            raise UserError(f"{option}: SQLAlchemy knows no database '{name}'{near}") from None
        except (ArgumentError, ValueError):  # whose messages may hold the password
            raise UserError(
                f"{option} must be a URL of a database such as sqlite:///shop.db or postgresql://user@host:5432/shop"
            ) from None
        if self._url.get_backend_name() == "sqlite":
            _begin_explicitly(self._engine)

    def __str__(self) -> str:
        """The URL without password and parameters."""
        url = self._url
        return URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()

    @contextmanager
    def rows_of(self, query: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
        """The names of a query's columns, and its rows, fetched as they are needed.

        The database is only read: a statement that would change it is refused.

        Raises:
            UserError: if the database cannot be reached, or the statement fails or gives no rows.
        """
        if (file := self._file()) is not None and not file.is_file():  # connecting would make it
            raise UserError(f"there is no file {file}")
        how = {"stream_results": True, "yield_per": _BLOCK, "no_parameters": True}
        with self._refusals(f"read from {self}"), self._engine.connect() as connection:
            connection = connection.execution_options(**self._read_only(connection))
            result = connection.exec_driver_sql(query.strip().rstrip(";"), execution_options=how)
            if not result.returns_rows:
                raise UserError(f"{self} has no rows to give for '{query:.80}'; give a SELECT")
            yield list(result.keys()), iter(result)

    def refuse_table(self, table: str, overwrite: bool = False, columns: Sequence[str] = ()) -> None:
        """Raise :class:`UserError` if :meth:`write` could not write a table of these columns there."""
        self._refuse_backend()
        known: dict[str, str] = {}
        for column in columns if self._url.get_backend_name() == "sqlite" else ():
            if (other := known.setdefault(column.lower(), column)) != column:
                raise UserError(
                    f"'{other}' and '{column}' are the same name of a column to SQLite; leave one of them out"
                )
        schema, name = _split(table)
        if (file := self._file()) is not None and not file.exists():  # looking into it would make it
            if not os.access(file.parent, os.W_OK):
                raise UserError(f"cannot write to {self}: there is no folder {file.parent} that can be written")
            return
        with self._refusals(f"look into {self}"), self._engine.connect() as connection:
            there = sa.inspect(connection).has_table(name, schema)
        if there and not overwrite:
            raise UserError(f"{self} has a table '{table}'; choose another --table, or replace it with --overwrite")

    def write(self, frame: pd.DataFrame, table: str, key: Sequence[str], overwrite: bool = False) -> None:
        """Write a table of texts, whole numbers and real ones, in one transaction.

        The rows go into a table of another name, which is renamed at the end: whoever reads the old one waits for no
        more than that. What goes with a table that is replaced, such as its grants, goes with it.

        Args:
            table: its name, or ``SCHEMA.NAME``.
            key: columns that identify a row, its primary key.

        Raises:
            UserError: as of :meth:`refuse_table`, and if the database refuses it or goes away.
        """
        self.refuse_table(table, overwrite, list(frame))
        schema, name = _split(table)
        columns = [sa.Column(c, _TYPES[frame[c].dtype.kind], primary_key=c in key, nullable=False) for c in frame]
        aside = sa.Table(f"{name[:40]}_{secrets.token_hex(4)}", sa.MetaData(schema=schema), *columns)
        quote = self._engine.dialect.identifier_preparer
        writing = self._refusals(f"write '{table}' to {self}")
        with _removed_on_failure(self._file()), writing, self._engine.begin() as connection:
            aside.create(connection)
            for start in range(0, len(frame), _BLOCK):
                connection.execute(aside.insert(), frame.iloc[start : start + _BLOCK].to_dict("records"))
            old = sa.Table(name, sa.MetaData(schema=schema))
            if overwrite:
                old.drop(connection, checkfirst=True)
            connection.exec_driver_sql(f"ALTER TABLE {quote.format_table(aside)} RENAME TO {quote.quote(name)}")

    def _refuse_backend(self) -> None:
        backend = self._url.get_backend_name()
        if backend not in _WRITABLE:
            raise UserError(
                f"tables are written to {' and '.join(_WRITABLE)}, not to {backend}; write a csv and load it"
            )

    def _file(self) -> Path | None:
        """The file of SQLite's; None of a database that is none, or not named by its path."""
        file = self._url.database or ""
        is_file = self._url.get_backend_name() == "sqlite" and file not in ("", ":memory:")
        return Path(file) if is_file and not file.startswith("file:") else None

    def _read_only(self, connection: sa.Connection) -> dict[str, Any]:
        if self._url.get_backend_name() == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        return {"postgresql_readonly": True} if self._url.get_backend_name() == "postgresql" else {}

    @contextmanager
    def _refusals(self, doing: str) -> Iterator[None]:
        """Raise what the database or its driver says as a :class:`UserError`, without the password."""
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)
        except ModuleNotFoundError as error:  # some drivers are imported late
            reason = f"the driver {error.name} is not installed"
        else:
            return
        for secret in self._secrets():
            reason = reason.replace(secret, "***")
        first = next(filter(None, map(str.strip, reason.splitlines())), "it does not say why")  # the others are hints
        raise UserError(f"cannot {doing}: {first[:_LONGEST].rstrip('.')}")

    def _secrets(self) -> Iterator[str]:
        parameters = {name: value for name, value in self._url.query.items() if _SECRET.search(name)}
        for secret in (self._url.password, *parameters.values()):
            yield from filter(None, [str(secret)] if secret else [])


@contextmanager
def _removed_on_failure(file: Path | None) -> Iterator[None]:
    """Remove a file that is made within if what is done there fails."""
    is_new = file is not None and not file.exists()
    try:
        yield
    except BaseException:
        if file is not None and is_new:
            file.unlink(missing_ok=True)
        raise


def _with_driver(url: URL) -> URL:
    """The URL with the driver that the extra brings where it names none."""
    backend = url.drivername.replace("postgres", "postgresql") if url.drivername == "postgres" else url.drivername
    return url.set(drivername="postgresql+psycopg" if backend == "postgresql" else backend)


def _begin_explicitly(engine: sa.Engine) -> None:
    """Let a table be made within a transaction in SQLite, too, whose module for Python would begin none for it."""

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def _split(table: str) -> tuple[str | None, str]:
    schema, _, name = table.rpartition(".")
    if not name or "\0" in table:
        raise UserError(f"--table must be a name, or SCHEMA.NAME, not {table!r}")
    return schema or None, name
