"""Raw files of one record a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from recbole_cadmr.data.archive import open_lines
from recbole_cadmr.data.prepare.tally import Tally
from recbole_cadmr.errors import UserError


def json_lines(path: Path, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file of JSON lines, plain or gzip, with their line numbers; others are passed over."""
    for number, line in progress(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # not UTF-8 is a ValueError, too
            tally.malformed(path, number, "it is no JSON")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            tally.malformed(path, number, "it is no object")


def progress(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line numbers and lines of a file, plain or gzip, under a progress bar."""
    return iter(tqdm(open_lines(path), desc=path.name, unit=" lines", unit_scale=True, mininterval=0.5))


def the_file(folder: Path, *patterns: str) -> Path:
    """The one file of ``folder`` that matches a pattern; the patterns are tried in turn.

    Raises:
        UserError: if there is none, or several.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the one that holds {patterns[0]} with --source")
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise UserError(f"{folder} holds {len(found)} files like {pattern}; keep one of them")
        if found:
            return found[0]
    raise UserError(f"{folder} holds no {' or '.join(patterns)}")


def interaction_table(
    records: Iterator[tuple[int, dict[str, Any]]],
    path: Path,
    tally: Tally,
    ids: tuple[str, str],
    rating: str,
    timestamp: str,
) -> pd.DataFrame:
    """``user_id, item_id, rating, timestamp`` from records with the keys ``ids``, ``rating`` and ``timestamp``.

    A record without both ids as text is passed over; ``rating`` and ``timestamp`` are columns if every record has them.
    """
    names: dict[str, str] = {}  # each id once in memory, however often it stands in the file
    users, items = [], []
    numbers: dict[str, list[float]] = {"rating": [], "timestamp": []}
    for number, record in records:
        user, item = record.get(ids[0]), record.get(ids[1])
        if not isinstance(user, str) or not isinstance(item, str):
            tally.malformed(path, number, f"it lacks {ids[0]} or {ids[1]}")
            continue
        users.append(names.setdefault(user, user))
        items.append(names.setdefault(item, item))
        for kept, value in zip(numbers.values(), (record.get(rating), record.get(timestamp))):
            kept.append(float(value) if isinstance(value, (int, float)) else np.nan)
    table = pd.DataFrame({"user_id": users, "item_id": items}, dtype=object)
    for name, values in numbers.items():
        missing = len(values) - int(np.isfinite(values).sum())
        tally.note(f"interactions without a {name}, so that none is kept", n=missing)
        if values and not missing:
            table[name] = values
    return table
