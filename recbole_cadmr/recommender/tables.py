"""What a person asks with, and gets: files of people and items, columns and counts of lists."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text

if TYPE_CHECKING:
    from recbole_cadmr.recommender.catalogue import Catalogue
    from recbole_cadmr.recommender.lists import Lists

USER, ITEM = "user_id", "item_id"
COLUMNS = [USER, ITEM, "rank", "score", "source"]
USUAL_LENGTH = 50  # of lists for which none is given; of all items where there are fewer
_SOURCES = np.array(["model", "popular"], dtype=object)
_BLANKS = re.compile(" +")


@dataclasses.dataclass(frozen=True)
class Counts:
    """What lists hold: their rows, and users who have any, fewer than asked for, and the most popular items."""

    rows: int
    users: int
    short: int
    popular: int

    @classmethod
    def of(cls, lists: pd.DataFrame, topk: int | None) -> Counts:
        """The counts of a table in which the rows of a user stand together."""
        first = lists["rank"].to_numpy() == 1
        length = np.diff(np.append(np.flatnonzero(first), len(lists)))
        popular = (lists["source"].to_numpy()[first] == "popular").sum()
        return cls(len(lists), int(first.sum()), int((length < (topk or USUAL_LENGTH)).sum()), int(popular))

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)))


def table_of(catalogue: Catalogue, users: np.ndarray, ranked: Iterable[Lists]) -> pd.DataFrame:
    """The lists of ``users``, by scores in which -inf marks what is left out."""
    parts = []
    for block in ranked:
        values, items, is_popular = block.scores.numpy(), block.items.numpy(), block.is_popular.numpy()
        row, place = np.nonzero(values > -np.inf)
        numbers = (column.astype(np.int32) for column in (row + block.start, items[row, place], place + 1))
        parts.append((*numbers, values[row, place], is_popular[row]))
    row, item, place, value, is_popular = (np.concatenate(column) for column in zip(*parts))
    source = _SOURCES[is_popular.astype(np.int8)]
    columns = users[row], catalogue.item_ids[item], place.astype(np.int64), value, source
    return pd.DataFrame(dict(zip(COLUMNS, columns)), copy=False)


def read_histories(path: str | os.PathLike[str], user: str = USER, item: str = ITEM) -> pd.DataFrame:
    """Rows ``user_id item_id``: of a csv, jsonl or parquet file, its columns of the names ``user`` and ``item``.

    In other files they are separated by tabs, or by blanks where the first line has no tab. A header that names these
    columns (``:token`` may follow) may come first; other columns may then stand beside them, in any order. Blank lines
    are passed over.

    Raises:
        UserError: if the file is missing, empty, or has a line of other than two columns or without an id.
    """
    if _is_table(path):
        return _columns(path, {user: USER, item: ITEM}, "rows")
    lines = [(number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    with_tabs = bool(lines) and "\t" in lines[0][1]
    rows = [(number, line.split("\t") if with_tabs else _BLANKS.split(line.strip(" "))) for number, line in lines]
    header = [name.partition(":")[0] for name in rows[0][1]] if rows else []
    width, places = 2, [0, 1]
    if header.count(user) == header.count(item) == 1:
        width, places = len(header), [header.index(name) for name in (user, item)]
        rows = rows[1:]
    for number, fields in rows:
        if len(fields) != width or not all(fields[place] for place in places):
            wanted = f"{width} columns" if width > 2 else "a user and an item"
            raise UserError(f"{path} line {number} must hold {wanted}, separated by a tab or a blank")
    if not rows:
        raise UserError(f"{path} holds no rows")
    return pd.DataFrame([[fields[place] for place in places] for _, fields in rows], columns=COLUMNS[:2])


def read_users(path: str | os.PathLike[str], user: str = USER) -> list[str]:
    """User ids: of a csv, jsonl or parquet file, its column of the name ``user``; of other files, one a line.

    There, blank lines are passed over, and a header that has the name (``:token`` may follow) may come first; with
    tabs, other columns may stand beside it.
    """
    return _column(path, user, "users")


def read_items(path: str | os.PathLike[str], item: str = ITEM) -> list[str]:
    """Item ids, one a line, as :func:`read_users` reads those of users."""
    return _column(path, item, "items")


def read_exclusions(path: str | os.PathLike[str], user: str = USER, item: str = ITEM) -> list[str] | pd.DataFrame:
    """Item ids, as of :func:`read_items`, or rows ``user item`` as of :func:`read_histories`.

    They are the latter in a csv, jsonl or parquet file that has a column of users, in others where the first line has a
    tab.
    """
    if _is_table(path):
        rows = _columns(path, {item: ITEM}, "rows", {user: USER})
        return rows if USER in rows else rows[ITEM].tolist()
    first = next((line for line in _lines(path) if line.strip()), "")
    return read_histories(path, user, item) if "\t" in first else read_items(path, item)


def _is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file names its columns, in a format that its own name says."""
    return os.fspath(path).lower().endswith((".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"))


def _columns(
    path: str | os.PathLike[str], names: Mapping[str, str], what: str, optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Columns of ids, every one of them given, by what they are called here."""
    optional = optional or {}
    rows = read_rows(Path(path), SkippedRows(strict=True), list(names), list(optional))
    for name in rows:
        empty = np.flatnonzero(rows[name].to_numpy() == "")
        if len(empty):
            raise UserError(f"{path} has no {name} in its row {empty[0] + 1}; give every row one")
    if rows.empty:
        raise UserError(f"{path} holds no {what}")
    return rows.rename(columns={**names, **optional})


def _column(path: str | os.PathLike[str], name: str, what: str) -> list[str]:
    if _is_table(path):
        return _columns(path, {name: name}, what)[name].tolist()
    lines = [line for line in _lines(path) if line.strip()]
    header = [column.partition(":")[0] for column in lines[0].split("\t")] if lines else []
    if header.count(name) != 1:
        values = lines
    elif any(line.count("\t") != len(header) - 1 for line in lines):
        raise UserError(f"{path} has lines that do not have the {len(header)} columns of its header")
    else:
        values = [line.split("\t")[header.index(name)] for line in lines[1:]]
    if not values:
        raise UserError(f"{path} holds no {what}")
    return values


def _lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines without their ends and without a byte order mark; nothing else that Unicode calls a line end is one."""
    text = read_text(path).removeprefix("\ufeff")
    return [line.removesuffix("\r") for line in text.split("\n")]
