"""Times of many rows at once, where they are written alike: an object a row would not fit in memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_cadmr.data.text_columns import distinct_text

EARLIEST = 10**8  # seconds from which on a number is surely one of a clock: March 1973
# Numbers that may be dates without separators: of days, minutes and seconds.
_COMPACT_NUMBERS = tuple((19000101 * 10**n, 20991232 * 10**n) for n in (0, 4, 6))
_ISO = "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-5][0-9]:[0-5][0-9]$"


def iso_seconds(text: pa.ChunkedArray) -> np.ndarray | None:
    """Seconds since 1970 of a column of nothing but dates such as ``2024-01-31 12:30:00``, at once; else None."""
    if not len(text) or not pc.all(pc.match_substring_regex(text, _ISO)).as_py():
        return None
    try:
        return pc.cast(text, pa.timestamp("s")).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:  # no such day
        return None


def whole_numbers(text: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Which texts are whole numbers that are no dates, by size (1 to 5, 0 for other texts), and these numbers.

    Those of one size are read alike, so that one of them can stand for all; there may be one a row.
    """
    plain = pc.match_substring_regex(text, "^[0-9]{1,18}$").to_numpy()
    number = np.zeros(len(text), dtype=np.int64)
    number[plain] = pc.cast(text.filter(pa.array(plain)), pa.int64()).to_numpy()
    for low, high in _COMPACT_NUMBERS:
        plain &= (number < low) | (number > high)
    size = np.searchsorted([EARLIEST, 10**11, 10**14, 10**17], number, side="right").astype(np.int8) + 1
    return np.where(plain, size, 0).astype(np.int8), number


def distinct_times(text: pa.ChunkedArray, kind: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Of each row the place of its text among the distinct ones, these in order, and how many rows each has.

    Of the rows of a ``kind`` other than 0, the first text stands for all.
    """
    others = np.flatnonzero(kind == 0)
    places, texts = distinct_text(text.filter(pa.array(kind == 0)))
    codes = kind + np.int32(len(texts) - 1)
    codes[others] = places
    place, first, rows = np.unique(codes, return_index=True, return_counts=True)
    order = np.argsort(first)
    rank = np.zeros(len(texts) + 6, dtype=np.int32)
    rank[place[order]] = np.arange(len(order))
    unique = [one.strip() for one in text.take(pa.array(first[order])).to_pylist()]
    return rank[codes], unique, rows[order]
