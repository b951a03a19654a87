"""Columns of numbers and dates, and intervals of them, in the precision of the file.

RecBole's tensors hold float32, which resolves seconds of this century to two minutes, and float64 cannot hold
nanoseconds. What is compared (times, ends of intervals) is compared as written in the file.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_cadmr.data.text_columns import arrow_text
from recbole_cadmr.data.times import ZONED, read_times
from recbole_cadmr.errors import UserError

_SAFE_DIGITS = 15  # decimals of so many digits stay apart, and in order, in float64
_END = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,6})?|[+-]?inf(?:inity)?)\s*"
_INTERVAL = re.compile(rf"\s*([\[(]){_END},{_END}([\])])\s*", re.IGNORECASE)


def numbers(path: Path, text: pd.Series) -> pd.Series:
    """The numbers of a column of text as float64, NaN where it is empty; its index says which line.

    Raises:
        UserError: on anything else, naming the line.
    """
    with suppress(pa.ArrowInvalid):
        filled = pc.replace_substring_regex(arrow_text(text), "^$", "nan")
        if not pc.any(pc.match_substring(filled, "(")).as_py():  # Arrow takes nan(1) for a number
            return pd.Series(np.array(filled.cast(pa.float64())), text.index, name=text.name)
    text = text.astype(object).where(text != "", "nan")
    try:
        return text.astype(np.float64)
    except ValueError as error:
        wrong = pd.to_numeric(text, errors="coerce").isna() & (text.str.lower() != "nan")
        line, value = wrong.idxmax() + 2, text[wrong].iloc[0]
        raise UserError(f"{path} line {line} is malformed: {text.name} cannot be {value!r:.60}") from error


def exact_numbers(path: Path, text: pd.Series) -> pd.Series:
    """The numbers of a column of text, without its missing ones: int64 or uint64, else float64 if that keeps all of
    them distinct, else :class:`Decimal` objects.

    Raises:
        UserError: as of :func:`numbers`.
    """
    present = text[numbers(path, text).notna()]
    whole = pd.to_numeric(present, errors="coerce")
    if whole.dtype.kind in "iu":
        return whole
    if not len(present) or present.str.len().max() <= _SAFE_DIGITS:
        return present.astype(np.float64)
    return present.map(Decimal)


def exact_dates(path: Path, text: pd.Series) -> pd.Series:
    """The dates of a column of text, without its missing ones, as whole numbers or :class:`Decimal` objects.

    Raises:
        UserError: if a value is no date, if the column leaves open which of its numbers is the month, or if some dates
            have a time zone and others have none.
    """
    dates = text[text != ""]
    digits = dates.str.fullmatch(r"[+-]?\d+(?:\.\d*)?")
    if digits.any():
        raise UserError(
            f"{path} line {digits.idxmax() + 2}: {text.name} is {dates[digits].iloc[0]!r:.60}, a number in a column of "
            f"tokens; name the column {text.name}:float in the header for an order of time"
        )
    times = read_times(dates, f"{text.name} of {path}", option="the --time_format of prepare files")
    if not times.read.all():
        line = dates.index[~times.read][0]
        raise UserError(
            f"{path} line {line + 2}: {text.name} is {dates[line]!r:.60}, which is no date as in 2024-01-31 or "
            f"2024-01-31T12:30:00; there is no order of time without one"
        )
    zoned = dates.str.contains(ZONED)
    if zoned.any() and not zoned.all():
        raise UserError(
            f"{path}: {text.name} has a time zone in line {zoned.idxmax() + 2} and none in line "
            f"{(~zoned).idxmax() + 2}; write all of its dates in one way"
        )
    return pd.Series(times.values, dates.index)


@dataclass(frozen=True)
class Interval:
    """The numbers between two ends, either of which may belong to it."""

    low: Decimal
    high: Decimal
    with_low: bool
    with_high: bool

    def holds(self, values: pd.Series) -> pd.Series:
        """Whether each of the values lies in the interval; whole numbers are compared as such."""
        low: Decimal | float = self.low
        high: Decimal | float = self.high
        if values.dtype.kind == "f":
            low, high = float(low), float(high)
        else:
            values = values.astype(object)  # Python compares them with the ends to the last digit
        return (values >= low if self.with_low else values > low) & (
            values <= high if self.with_high else values < high
        )


def parse_intervals(text: str) -> list[Interval]:
    """The intervals of a setting, joined by ``;``.

    Raises:
        UserError: if the text is something else, or an interval is empty.
    """
    intervals = []
    for part in text.split(";"):
        match = _INTERVAL.fullmatch(part)
        if match is None:
            raise UserError(f"an interval is written as in [3,5] or [3,inf), not {part.strip()!r:.60}")
        low, high = Decimal(match[2]), Decimal(match[3])
        interval = Interval(low, high, match[1] == "[", match[4] == "]")
        if low > high or (low == high and not (interval.with_low and interval.with_high)):
            raise UserError(f"no number lies in the interval {part.strip()!r:.60}")
        intervals.append(interval)
    return intervals


def within(values: pd.Series, intervals: list[Interval]) -> np.ndarray:
    """Whether each of the values lies in one of the intervals."""
    return np.logical_or.reduce([interval.holds(values).to_numpy(dtype=bool) for interval in intervals])
