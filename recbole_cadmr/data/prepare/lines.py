"""Raw files of one record a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.text_lines import text_lines
from recbole_cadmr.data.text_columns import text_table
from recbole_cadmr.errors import UserError
from recbole_cadmr.progress import bar

Line = tuple[int, str]
Entry = TypeVar("Entry")
_TWICE = "it names a key twice"


def lines_of(path: Path, skipped: SkippedRows, encoding: str | None = None, otherwise: str = "") -> Iterator[Line]:
    """Numbers and texts of the lines of a file, plain or gzip, under a progress bar; blank ones are left out.

    Args:
        otherwise: encoding of lines that are not UTF-8 in a UTF-8 file; they are malformed if none is given.
    """
    lines = watched(text_lines(path, encoding, errors="surrogateescape"), path.name)
    for number, line in enumerate(lines, 1):
        try:
            line.encode()  # bytes that are not UTF-8 came through as lone surrogates
        except UnicodeEncodeError:
            if not otherwise:
                skipped.malformed(path, number, "it is not UTF-8 text")
                continue
            line = line.encode("utf-8", "surrogateescape").decode(otherwise)
        if line.strip():
            yield number, line.rstrip("\r\n")


def json_lines(path: Path, skipped: SkippedRows, encoding: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file of JSON lines, plain or gzip, with their line numbers; others are skipped.

    Numbers stay text: ``1.0`` is not ``1``, and no digit of a long one is lost.
    """
    for number, line in lines_of(path, skipped, encoding):
        try:
            record = json.loads(line, object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            skipped.malformed(path, number, _TWICE if str(error) == _TWICE else "it is not JSON")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            skipped.malformed(path, number, "it is not an object")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError(_TWICE)  # one of its values would be lost
    return record


def first_of_each(
    records: Iterable[tuple[int, dict[str, Any] | None]], key: str, items: set[str], path: Path, skipped: SkippedRows
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The first record of each of ``items``, which ``key`` names; the other lines of the metadata are counted.

    Args:
        records: with line numbers; None for a line that is not a record.
    """
    seen: set[str] = set()
    others = 0
    for number, record in records:
        item = record.get(key) if record else None
        if record is None or not isinstance(item, str):
            skipped.malformed(path, number, f"it is not a record with {key}")
        elif item not in items:
            others += 1
        elif item in seen:
            skipped.note("repeated items in the metadata", item)
        else:
            seen.add(item)
            yield item, record
    skipped.note("items of the metadata without interactions that are kept", n=others)
    skipped.note("items without metadata", n=len(items - seen))


def watched(lines: Iterable[Entry], name: str, unit: str = " lines") -> Iterator[Entry]:
    """The lines of a file, under a progress bar."""
    return iter(bar(lines, desc=name, unit=unit, unit_scale=True))


def the_file(folder: Path, *patterns: str) -> Path:
    """The one file of ``folder`` that matches a pattern; the patterns are tried in turn.

    Raises:
        UserError: if there is none, or several.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the one that holds {patterns[0]} with --source")
    for pattern in patterns:
        matches = sorted(folder.glob(pattern))
        if len(matches) > 1:
            raise UserError(f"{folder} holds {len(matches)} files like {pattern}; keep one of them")
        if matches:
            return matches[0]
    raise UserError(f"{folder} holds no {' or '.join(patterns)}")


def interaction_table(
    path: Path, skipped: SkippedRows, ids: tuple[str, str], values: tuple[str, str], all_rated: bool
) -> pd.DataFrame:
    """``user_id, item_id, rating, timestamp`` as text, from JSON lines with the keys ``ids`` and ``values``.

    A record without both ids as text is skipped. The column of times is left out if no record has one, that of ratings
    if any record lacks one, unless ``all_rated`` says that they matter.
    """

    def rows() -> Iterator[list[str]]:
        for number, record in json_lines(path, skipped):
            texts = [value if isinstance(value, str) else "" for value in map(record.get, (*ids, *values))]
            if texts[0] and texts[1]:
                yield texts
            else:
                skipped.malformed(path, number, f"it lacks {ids[0]} or {ids[1]}")

    table = text_table(("user_id", "item_id", "rating", "timestamp"), rows(), ids=("user_id", "item_id"))
    unrated, untimed = (int((table[name] == "").sum()) for name in ("rating", "timestamp"))
    if unrated and not all_rated:
        skipped.note("interactions without a rating, so that ratings are dropped", n=unrated)
        table = table.drop(columns="rating")
    if untimed == len(table):
        skipped.note("interactions without a timestamp, so that there are no times", n=untimed)
        table = table.drop(columns="timestamp")
    return table
