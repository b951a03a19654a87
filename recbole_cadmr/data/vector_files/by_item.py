"""Vectors of a data set's items, out of a file that may hold others, in another order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from recbole_cadmr.arrays import as_type
from recbole_cadmr.data.prepare.content import Features
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.vector_files.block import Block
from recbole_cadmr.data.vector_files.row_ids import RowIds
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import rows_aside

_SHOWN = 3  # ids of each side, where none agree


def vectors_of_items(
    name: str,
    source: Path,
    blocks: Iterable[Block],
    row_ids: RowIds,
    items: Sequence[str],
    target: Path,
    skipped: SkippedRows,
) -> Features:
    """Write the vectors of ``items`` to ``target``, float16 if they are so in the file, else float32.

    Args:
        name: of the modality.
        source: where ``blocks`` are from.
        row_ids: of rows that have none of their own.

    Raises:
        UserError: if a vector that is used is not finite as float32, an id is there twice or empty, none is an item's,
            rows without ids are too few or too many, or all vectors are zeros.
    """
    waiting = iter(blocks)
    first = next(waiting)
    if first.ids is not None and row_ids.option:
        raise UserError(f"{source} names its items itself; leave out {row_ids.option}")
    width, dtype = first.rows.shape[1], "float16" if first.rows.dtype == np.float16 else "float32"
    place_of = {item: place for place, item in enumerate(items)}
    present, given = np.zeros(len(items), dtype=bool), np.zeros(len(items), dtype=bool)
    unknown: list[str] = []
    with rows_aside(target, dtype, (len(items), width)) as put:
        for ids, rows in _each_once(source, _with_ids(source, first, waiting, row_ids)):
            places = np.array([place_of.get(item, -1) for item in ids])
            own = np.flatnonzero(places >= 0)
            unknown += [ids[row] for row in np.flatnonzero(places < 0)]
            kept, bad = as_type(rows[own], dtype)
            if bad is not None:
                item = ids[own[bad]]
                raise UserError(f"{source}: the vector of '{item:.100}' holds NaN or infinite numbers (as float32)")
            put(places[own], kept)
            given[places[own]], present[places[own]] = True, kept.any(axis=1)
        if not given.any():
            there, here = (", ".join(map(repr, some[:_SHOWN])) for some in (unknown, items))
            raise UserError(
                f"no id of {source} is an item of the data set: the ids are such as {there} there and {here} here, and "
                f"must match"
            )
        if not present.any():
            raise UserError(f"{source} holds only zeros for the items of the data set, which say nothing of them")
    for item in unknown:
        skipped.note(f"vectors of {name} whose id is no item of the data set", item)
    skipped.note(f"items whose {name} vector is zeros, so that they lack {name}", n=int((given & ~present).sum()))
    skipped.note(f"items without a vector, which lack {name}", n=int((~given).sum()))
    if first.ids is None and row_ids.said:
        skipped.remark(f"{source.name} names no ids: {row_ids.said}")
    at = np.flatnonzero(present)
    return Features(name, [items[place] for place in at], target, at, made_by=f"the user: {source.name}")


_Rows = Iterator[tuple[list[str], np.ndarray]]  # ids, and the vectors of these


def _each_once(source: Path, blocks: _Rows) -> _Rows:
    """The same; :class:`UserError` at an id that is there twice or empty."""
    seen: set[str] = set()
    for ids, rows in blocks:
        for item in ids:
            if item in seen or not item:
                what = f"names '{item:.100}' twice" if item else "has a row without an id"
                raise UserError(f"{source} {what}; it needs one vector of each item")
            seen.add(item)
        yield ids, rows


def _with_ids(source: Path, first: Block, others: Iterator[Block], row_ids: RowIds) -> _Rows:
    """Rows with their ids; of rows without, when they have all been read, whether they are as many."""
    n = 0
    for block in chain([first], others):
        if block.ids is not None:
            yield block.ids, block.rows
        else:
            ids = row_ids.of(n, len(block.rows))
            if len(ids) == len(block.rows):
                yield ids, block.rows
            n += len(block.rows)
    if first.ids is None:
        row_ids.check(source, n, not first.rows[0].any())
