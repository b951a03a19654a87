"""What commands print, by the width of the terminal; in files and pipes it stays as it is, a line a line."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from recbole_cadmr.formatting import folded, screen_width, unmarked
from recbole_cadmr.progress import on_terminal

_GAP = 2
_NUMBER = re.compile(r"[-+\u2212]?[\d.,]+(e-?\d+)?( ?(±|%|[a-z]{1,3}).*)?|–|", re.IGNORECASE)
_CODES = re.compile(r"\x1b\[\d+m")


def fitted(line: str, indent: str = "  ") -> str:
    """A line, on a terminal as several that fit, all but the first behind ``indent``."""
    return folded(line, indent) if _is_terminal() and len(line) > screen_width() else line


def laid_out(markdown: str) -> str:
    """Markdown, on a terminal with its lines folded and its tables as columns, in as many parts as it takes to fit."""
    if not _is_terminal():
        return markdown
    lines = (
        "\n".join(_table(list(group)) if is_table else (_paragraph(line) for line in group))
        for is_table, group in groupby(markdown.split("\n"), lambda line: line.startswith("|"))
    )
    return "\n".join(lines)


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _paragraph(line: str) -> str:
    return fitted(unmarked(line), "  " if line.startswith("- ") else "")


def _table(lines: Sequence[str]) -> Iterator[str]:
    """A table of markdown, whose second line is a rule, as columns; the first is repeated in each part."""
    head, *rows = [_cells(line) for place, line in enumerate(lines) if place != 1]
    columns = list(zip(head, *rows))
    width = screen_width()
    first = _column(columns[0], width // 2)
    room = width - len(_plain(first[0][0])) - _GAP
    part: list[list[list[str]]] = []
    used = 0
    for column in columns[1:]:
        new = _column(column, room)
        wide = len(_plain(new[0][0])) + _GAP
        if part and used + wide > room + _GAP:
            yield from (*_joined([first, *part]), "")
            part, used = [], 0
        part.append(new)
        used += wide
    yield from _joined([first, *part])


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.rstrip()[1:-1])
    return [unmarked(_marked(cell.strip()).replace("\\|", "|").replace("\\*", "*")) for cell in cells]


def _column(cells: Sequence[str], room: int) -> list[list[str]]:
    """The lines of each cell, all as wide as the widest, which fits into ``room``; numbers to the right."""
    folds = [[cell] if len(_plain(cell)) <= room else textwrap.wrap(_plain(cell), max(room, 1)) for cell in cells]
    wide = max(len(_plain(line)) for fold in folds for line in fold)
    is_number = all(_NUMBER.fullmatch(_plain(cell).strip("*_")) for cell in cells[1:])
    lines = []
    for fold in folds:
        spaces = [" " * (wide - len(_plain(line))) for line in fold]
        lines.append([space + line if is_number else line + space for space, line in zip(spaces, fold)])
    return lines


def _joined(columns: Sequence[list[list[str]]]) -> Iterator[str]:
    """Columns side by side, line by line."""
    for cells in zip(*columns):
        for place in range(max(map(len, cells))):
            parts = [cell[place] if place < len(cell) else " " * len(_plain(cell[0])) for cell in cells]
            yield (" " * _GAP).join(parts).rstrip()


def _marked(cell: str) -> str:
    """A cell, the best and the second of its column bold and underlined as far as the terminal can and may."""
    may = on_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    bold, underlined = ("\x1b[1m\\1\x1b[0m", "\x1b[4m\\1\x1b[0m") if may else (r"**\1**", r"_\1_")
    return re.sub("<u>(.+?)</u>", underlined, re.sub(r"\*\*(.+?)\*\*", bold, cell))


def _plain(cell: str) -> str:
    return _CODES.sub("", cell)
