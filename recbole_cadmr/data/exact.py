"""Columns of numbers and dates in the precision of the file.

RecBole's tensors hold float32, which resolves seconds of this century to two minutes, and float64 cannot hold
nanoseconds. What is compared (times, ends of intervals) is compared as written in the file.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_cadmr.data.times import ZONED, read_times
from recbole_cadmr.errors import UserError

_SAFE_DIGITS = 15  # decimals of so many digits stay apart, and in order, in float64


def numbers(path: Path, text: pd.Series) -> pd.Series:
    """The numbers of a column of text as float64, NaN where it is empty; its index says which line.

    Raises:
        UserError: on anything else, naming the line.
    """
    text = text.where(text != "", "nan")
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
