"""Atomic files as tables of text: a header, then rows, separated by tabs."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from recbole_cadmr.data.text_columns import TEXT, empty_columns
from recbole_cadmr.errors import UserError

_LONGEST = 2**24  # bytes of a line


def write_atomic(path: Path, columns: Sequence[str], rows: Iterable[str]) -> None:
    """Write an atomic file with the same bytes on every system.

    Args:
        columns: such as ``user_id:token``.
        rows: lines without their end, their fields joined by tabs; also several lines in one text.
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


def read_table(
    path: Path,
    separator: str = "\t",
    encoding: str = "utf-8",
    columns: Collection[str] | None = None,
    ids: Collection[str] = (),
) -> pd.DataFrame:
    """Fields as text: ``NA`` and quotes are what they are, and an empty field is ``""``.

    Blank lines are left out; the row with index i stands in line i + 2 of the file.

    Args:
        columns: those that are read, as the header names them (default: all).
        ids: as of :func:`text_table`, for a table of many rows.

    Raises:
        UserError: if the file is not text, or a line has another number of fields than the header.
    """
    header = read_header(path, separator, encoding)
    if header == [""]:
        raise UserError(f"{path} has no header in its first line")
    read = empty_columns([name for name in header if columns is None or name in columns], ids)
    for batch in _batches(path, separator, encoding, header, list(read)):
        for name, column in read.items():
            column.add_array(batch.column(name))
    table = pd.DataFrame({name: column.values() for name, column in read.items()})
    empty = np.logical_and.reduce([table[name] == "" for name in table]).nonzero()[0] if len(table) else ()
    if not len(empty):
        return table
    with open(path, encoding=_past_mark(encoding)) as file:  # a blank line is no line of empty fields
        blank = set(empty).intersection(row for row, line in enumerate(file, -1) if line == "\n")
    return table.drop(index=sorted(blank))


def _batches(
    path: Path, separator: str, encoding: str, header: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows below the header as Arrow's, some at once; :class:`UserError` as of :func:`read_table`."""
    unequal: list[int] = []  # numbers of lines; an exception would be lost in Arrow

    def note(row: pa.csv.InvalidRow) -> str:
        unequal.append(row.number)
        return "error"

    try:
        with pa.csv.open_csv(
            path,
            pa.csv.ReadOptions(
                use_threads=False,
                block_size=_LONGEST,
                skip_rows=1,
                column_names=header,
                encoding=_past_mark(encoding).removesuffix("-sig"),
            ),
            pa.csv.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
            ),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(header, TEXT), include_columns=columns),
        ) as batches:
            yield from batches
    except UnicodeError as error:
        raise UserError(f"{path} is not {encoding.upper()} text") from error
    except pa.ArrowInvalid as error:
        if unequal:
            message = f"{path} line {unequal[0]} is malformed: it must have {len(header)} columns"
            raise UserError(message) from error
        if "straddling" in str(error):
            raise UserError(f"{path} has a line of more than {_LONGEST:,} bytes") from error
        if not re.search("Empty CSV|initial 1 rows", str(error)):  # there is nothing, or a header alone
            raise UserError(f"{path} is not {encoding.upper()} text") from error


def _past_mark(encoding: str) -> str:
    """The encoding, but for UTF-8 with or without a byte order mark."""
    try:
        "".encode(encoding)  # unlike codecs.lookup, it takes encodings of text alone
    except (LookupError, ValueError) as error:
        raise UserError(f"encoding: {encoding!r:.60} is no encoding of text, as utf-8 and latin-1 are") from error
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
