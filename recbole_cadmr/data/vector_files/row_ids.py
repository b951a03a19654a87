"""Which item each row of a file belongs to, where the file itself does not say."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_cadmr.arrays import map_array
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import FORMATS, read_rows
from recbole_cadmr.data.vector_files.block import ids_in
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text

_SHOWN = 3  # ids in a message
_NUMBER = re.compile("0|[1-9][0-9]{0,17}")


def in_order(items: Collection[str]) -> list[str]:
    """Items in the order in which rows without ids belong to them: whole numbers by value, other ids as text."""
    return sorted(items, key=int) if _are_numbers(items) else sorted(items)


def read_ids(path: Path, item_column: str) -> list[str]:
    """The ids of rows: of a table its column ``item_column``, of a ``.npy`` file its texts or whole numbers, of other
    files one a line, behind a header ``item_id:token`` if there is one.

    Raises:
        UserError: if the file cannot be read, or names none.
    """
    if path.name.lower().endswith(FORMATS):
        ids = list(map(str, read_rows(path, SkippedRows(strict=True), [item_column])[item_column]))
    elif path.suffix == ".npy":
        array = map_array(path)
        found = ids_in(array)
        if found is None:
            raise UserError(f"{path} must hold ids, texts or whole numbers, not {array.dtype} of shape {array.shape}")
        ids = found
    else:
        ids = [line.removesuffix("\r") for line in read_text(path, "utf-8-sig").removesuffix("\n").split("\n")]
        if ids[0].partition(":")[0] == item_column:
            ids = ids[1:]
    if not any(ids):
        raise UserError(f"{path} holds no ids")
    return ids


def _are_numbers(items: Collection[str]) -> bool:
    """Whether all ids are whole numbers of a usual size, without leading zeros."""
    return all(_NUMBER.fullmatch(item) for item in items)


@dataclass(frozen=True)
class RowIds:
    """Ids of the rows of a file.

    Attributes:
        ids: in the order of the rows; None if row i belongs to the item called i.
        largest: such a number that an item has.
        wanted: what a file needs, for a message.
        option: the one that says so.
        said: what a person should know who gave no such option.
    """

    ids: Sequence[str] | None
    largest: int
    wanted: str
    option: str = ""
    said: str = ""

    @classmethod
    def by_order(cls, items: Sequence[str]) -> RowIds:
        """Rows in the order of the items of a data set, as of :func:`in_order`."""
        order = ", ".join(map(repr, items[:_SHOWN])) + (f", ..., {items[-1]!r}" if len(items) > _SHOWN else "")
        numbers = "; if row i, from 0 on, is that of item i, give --by_number" if _are_numbers(items) else ""
        wanted = f"the data set has {len(items):,} items, {order}: without --ids it needs a row for each in that order"
        return cls(items, 0, wanted + numbers, said=f"its rows were taken as those of the items {order}")

    @classmethod
    def by_file(cls, path: Path, item_column: str) -> RowIds:
        """Rows in the order of the ids in a file."""
        ids = read_ids(path, item_column)
        return cls(ids, 0, f"{path} names {len(ids):,} items; it needs one for each row", option="--ids")

    @classmethod
    def by_number(cls, items: Sequence[str]) -> RowIds:
        """Row i is that of item i, as MMRec has it.

        Raises:
            UserError: if the items are not called by numbers.
        """
        if not _are_numbers(items):
            other = next(item for item in items if not _are_numbers([item]))
            raise UserError(f"--by_number is for items called 0, 1, 2 and so on, and one is called {other!r:.100}")
        largest = max(map(int, items))
        wanted = f"items are numbered up to {largest:,}; with --by_number it needs a row for each number"
        return cls(None, largest, wanted, option="--by_number")

    def of(self, start: int, n: int) -> list[str]:
        """The ids of ``n`` rows; fewer where there are no more."""
        if self.ids is None:
            return [str(number) for number in range(start, start + n)]
        return list(self.ids[start : start + n])

    def check(self, source: Path, n: int, begins_with_zeros: bool) -> None:
        """Raise :class:`UserError` unless ``n`` rows are as many as they must be."""
        if n > self.largest if self.ids is None else n == len(self.ids):
            return
        is_padded = self.ids is not None and n == len(self.ids) + 1 and begins_with_zeros
        padding = "; its first row is all zeros, as of a padding item: leave it out" if is_padded else ""
        raise UserError(f"{source} has {n:,} rows, but {self.wanted}{padding}")
