"""User-supplied tables: csv, tsv, JSON lines or parquet, every value as the text in the file."""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas as pd

from recbole_cadmr.data.prepare.lines import json_lines
from recbole_cadmr.data.prepare.parquet import read_parquet
from recbole_cadmr.data.prepare.separated import Choice, read_separated
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.texts import as_text
from recbole_cadmr.data.text_columns import text_table
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.files import need_file

_SEPARATED = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_JSON = (".jsonl", ".jsonl.gz")
FORMATS = (*_SEPARATED, *_JSON, ".parquet")


class Table(Protocol):
    """Rows with named columns, in a file or a database; its text names it in messages, as its ``name`` does briefly."""

    @property
    def name(self) -> str:
        """What it is called."""

    def read(
        self, skipped: SkippedRows, columns: Sequence[str], optional: Sequence[str] = (), ids: Collection[str] = ()
    ) -> pd.DataFrame:
        """Its rows, as of :func:`read_rows`."""


@dataclass(frozen=True)
class TableFile:
    """A table in a file; ``encoding`` and ``separator`` as of :func:`read_rows`."""

    path: Path
    encoding: str | None = None
    separator: str | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Its last name."""
        return self.path.name

    def read(
        self, skipped: SkippedRows, columns: Sequence[str], optional: Sequence[str] = (), ids: Collection[str] = ()
    ) -> pd.DataFrame:
        """Its rows, as of :func:`read_rows`."""
        return read_rows(self.path, skipped, columns, optional, self.encoding, self.separator, ids)


def read_rows(
    path: Path,
    skipped: SkippedRows,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    encoding: str | None = None,
    separator: str | None = None,
    ids: Collection[str] = (),
) -> pd.DataFrame:
    """The rows of a table with a header, as text; a missing value is ``""``.

    Args:
        columns: those that are required.
        optional: those that are read if present.
        encoding: of csv, tsv and JSON lines; a byte order mark takes precedence (default: UTF-8).
        separator: of csv and tsv (default: that of the header).
        ids: as of :func:`text_table`, for a table of many rows.

    Raises:
        UserError: if the file is missing, damaged, of another format, lacks a column, or names one twice.
    """
    name, wanted = path.name.lower(), list(dict.fromkeys([*columns, *optional]))
    need_file(path)
    choose = partial(chosen_columns, path, columns, wanted)
    if name.endswith(_JSON):
        return _objects(path, skipped, choose, wanted, encoding, ids)
    if name.endswith(".parquet"):
        return read_parquet(path, choose, ids)
    if name.endswith(_SEPARATED):
        return read_separated(path, skipped, choose, wanted, encoding, separator, ids)
    raise UserError(f"{path} must be one of {', '.join(FORMATS)}")


def chosen_columns(table: Path | str, columns: Sequence[str], wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which of the columns ``wanted`` a table with columns of these ``names`` has.

    Raises:
        UserError: if it lacks one of ``columns``, or names one twice.
    """
    twice = [name for name, n in Counter(names).items() if name and n > 1]
    if twice:
        raise UserError(f"{table} names the column '{min(twice)}' twice; rename one of them")
    shortened = textwrap.shorten(", ".join(names), 500, placeholder=" ...")
    for column in columns:
        if column not in names:
            raise UserError(f"{table} has no column '{column}'{did_you_mean(column, names)}; it has {shortened}")
    return [column for column in wanted if column in names]


def is_separated(path: Path) -> bool:
    """Whether the fields of a file are separated by a character."""
    return path.name.lower().endswith(_SEPARATED)


def separator(text: str) -> str:
    """The character that an option names."""
    character = {"tab": "\t", "\\t": "\t"}.get(text.lower(), text)
    if len(character) != 1 or character in '"\r\n\0':
        raise argparse.ArgumentTypeError(f"must be one character such as ';', or tab, not {text!r}")
    return character


def _objects(
    path: Path, skipped: SkippedRows, choose: Choice, wanted: Sequence[str], encoding: str | None, ids: Collection[str]
) -> pd.DataFrame:
    """Columns of JSON lines, whose names are the keys of all objects; an object that lacks one has ``""`` there."""
    keys: dict[str, None] = {}

    def rows() -> Iterator[list[str]]:
        for number, record in json_lines(path, skipped, encoding):
            keys.update(dict.fromkeys(record))
            try:
                yield [as_text(record.get(key)) for key in wanted]
            except RecursionError:
                skipped.malformed(path, number, "it is nested too deeply")

    table = text_table(wanted, rows(), ids)
    return table[choose(list(keys))] if len(table) else table
