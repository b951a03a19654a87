"""What a person asks with and gets: files of people, items and lists."""

from __future__ import annotations

import dataclasses
import os
import re

import numpy as np
import pandas as pd

from recbole_cadmr.data.atomic import write_atomic
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, write_aside

COLUMNS = ["user_id", "item_id", "rank", "score", "source"]
_BLOCK = 2**18  # rows of a table that are turned into text at once
_BLANKS = re.compile(" +")


@dataclasses.dataclass(frozen=True)
class Counts:
    """What lists hold: their rows, and users who have any, fewer than asked for, and the most popular items."""

    rows: int
    users: int
    short: int
    popular: int

    @classmethod
    def of(cls, lists: pd.DataFrame, topk: int) -> Counts:
        """The counts of a table in which the rows of a user stand together."""
        first = lists["rank"].to_numpy() == 1
        length = np.diff(np.append(np.flatnonzero(first), len(lists)))
        popular = (lists["source"].to_numpy() == "popular")[first].sum()
        return cls(len(lists), int(first.sum()), int((length < topk).sum()), int(popular))

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)))


def read_histories(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Rows ``user item``, separated by tabs, or by blanks where the first line has no tab.

    A header that names ``user_id`` and ``item_id`` (``:token`` may follow) may come first; other columns may then stand
    beside them, in any order. Blank lines are passed over.

    Raises:
        UserError: if the file is missing, empty, or has a line of other than two columns.
    """
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    with_tabs = bool(lines) and "\t" in lines[0][1]
    rows = [(number, line.split("\t") if with_tabs else _BLANKS.split(line.strip(" "))) for number, line in lines]
    header = [name.partition(":")[0] for name in rows[0][1]] if rows else []
    width, places = 2, [0, 1]
    if header.count("user_id") == header.count("item_id") == 1:
        width, places = len(header), [header.index(name) for name in COLUMNS[:2]]
        rows = rows[1:]
    for number, fields in rows:
        if len(fields) != width or not all(fields[place] for place in places):
            wanted = f"{width} columns" if width > 2 else "a user and an item"
            raise UserError(f"{path} line {number} must hold {wanted}, separated by a tab or a blank")
    if not rows:
        raise UserError(f"{path} holds no rows")
    return pd.DataFrame([[fields[place] for place in places] for _, fields in rows], columns=COLUMNS[:2])


def read_users(path: str | os.PathLike[str]) -> list[str]:
    """User ids, one a line; blank lines, and a first line ``user_id`` (``:token`` may follow), are passed over."""
    return _column(path, "user_id", "users")


def read_items(path: str | os.PathLike[str]) -> list[str]:
    """Item ids, one a line, as :func:`read_users` reads those of users."""
    return _column(path, "item_id", "items")


def read_exclusions(path: str | os.PathLike[str]) -> list[str] | pd.DataFrame:
    """Item ids, one a line, or rows ``user item`` as of :func:`read_histories`, where the first line has a tab."""
    first = next((line for line in _lines(path) if line.strip()), "")
    return read_histories(path) if "\t" in first else read_items(path)


def _column(path: str | os.PathLike[str], name: str, what: str) -> list[str]:
    values = [line for line in _lines(path) if line.strip()]
    if values and values[0].partition(":")[0] == name:
        values = values[1:]
    if not values:
        raise UserError(f"{path} holds no {what}")
    return values


def _lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines without their ends and without a byte order mark; nothing else that Unicode calls a line end is one."""
    text = read_text(path).removeprefix("\ufeff")
    return [line.removesuffix("\r") for line in text.split("\n")]


def write_recommendations(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write tab-separated rows with a header, whole or not at all; an existing file is refused."""
    if os.path.lexists(path):
        raise UserError(f"{path} is already there; choose another `output`")
    # One format for each row takes half the time of pandas' writer.
    as_text = "%s\t%s\t%d\t%.6g\t%s".__mod__
    parts = (frame[COLUMNS].iloc[start : start + _BLOCK] for start in range(0, len(frame), _BLOCK))
    rows = (as_text(row) for part in parts for row in zip(*(part[name].tolist() for name in COLUMNS)))
    with write_aside(path) as temporary:
        write_atomic(temporary, COLUMNS, rows)
