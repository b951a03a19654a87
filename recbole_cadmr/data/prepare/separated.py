"""Tables with a separator: csv, whose fields may be quoted, and tsv, where a quote is an ordinary character."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from recbole_cadmr.data.prepare.lines import watched
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.text_lines import text_lines
from recbole_cadmr.data.text_columns import text_table
from recbole_cadmr.errors import UserError

_SEPARATORS = ",;\t|"
# From the names of a header to those to read; it refuses a header that lacks one.
Choice = Callable[[Sequence[str]], list[str]]


def read_separated(
    path: Path,
    skipped: SkippedRows,
    choose: Choice,
    wanted: Sequence[str],
    encoding: str | None,
    separator: str | None,
    ids: Collection[str],
) -> pd.DataFrame:
    """The columns that ``choose`` picks, as of :func:`separated_rows`.

    Args:
        ids: as of :func:`text_table`.
    """
    chosen, rows = separated_rows(path, skipped, choose, wanted, encoding, separator)
    return text_table(chosen, rows, ids)


def separated_rows(
    path: Path,
    skipped: SkippedRows,
    choose: Choice,
    wanted: Sequence[str],
    encoding: str | None,
    separator: str | None,
) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns that ``choose`` picks, and rows of them; a line of another width is skipped.

    Args:
        wanted: columns by which the separator of a ``.csv`` is recognised.
        separator: one character; if not given, a tab in a ``.tsv``, and what the header has in a ``.csv``.
    """
    literal = path.name.lower().endswith((".tsv", ".tsv.gz"))
    lines = text_lines(path, encoding, newline="\n" if literal else "")
    head = next(lines, "").lstrip("\ufeff")
    if not head.strip():
        raise UserError(f"{path} is empty, or does not begin with a line of column names")
    if separator is None:
        separator = "\t" if literal else _recognised(head, wanted)
    lines = watched(chain([head], lines), path.name)
    rows = _literal(lines, separator, head) if literal else _quoted(lines, separator)
    _, header = next(rows)
    if header is None:
        raise UserError(f"{path} line 1 is malformed: a quotation mark is not closed")
    names = [name.strip() for name in header]
    chosen = choose(names)
    at = [names.index(name) for name in chosen]

    def whole() -> Iterator[list[str]]:
        for number, row in rows:
            if row is None:
                skipped.malformed(path, number, "a quotation mark is not closed, or does not end its field")
            elif len(row) == len(names):
                yield [row[index] for index in at]
                if not literal and _holds_rows(row, separator):
                    kind = f"fields of {path.name} in quotes that hold what looks like whole rows"
                    skipped.note(kind, f"line {number}")
            elif row:
                skipped.malformed(path, number, f"it has {len(row)} columns instead of {len(names)}")

    return chosen, whole()


def _holds_rows(row: list[str], separator: str) -> bool:
    """Whether a quote that was meant literally may have swallowed rows: lines of a field with as many columns."""
    inner = [line for field in row if "\n" in field for line in field.split("\n")[1:-1]]
    return len(inner) > 1 and all(line.count(separator) == len(row) - 1 for line in inner)


def _recognised(head: str, wanted: Sequence[str]) -> str:
    """The separator under which a header has most of the columns wanted, or else most columns."""

    def matches(separator: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
        return len(set(wanted).intersection(names)), len(names)

    csv.field_size_limit(sys.maxsize)
    return max(_SEPARATORS, key=matches)


def _literal(lines: Iterator[str], separator: str, head: str) -> Iterator[tuple[int, list[str]]]:
    """Fields of each line with its number; blank lines have none."""
    end = "\r\n" if head.endswith("\r\n") else "\n"
    for number, line in enumerate(lines, 1):
        text = line.removesuffix(end).removesuffix("\n")
        yield number, text.split(separator) if text else []


def _quoted(lines: Iterator[str], separator: str) -> Iterator[tuple[int, list[str] | None]]:
    """Fields of each record with the number of its first line, None if its quotes are wrong.

    A quote that is not closed costs only its line: reading continues at the next one.
    """
    csv.field_size_limit(sys.maxsize)
    waiting: deque[str] = deque()  # lines to be read again
    taken: list[str] = []  # lines of the record that is being read

    def source() -> Iterator[str]:
        while True:
            line = waiting.popleft() if waiting else next(lines, None)
            if line is None:
                return
            taken.append(line)
            yield line

    number = 1
    while True:
        try:
            for row in csv.reader(source(), delimiter=separator, strict=True):
                yield number, row
                number += len(taken)
                taken.clear()
            return
        except csv.Error:
            waiting.extendleft(reversed(taken[1:]))
            taken.clear()
            yield number, None
            number += 1
