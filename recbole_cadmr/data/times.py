"""A column of times, read one way: numbers, dates, or both."""

from __future__ import annotations

import re
from calendar import month_name
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd

from recbole_cadmr.errors import UserError

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # in nanoseconds
# Which of the three numbers of a date is the year, the month and the day.
_ORDERS = {"day-first": (2, 1, 0), "month-first": (2, 0, 1), "iso": (0, 1, 2)}
_IN_WORDS = {"day-first": "day first", "month-first": "month first", "iso": "year first"}
FORMATS = (*UNITS, *_ORDERS)
_SHARE = 0.05  # of unreadable values that a column may have
_EARLIEST = 10**8  # seconds from which on a number is surely one of a clock: March 1973
_SHOWN = 3

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?")
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?(?:\s*(?P<half>[AP])\.?M\.?)?"
    r"(?:\s*(?P<zone>Z|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|UTC|GMT))?(?:\s*\([A-Z]+\))?"
)
_THEN = rf"(?:(?:T|,?\s+){_CLOCK})?"
# A date without separators, which is a number, too.
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?")
_ZONED = re.compile(r":\d\d.*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)", re.IGNORECASE)
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?"
_DATES = [
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf"(?P<year>\d{{4}})(?P<sep>[-/.])(?P<month>\d{{1,2}})(?P=sep)(?P<day>\d{{1,2}}){_THEN}",
        rf"(?P<a>\d{{1,2}})(?P<sep>[-/. ])(?P<b>\d{{1,2}})(?:(?P=sep)|, )(?P<c>\d{{4}}|\d{{2}}){_THEN}",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-/. ]\s*(?P<name>[a-z]{{3,9}})\.?,?[-/. ]\s*"
        rf"(?P<year>\d{{4}}|\d{{2}}){_THEN}",
        rf"{_WEEKDAY}(?P<name>[a-z]{{3,9}})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_THEN}",
        rf"{_WEEKDAY}(?P<name>[a-z]{{3,9}})\s+(?P<day>\d{{1,2}})\s+{_CLOCK}\s+(?P<year>\d{{4}})",
    )
]
_MONTH = {name[:n].lower(): at for at, name in enumerate(month_name) for n in (3, len(name)) if name} | {"sept": 9}

# Nanoseconds since 1970 by the order of a date's numbers; a date that has one order alone has it under each.
Readings = Mapping[str, int]


@dataclass(frozen=True)
class Times:
    """Times as numbers.

    Attributes:
        values: int64, or Decimal where there are fractions that no whole unit holds; 0 where none could be read.
        read: which could be read.
        reading: how, in words.
    """

    values: np.ndarray
    read: np.ndarray
    reading: str


def read_times(texts: Iterable[str], name: str, how: str | None = None, option: str = "--time_format") -> Times:
    """Times from text; numbers stay as they are, dates become seconds since 1970 (UTC), or the unit that holds all.

    Numbers among dates are taken for seconds, milli-, micro- or nanoseconds by their size. Whether days or months come
    first is found from the whole column. Dates without a zone are read as UTC.

    Args:
        name: of the column, for messages.
        how: one of :data:`FORMATS` or a format of ``strptime``, instead of what is found.
        option: where a user says ``how``.

    Raises:
        UserError: if the column can be read in two ways, or more than 5 % of it cannot be read at all.
    """
    codes, unique = pd.factorize(pd.Series(texts, dtype=object).fillna(""))
    unique = [text.strip() for text in unique]
    rows = np.bincount(codes, minlength=len(unique))
    if how is None or how in FORMATS:
        values, reading = _read(unique, rows, name, how, option)
    elif "%" in how:
        values, reading = _by_format(unique, how, option), f"by the format {how}"
    else:
        raise UserError(f"{option} is one of {', '.join(FORMATS)}, or a format such as %d.%m.%Y, not {how!r}")
    read = np.array([value is not None for value in values], dtype=bool)
    n_bad, advice = int(rows[~read].sum()), f", or say how it is to be read with {option}"
    refuse_unreadable((unique[at] for at in np.flatnonzero(~read)), n_bad, len(codes), name, "a time", advice)
    whole = all(isinstance(value, int) for value in values if value is not None)
    numbers = np.array([0 if value is None else value for value in values], dtype=np.int64 if whole else object)
    return Times(numbers[codes], read[codes], reading)


def refuse_unreadable(bad: Iterable[str], n: int, of: int, name: str, what: str, advice: str = "") -> None:
    """Raise :class:`UserError` if ``n`` unreadable values ``of`` a column are more than 5 %; a single one is not."""
    if n and (n == of or (n > 1 and n > _SHARE * of)):
        shown = ", ".join(repr(text[:50]) for text, _ in zip(bad, range(_SHOWN)))
        raise UserError(
            f"{n:,} of {of:,} values of {name} cannot be read as {what}, such as {shown}; correct or leave out the "
            f"column{advice}"
        )


def _read(
    unique: Sequence[str], rows: np.ndarray, name: str, how: str | None, option: str
) -> tuple[list[int | Decimal | None], str]:
    numbers = [_number(text) for text in unique]
    if how in UNITS:
        fit_all = (number is None or _unit_of(number) in (how, None) for number in numbers)
        return [number if fit else None for number, fit in zip(numbers, fit_all)], f"numbers ({how})"
    if how is None:
        _refuse_mixed_lengths(unique, rows, name)
    dates = [None if number is not None or not text else _dates(text) for text, number in zip(unique, numbers)]
    unit = _unit(unique, numbers, rows, name)
    fits = [number is None or _unit_of(number) in (unit, None) for number in numbers]
    if any(dates):  # a number that looks like one may be one, but is no time since 1970
        fits = [fit and not _COMPACT.fullmatch(text) for fit, text in zip(fits, unique)]
    elif unit is not None and how is None:
        of_clock = np.array([number is not None and _unit_of(number) is not None for number in numbers])
        if 2 * rows[of_clock].sum() > rows.sum():  # numbers too small for a clock stand for something else: 0 for none
            fits = [fit and bool(clock) for fit, clock in zip(fits, of_clock)]
    if not any(dates):
        return [number if fit else None for number, fit in zip(numbers, fits)], "numbers as they stand"
    n_numbers, n_dates = (int(rows[[entry is not None for entry in kind]].sum()) for kind in (numbers, dates))
    if unit is None and n_numbers > n_dates:
        return numbers, "numbers as they stand"  # not of a clock: a date has no place among them
    if how is None:
        _refuse_mixed_zones(unique, dates, rows, name, option)
    order = how or _order(unique, dates, rows, name, option)
    instants: list[int | None] = [
        dated.get(order) if dated else None if number is None or not unit or not fit or not _unit_of(number)
        else int(number * UNITS[unit])
        for dated, number, fit in zip(dates, numbers, fits)
    ]  # fmt: skip
    settled = all(len({*dated.values()}) == 1 and len(dated) == len(_ORDERS) for dated in dates if dated)
    return _in_one_unit(instants, "dates" if settled else f"dates, {_IN_WORDS[order]}")


def _refuse_mixed_lengths(unique: Sequence[str], rows: np.ndarray, name: str) -> None:
    """Raise :class:`UserError` if dates without separators, more than a few, are of different lengths."""
    counts: Counter[int] = Counter()
    example: dict[int, str] = {}
    for text, n in zip(unique, rows):
        if _COMPACT.fullmatch(text):
            counts[len(text)] += int(n)
            example.setdefault(len(text), text)
    if counts and sum(counts.values()) - max(counts.values()) > max(1, _SHARE * sum(rows)):
        (one, _), (other, _) = counts.most_common(2)
        raise UserError(
            f"{name} holds dates without separators of different lengths, such as {example[one]} and {example[other]}; "
            f"write all in one way"
        )


def _refuse_mixed_zones(
    unique: Sequence[str], dates: Sequence[Readings | None], rows: np.ndarray, name: str, option: str
) -> None:
    """Raise :class:`UserError` if some of a column's dates have a zone and others, more than a few, none."""
    kinds: dict[bool, list[tuple[str, int]]] = {True: [], False: []}
    for text, dated, n in zip(unique, dates, rows):
        if dated:
            kinds[bool(_ZONED.search(text))].append((text, int(n)))
    zoned, plain = (sum(n for _, n in kinds[kind]) for kind in (True, False))
    if min(zoned, plain) > max(1, _SHARE * (zoned + plain)):
        raise UserError(
            f"{name} has times with zones, such as {kinds[True][0][0]!r}, and without, such as {kinds[False][0][0]!r}; "
            f"write all in one way, or take the latter as UTC with {option} iso, day-first or month-first"
        )


def _number(text: str) -> int | Decimal | None:
    if not _NUMBER.fullmatch(text):
        return None
    if text.isdecimal():
        number: int | Decimal = int(text)
    else:
        exact = Decimal(text)
        number = int(exact) if exact == exact.to_integral_value() else exact
    return number if -(2**63) < number < 2**63 else None


def _unit_of(number: int | Decimal) -> str | None:
    """The unit in which a number is a time between 1973 and 5138, None for smaller ones."""
    size = abs(int(number))
    if size < _EARLIEST:
        return None
    return "s" if size < 10**11 else "ms" if size < 10**14 else "us" if size < 10**17 else "ns"


def _unit(unique: Sequence[str], numbers: Sequence[int | Decimal | None], rows: np.ndarray, name: str) -> str | None:
    """The unit of all numbers but a few; None if they are too small to tell."""
    counts: Counter[str] = Counter()
    example: dict[str, str] = {}
    for text, number, n in zip(unique, numbers, rows):
        unit = None if number is None else _unit_of(number)
        if unit:
            counts[unit] += int(n)
            example.setdefault(unit, text)
    if not counts:
        return None
    (unit, most), *others = counts.most_common()
    if others and sum(counts.values()) - most > max(1, _SHARE * sum(rows)):
        raise UserError(
            f"{name} holds times in different units, such as {example[unit]} ({unit}) and {example[others[0][0]]} "
            f"({others[0][0]}); write them in one unit"
        )
    return unit


def _dates(text: str) -> Readings | None:
    """What a date can mean, None if it is none."""
    for pattern in _DATES:
        match = pattern.fullmatch(text)
        if match:
            break
    else:
        return None
    part = match.groupdict()
    clock = _clock(part)
    if clock is None:
        return None
    if part.get("a"):
        three = (part["a"], part["b"], part["c"])
        asked = {order: tuple(three[at] for at in places) for order, places in _ORDERS.items()}
        if len(part["c"]) == 4:
            del asked["iso"]
    else:
        month = part.get("month") or str(_MONTH.get(part["name"].lower(), 0))
        asked = dict.fromkeys(_ORDERS, (part["year"], month, part["day"]))
    days = {order: _day(*numbers) for order, numbers in asked.items()}
    return {order: day * 86_400 * 10**9 + clock for order, day in days.items() if day is not None} or None


def _day(year: str, month: str, day: str) -> int | None:
    """Days since 1970; years of two digits lie between 1969 and 2068."""
    full = int(year) if len(year) == 4 else int(year) + (1900 if int(year) > 68 else 2000)
    try:
        return date(full, int(month), int(day)).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None


def _clock(part: Mapping[str, str | None]) -> int | None:
    """Nanoseconds since midnight, UTC; None if there is no such time of day."""
    if part["hour"] is None:
        return 0
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    if part["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (part["half"] in "pP")
    if hour > 23 or minute > 59 or second > 60:  # 60: a leap second
        return None
    zone = re.sub("[a-z:]", "", part["zone"] or "", flags=re.IGNORECASE)
    ahead = int(f"{zone[0]}1") * (int(zone[1:3]) * 60 + int(zone[3:] or 0)) if zone else 0
    return ((hour * 60 + minute - ahead) * 60 + second) * 10**9 + int((part["part"] or "").ljust(9, "0"))


def _order(unique: Sequence[str], dates: Sequence[Readings | None], rows: np.ndarray, name: str, option: str) -> str:
    """The order of numbers under which the column's dates can be read.

    Raises:
        UserError: if it leaves that open.
    """
    readings = [(text, dated, int(n)) for text, dated, n in zip(unique, dates, rows) if dated]
    best = max(_ORDERS, key=lambda order: sum(n for _, dated, n in readings if order in dated))
    for other in (order for order in _ORDERS if order != best):
        against = [(text, n) for text, dated, n in readings if best not in dated and other in dated]
        speaking = [(text, n) for text, dated, n in readings if other not in dated]
        if speaking and sum(n for _, n in against) <= _SHARE * sum(n for _, n in speaking):
            continue
        open_ones = ((t, dated) for t, dated, _ in readings if best in dated and other in dated)
        text, dated = next(((t, dated) for t, dated in open_ones if dated[best] != dated[other]), ("", {}))
        if text:
            clash = f"{text!r} is {_shown(dated[best])} {_IN_WORDS[best]} and {_shown(dated[other])} {_IN_WORDS[other]}"
        elif against:
            clash = f"{speaking[0][0]!r} is written {_IN_WORDS[best]} and {against[0][0]!r} {_IN_WORDS[other]}"
        else:
            continue
        raise UserError(
            f"{name} can be read in more than one way: {clash}; say which with {option} {best} or {option} {other}"
        )
    return best


def _shown(instant: int) -> str:
    return str(date.fromordinal(instant // (86_400 * 10**9) + date(1970, 1, 1).toordinal()))


def _in_one_unit(instants: Sequence[int | None], reading: str) -> tuple[list[int | Decimal | None], str]:
    """Nanoseconds in the largest unit that holds them all, whole."""
    unit = next(unit for unit, size in UNITS.items() if all(i is None or i % size == 0 for i in instants))
    values = [None if instant is None else instant // UNITS[unit] for instant in instants]
    # Nanoseconds end in 2262.
    return [v if v is not None and abs(v) < 2**63 else None for v in values], f"{reading}, as {unit} since 1970"


def _by_format(unique: Sequence[str], how: str, option: str) -> list[int | Decimal | None]:
    try:
        # pandas takes "now" and "today" for this moment, whatever the format.
        texts = pd.Series([text if any(map(str.isdigit, text)) else None for text in unique], dtype=object)
        dates = pd.DatetimeIndex(pd.to_datetime(texts, format=how, errors="coerce", utc=True))
    except ValueError as error:
        raise UserError(f"{option} {how!r} is no format of strptime: {error}") from error
    instants = [None if missing else int(value) for value, missing in zip(dates.as_unit("ns").asi8, dates.isna())]
    return _in_one_unit(instants, "")[0]
