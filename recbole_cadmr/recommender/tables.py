"""What a person asks with and gets: files of people, items and lists."""

from __future__ import annotations

import os
import re

import pandas as pd

from recbole_cadmr.data.atomic import write_atomic
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, write_aside

COLUMNS = ["user_id", "item_id", "rank", "score"]
_BLOCK = 2**18  # rows of a table that are turned into text at once
_BLANKS = re.compile(" +")


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
    users = [line for line in _lines(path) if line.strip()]
    if users and users[0].partition(":")[0] == "user_id":
        users = users[1:]
    if not users:
        raise UserError(f"{path} holds no users")
    return users


def _lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines without their ends and without a byte order mark; nothing else that Unicode calls a line end is one."""
    text = read_text(path).removeprefix("\ufeff")
    return [line.removesuffix("\r") for line in text.split("\n")]


def write_recommendations(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write tab-separated rows with a header, whole or not at all; an existing file is refused."""
    if os.path.lexists(path):
        raise UserError(f"{path} is already there; choose another `output`")
    # One format for each row takes half the time of pandas' writer.
    as_text = "%s\t%s\t%d\t%.6g".__mod__
    parts = (frame[COLUMNS].iloc[start : start + _BLOCK] for start in range(0, len(frame), _BLOCK))
    rows = (as_text(row) for part in parts for row in zip(*(part[name].tolist() for name in COLUMNS)))
    with write_aside(path) as temporary:
        write_atomic(temporary, COLUMNS, rows)
