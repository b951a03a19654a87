"""Intervals as RecBole writes them, such as ``[3,inf)`` or ``(0,5];[8,8]``, whose ends lose no digit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd

from recbole_cadmr.errors import UserError

_INTERVAL = re.compile(r"\s*([\[(])([^,;\[\]()]*),([^,;\[\]()]*)([\])])\s*")


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
        try:
            low, high = (Decimal(match[end].strip()) for end in (2, 3)) if match else (Decimal("nan"),) * 2
        except InvalidOperation:
            low = high = Decimal("nan")
        if match is None or low.is_nan() or high.is_nan():
            raise UserError(f"an interval is written as in [3,5] or [3,inf), not {part.strip()!r:.60}")
        interval = Interval(low, high, match[1] == "[", match[4] == "]")
        if low > high or (low == high and not (interval.with_low and interval.with_high)):
            raise UserError(f"no number lies in the interval {part.strip()!r:.60}")
        intervals.append(interval)
    return intervals


def within(values: pd.Series, intervals: list[Interval]) -> np.ndarray:
    """Whether each of the values lies in one of the intervals."""
    return np.logical_or.reduce([interval.holds(values).to_numpy(dtype=bool) for interval in intervals])
