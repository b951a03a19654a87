"""Recommendation lists in files of any toolkit, as rows of a user, an item and what they are ordered by.

Three layouts are read, from csv, tsv, JSON lines and parquet:

- ``user item score`` (the highest first) or ``user item rank`` (the lowest first), a row an item. Columns go by their
  names, which toolkits write differently (``user_id``, ``userID``, ``user``); where both are there, ``rank`` counts.
- the same three columns of a csv or tsv without names, the third of which is a score.
- a row a user and a column a place, as the MMRec toolbox writes it: ``id``, ``top_0``, ``top_1`` and so on.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_cadmr.data.prepare.lines import json_lines
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import FORMATS, is_separated, read_rows
from recbole_cadmr.data.prepare.text_lines import text_lines
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import need_file

USER, ITEM, KEY = "user", "item", "key"
# Names without their case, their type (``user_id:token``), blanks, dashes and underscores.
_USERS, _ITEMS = ("userid", "user", "uid"), ("itemid", "item", "iid")
_SCORES, _RANKS = ("score", "prediction", "rating"), ("rank", "position")
_NAMED = {*_USERS, *_ITEMS, *_SCORES, *_RANKS, "id"}
_PLACE = re.compile(r"top(\d+)")
_SEPARATORS = "\t,;|"
_WANTED = "columns user_id, item_id and score or rank, or id, top_0, top_1, ..."


def read_list_rows(path: Path) -> pd.DataFrame:
    """The rows of a file: ``user`` and ``item`` as they stand in it, and the number ``key``, by which a list ascends.

    Raises:
        UserError: if the file is missing, damaged, empty or of another layout, a row has no id, or a score or rank that
            is no finite number.
    """
    need_file(path)
    if not path.name.lower().endswith(FORMATS):
        raise UserError(f"{path} must be one of {', '.join(FORMATS)}")
    names = _names(path)
    if not names:
        rows = _without_names(path)
    else:
        plain = {_plain(name): name for name in reversed(names)}
        places = sorted((int(found[1]), plain[name]) for name in plain if (found := _PLACE.fullmatch(name)))
        rows = _wide(path, plain, places) if places else _long(path, plain, names)
    if rows.empty:
        raise UserError(f"{path} holds no rows")
    for name in (USER, ITEM):
        empty = np.flatnonzero(rows[name].to_numpy() == "")
        if len(empty):
            raise UserError(f"{path} has no {name} in its row {empty[0] + 1}; give every row one")
    return rows


def _plain(name: str) -> str:
    return re.sub(r"[ _-]", "", name.partition(":")[0].strip().lower())


def _names(path: Path) -> list[str]:
    """Names of the columns; none if the first line of a csv or tsv holds a row."""
    if path.name.lower().endswith(".parquet"):
        try:
            return list(pa.parquet.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is damaged, or no parquet file") from error
    if not is_separated(path):
        return list(next((record for _, record in json_lines(path, SkippedRows(strict=True), None)), {}))
    head = _first_line(path)
    fields = max((head.split(separator) for separator in _SEPARATORS), key=len)
    names = [field.strip().strip('"') for field in fields]
    plain = [_plain(name) for name in names]
    if _NAMED.intersection(plain) or any(map(_PLACE.fullmatch, plain)):
        return names
    if len(names) == 3 and not np.isnan(_number(names[2])):
        return []
    raise UserError(
        f"{path} begins neither with names of columns nor with a row user, item, score; give it a first line of "
        f"{_WANTED}"
    )


def _first_line(path: Path) -> str:
    head = next(text_lines(path), "").lstrip("\ufeff").rstrip("\r\n")
    if not head.strip():
        raise UserError(f"{path} is empty")
    return head


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _column(path: Path, plain: dict[str, str], choices: Sequence[str], names: Sequence[str]) -> str:
    for choice in choices:
        if choice in plain:
            return plain[choice]
    raise UserError(f"{path} has no column {choices[0]}; it has {', '.join(names)[:300]}, and needs {_WANTED}")


def _long(path: Path, plain: dict[str, str], names: Sequence[str]) -> pd.DataFrame:
    user = _column(path, plain, (*_USERS, "id"), names)
    item = _column(path, plain, _ITEMS, names)
    is_rank = any(name in plain for name in _RANKS)
    key = _column(path, plain, _RANKS if is_rank else _SCORES, names)
    rows = read_rows(path, SkippedRows(strict=True), [user, item, key])
    keys = _keys(path, rows[key].to_numpy(), "rank" if is_rank else "score")
    return pd.DataFrame({USER: rows[user].to_numpy(), ITEM: rows[item].to_numpy(), KEY: keys})


def _keys(path: Path, texts: np.ndarray, what: str) -> np.ndarray:
    """Scores or ranks as numbers by which a list ascends."""
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise UserError(
            f"{path}: the {what} in row {wrong[0] + 1} is no finite number, but {str(texts[wrong[0]])!r:.40}, as are "
            f"{len(wrong):,} in all; leave out rows that are not recommended"
        )
    return numbers if what == "rank" else -numbers


def _without_names(path: Path) -> pd.DataFrame:
    """Rows ``user item score``; a third column that counts from 1 on in every list is not known to be a score."""
    head = _first_line(path)
    separator = max(_SEPARATORS, key=head.count)

    def fields() -> Iterator[list[str]]:
        lines = (line.rstrip("\r\n").removeprefix("\ufeff") for line in text_lines(path))
        is_tsv = path.name.lower().endswith((".tsv", ".tsv.gz"))
        rows = (line.split(separator) for line in lines) if is_tsv else csv.reader(lines, delimiter=separator)
        for number, row in enumerate(rows, 1):
            if len(row) == 3:
                yield [field.strip() for field in row] if not is_tsv else row
            elif any(field.strip() for field in row):
                raise UserError(f"{path} row {number} has {len(row)} columns instead of user, item and score")

    table = pd.DataFrame(fields(), columns=[USER, ITEM, KEY], dtype=object)
    keys = _keys(path, table[KEY].to_numpy(), "score")
    of_users = pd.Series(-keys).groupby(table[USER].to_numpy())
    first, last, size = of_users.min(), of_users.max(), of_users.size()
    if (size > 1).any() and first.isin([0, 1]).all() and (last - first + 1 == size).all() and (keys % 1 == 0).all():
        raise UserError(
            f"{path} has no names of columns, and the third counts from {first.iloc[0]:.0f} on in every list: begin it "
            f"with a line user_id, item_id, rank (or score), which says what it is"
        )
    return table.assign(**{KEY: keys})


def _wide(path: Path, plain: dict[str, str], places: Sequence[tuple[int, str]]) -> pd.DataFrame:
    """Rows of a table with a row a user; nothing stands where there are no more items."""
    user = _column(path, plain, ("id", *_USERS), list(plain.values()))
    table = read_rows(path, SkippedRows(strict=True), [user, *(name for _, name in places)])
    users = table[user].to_numpy()
    if len(twice := pd.Series(users)[pd.Series(users).duplicated()]):
        raise UserError(f"{path} has two rows of the user {twice.iloc[0]!r:.60}; give each user one")
    items = table[[name for _, name in places]].to_numpy()
    there = items != ""
    row, place = there.nonzero()
    return pd.DataFrame({USER: users[row], ITEM: items[there], KEY: place.astype(np.float64)})
