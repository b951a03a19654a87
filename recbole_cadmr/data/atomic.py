"""Atomic files as tables of text: a header, then rows, separated by tabs."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_cadmr.errors import UserError


def write_atomic(path: Path, columns: Sequence[str], rows: Iterable[str]) -> None:
    """Write an atomic file with the same bytes on every system.

    Args:
        columns: such as ``user_id:token``.
        rows: lines without their end, their fields joined by tabs.
    """
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(columns) + "\n")
        file.writelines(f"{row}\n" for row in rows)


def read_header(path: Path, separator: str = "\t", encoding: str = "utf-8") -> list[str]:
    """The names of a table's columns; a byte order mark is skipped.

    Raises:
        UserError: if the file is not text, or names a column twice.
    """
    try:
        with open(path, encoding=_past_mark(encoding)) as file:
            columns = file.readline().rstrip("\n").split(separator)
    except UnicodeError as error:
        raise UserError(f"{path} is not {encoding.upper()} text") from error
    if len({column.split(":")[0] for column in columns}) < len(columns):
        raise UserError(f"{path} names a column of its header twice")
    return columns


def read_table(path: Path, separator: str = "\t", encoding: str = "utf-8") -> pd.DataFrame:
    """All fields as text: ``NA`` and quotes are what they are, and an empty field is ``""``.

    Blank lines are left out; the row with index i stands in line i + 2 of the file.

    Raises:
        UserError: if the file is not text, or a line has another number of fields than the header.
    """
    columns = read_header(path, separator, encoding)
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            encoding=_past_mark(encoding),
            skip_blank_lines=False,  # they count as lines
        )
    except UnicodeError as error:
        raise UserError(f"{path} is not {encoding.upper()} text") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} is malformed: {str(error).split('error:')[-1].strip()}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes a surplus first field for an index
        raise UserError(f"{path} line 2 is malformed: it must have {len(columns)} columns")
    table.columns = pd.Index(columns)
    suspect = np.flatnonzero((table.to_numpy() == "").any(axis=1))
    if not len(suspect):
        return table
    # pandas fills a short line with empty fields: the text itself tells it from a line that has them.
    with open(path, encoding=_past_mark(encoding)) as file:
        lines = file.read().split("\n")[1:]
    for row in suspect:
        if lines[row] and lines[row].count(separator) + 1 != len(columns):
            raise UserError(f"{path} line {row + 2} is malformed: it must have {len(columns)} columns")
    return table.drop(index=[row for row in suspect if not lines[row]])


def _past_mark(encoding: str) -> str:
    """The encoding, but for UTF-8 with or without a byte order mark."""
    try:
        "".encode(encoding)  # unlike codecs.lookup, it takes encodings of text alone
    except (LookupError, ValueError) as error:
        raise UserError(f"encoding: {encoding!r:.60} is no encoding of text, as utf-8 and latin-1 are") from error
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
