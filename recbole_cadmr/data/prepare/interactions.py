"""Interactions as a table, before the split: numbers and times, duplicates, and the k-core."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_cadmr.data.prepare.content import Source
from recbole_cadmr.data.prepare.options import Options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.text_columns import arrow_text, as_category, distinct_text
from recbole_cadmr.data.times import read_times, refuse_unreadable
from recbole_cadmr.errors import UserError

PADDING = "[PAD]"  # RecBole's own id
# What would end a field or a line of an atomic file, or cannot be in one: NUL, lone surrogates.
_UNWRITABLE = re.compile("[\t\r\n\0\ud800-\udfff]")


def read_values(
    interactions: pd.DataFrame, path: Source, options: Options, skipped: SkippedRows
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Interactions with numbers and times in place of their texts, and the steps taken, for the card.

    One whose rating, quantity or time cannot be read is skipped, at most 5 % of a column. What is rated below
    ``--min_rating`` or has no positive quantity is left out.

    Args:
        interactions: ``user_id``, ``item_id`` and, if known, ``rating``, ``quantity`` and ``timestamp``, all text; of
            several files also ``file``, names for messages.
        path: the file they come from, or the first one.

    Raises:
        UserError: if an option needs a column that is missing, or too much of one cannot be read.
    """
    table, steps = interactions.copy(deep=False), {}
    files = table.pop("file").array if "file" in table else None
    whole = path.name if files is None else f"{path.name} and the files after it"
    for option, column in (("min_rating", "rating"), ("time_format", "timestamp")):
        if getattr(options, option) is not None and column not in table:
            raise UserError(f"--{option} needs a {column} of each interaction, which {whole} does not have")
    read = pd.Series(True, index=table.index)
    for name in [name for name in ("rating", "quantity", "timestamp") if name in table]:
        if name == "timestamp":
            times = read_times(table[name], f"the time column of {whole}", options.time_format)
            table[name], usable, steps["times"] = times.values, times.read, times.reading
        else:
            texts = table[name]
            table[name] = _numbers(texts)
            usable = np.isfinite(table[name].to_numpy())
            name_of = f"the {name} of {whole}"
            refuse_unreadable(texts[~usable], int((~usable).sum()), len(table), name_of, "a number")
        for row, user, item in table.loc[read & ~usable, ["user_id", "item_id"]].itertuples():
            file = path.with_name(files[row]) if files is not None and isinstance(path, Path) else path
            skipped.malformed(file, f"the line of {user} and {item}", f"its {name} cannot be read")
        read &= usable
    table = table[read]
    if options.min_rating is not None:
        table = _without(table, table["rating"] < options.min_rating, f"rated below {options.min_rating:g}", skipped)
    if "quantity" in table:
        table = _without(table, table["quantity"] <= 0, "without a positive quantity", skipped).drop(columns="quantity")
    return table.reset_index(drop=True), steps


def _numbers(texts: pd.Series) -> np.ndarray:
    """Texts as float64, NaN where one is no number; each distinct text is read once."""
    places, distinct = distinct_text(arrow_text(texts))
    numbers = pd.to_numeric(pd.Series(distinct.to_pylist(), dtype=object), errors="coerce")
    return numbers.to_numpy(float)[places]


def _without(table: pd.DataFrame, left_out: pd.Series, kind: str, skipped: SkippedRows) -> pd.DataFrame:
    if len(table) and left_out.all():
        raise UserError(f"no interaction is left: all {len(table):,} are {kind}")
    skipped.note(f"interactions {kind}", n=int(left_out.sum()))
    return table[~left_out]


def clean(interactions: pd.DataFrame, skipped: SkippedRows) -> pd.DataFrame:
    """Interactions with usable ids, each pair once: its earliest, in the order given.

    Args:
        interactions: ``user_id``, ``item_id`` (text) and, if known, ``rating`` and ``timestamp`` (numbers).

    Raises:
        UserError: if an id is RecBole's padding token.
    """
    columns = {name: as_category(interactions[name]) for name in ("user_id", "item_id")}
    table = interactions.assign(**columns)
    unusable = np.zeros(len(table), dtype=bool)
    for name, column in columns.items():
        codes, ids = column.codes, column.categories
        wrong = np.array([not text or _UNWRITABLE.search(text) is not None for text in ids] + [True])  # -1: missing
        unusable |= wrong[codes]
        around = np.array([text != text.strip() for text in ids] + [False])
        kind = f"interactions whose {name} has blanks at an end, which are taken for a part of it"
        skipped.note(kind, next((repr(text) for text in ids[around[:-1]]), ""), n=int(around[codes].sum()))
        if PADDING in ids and (codes == ids.get_loc(PADDING)).any():
            raise UserError(f"the {name} '{PADDING}' is RecBole's padding token; rename it in the source")
    skipped.note("interactions without a usable user or item id", n=int(unusable.sum()))
    kept = table[~unusable].reset_index(drop=True)
    users, items = (kept[name].array for name in columns)
    pairs = users.codes.astype(np.int64) * len(items.categories) + items.codes
    several = kept[pd.Series(pairs).duplicated(keep=False)]
    if "timestamp" in several:
        several = several.sort_values("timestamp", kind="stable")
    repeated = several.index[several.duplicated(["user_id", "item_id"])]
    skipped.note("repeated interactions of a user with an item", n=len(repeated))
    return kept.drop(index=repeated).reset_index(drop=True)


def k_core(interactions: pd.DataFrame, k: int, steps: dict[str, str] | None = None) -> pd.DataFrame:
    """The largest part in which every user and every item has at least ``k`` interactions.

    Args:
        steps: gets an entry that says what was removed.

    Raises:
        UserError: if nothing is left.
    """
    codes = [pd.factorize(interactions[name])[0].astype(np.int32) for name in ("user_id", "item_id")]
    kept, rounds = np.arange(len(interactions)), 0
    while len(kept):
        enough = np.ones(len(kept), dtype=bool)
        for code in codes:
            enough &= np.bincount(code[kept])[code[kept]] >= k
        if enough.all():
            if steps is not None:
                steps["k-core"] = str(k) + _taken(codes, kept, rounds)
            return interactions.iloc[kept].reset_index(drop=True)
        kept, rounds = kept[enough], rounds + 1
    raise UserError(
        f"no interaction is left: none of the {len(interactions):,} lies in a {k}-core; give a smaller --k_core"
        if len(interactions)
        else "no interaction is left: nothing that was read can be used"
    )


def is_usable(item: str) -> bool:
    """Whether a text can be an id of a data set."""
    return bool(item) and item != PADDING and not _UNWRITABLE.search(item)


def new_items(catalogue: Iterable[str], items: Iterable[str], skipped: SkippedRows) -> list[str]:
    """The ids of a catalogue, sorted, that are not among ``items`` and can stand in a data set."""
    others = set(catalogue).difference(items)
    usable = set(filter(is_usable, others))
    skipped.note("items without interactions and without a usable id", n=len(others - usable))
    return sorted(usable)


def _taken(codes: list[np.ndarray], kept: np.ndarray, rounds: int) -> str:
    if not rounds:
        return ""
    users, items = (len(np.unique(code)) - len(np.unique(code[kept])) for code in codes)
    n = len(codes[0]) - len(kept)
    return f", which removed {users:,} users, {items:,} items and {n:,} interactions in {rounds} rounds"
