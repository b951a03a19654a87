"""A column of times, read one way: numbers, dates, or both."""

from __future__ import annotations

import re
from calendar import month_name
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_cadmr.data.text_columns import arrow_text
from recbole_cadmr.data.times_at_once import EARLIEST, distinct_times, iso_seconds, whole_numbers
from recbole_cadmr.errors import UserError

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # in nanoseconds
# Which of the three numbers of a date is the year, the month and the day.
_ORDERS = {"day-first": (2, 1, 0), "month-first": (2, 0, 1), "iso": (0, 1, 2)}
_IN_WORDS = {"day-first": "day first", "month-first": "month first", "iso": "year first"}
FORMATS = (*UNITS, *_ORDERS)
_SHARE = 0.05  # of unreadable values that a column may have
_SHOWN = 3

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?")
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?(?:\s*(?P<half>[AP])\.?M\.?)?"
    r"(?:\s*(?P<zone>Z|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|UTC|GMT))?(?:\s*\([A-Z]+\))?"
)
_THEN = rf"(?:(?:T|,?\s+){_CLOCK})?"
# A date without separators, which is a number, too.
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?")
ZONED = re.compile(r":\d\d.*(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)", re.IGNORECASE)
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
    text = arrow_text(texts)
    if how is None or how in _ORDERS:
        instants = iso_seconds(text)
        if instants is not None:
            return Times(instants, np.ones(len(instants), dtype=bool), "dates, as s since 1970")
    kind, number = whole_numbers(text) if how is None or how in FORMATS else (np.zeros(len(text), dtype=np.int8), None)
    while True:
        codes, unique, rows = distinct_times(text, kind)
        column = _Column(unique, rows, name, option)
        if how is None or how in FORMATS:
            values, reading = column.read(how)
        elif "%" in how:
            values, reading = _by_format(unique, how, option), f"by the format {how}"
        else:
            raise UserError(f"{option} is one of {', '.join(FORMATS)}, or a format such as %d.%m.%Y, not {how!r}")
        if not reading.startswith("dates") or not kind.any():
            break
        kind[:] = 0  # numbers among dates are converted, each by itself
    known = np.array([value is not None for value in values], dtype=bool)
    n_bad, advice = int(rows[~known].sum()), f", or say how it is to be read with {option}"
    read = known[codes]
    refuse_unreadable(_first_unread(text, read), n_bad, len(codes), name, "a time", advice)
    whole = all(isinstance(value, int) for value in values if value is not None)
    numbers = np.array([0 if value is None else value for value in values], dtype=np.int64 if whole else object)[codes]
    as_they_stand = read & (kind > 0)
    if number is not None and as_they_stand.any():
        numbers[as_they_stand] = number[as_they_stand]
    return Times(numbers, read, reading)


def _first_unread(text: pa.ChunkedArray, read: np.ndarray) -> Iterator[str]:
    yield from (one.strip() for one in pc.unique(text.filter(pa.array(~read))).to_pylist())


def refuse_unreadable(bad: Iterable[str], n: int, of: int, name: str, what: str, advice: str = "") -> None:
    """Raise :class:`UserError` if ``n`` unreadable values ``of`` a column are more than 5 %; a single one is not."""
    if n and (n == of or (n > 1 and n > _SHARE * of)):
        shown = ", ".join(repr(text[:50]) for text, _ in zip(bad, range(_SHOWN)))
        raise UserError(
            f"{n:,} of {of:,} values of {name} cannot be read as {what}, such as {shown}; correct or leave out the "
            f"column{advice}"
        )


@dataclass(frozen=True)
class _Column:
    """The distinct texts of a column, in how many rows each stands, its name, and where a user says how to read it."""

    texts: Sequence[str]
    rows: np.ndarray
    name: str
    option: str

    def read(self, how: str | None) -> tuple[list[int | Decimal | None], str]:
        """What the texts mean, None for what cannot be read, and how they were read."""
        numbers, n_rows = [_number(text) for text in self.texts], int(self.rows.sum())
        units = [None if number is None else _unit_of(number) for number in numbers]
        if how in UNITS:
            return [n if own in (how, None) else None for n, own in zip(numbers, units)], f"numbers ({how})"
        if how is None:
            lengths = (str(len(text)) if _COMPACT.fullmatch(text) else None for text in self.texts)
            told = "holds dates without separators of different lengths, such as {0} and {1}; write all in one way"
            self._commonest(lengths, n_rows, told)
        dates = [None if number is not None or not text else _dates(text) for text, number in zip(self.texts, numbers)]
        told = "holds times in different units, such as {0} ({2}) and {1} ({3}); write them in one unit"
        unit = self._commonest(units, n_rows, told)
        fits = [own in (unit, None) for own in units]
        if any(dates):  # a number that looks like one may be one, but is no time since 1970
            fits = [fit and not _COMPACT.fullmatch(text) for fit, text in zip(fits, self.texts)]
        elif unit is not None and how is None and 2 * self._count(units) > n_rows:
            fits = [own == unit for own in units]  # numbers too small for a clock stand for something else: 0 for none
        if not any(dates):
            return [number if fit else None for number, fit in zip(numbers, fits)], "numbers as they stand"
        if unit is None and self._count(numbers) > self._count(dates):
            return numbers, "numbers as they stand"  # not of a clock: a date has no place among them
        if how is None:
            zones = ("zoned" if ZONED.search(text) else "plain" for text in self.texts)
            told = (
                "has times with zones, such as {zoned!r}, and without, such as {plain!r}; write all in one way, or "
                f"take the latter as UTC with {self.option} iso, day-first or month-first"
            )
            self._commonest((zone if dated else None for zone, dated in zip(zones, dates)), self._count(dates), told)
        order = how or self._order(dates)
        instants = [
            int(number * UNITS[own]) if number is not None and own and fit else (dated or {}).get(order)
            for number, own, fit, dated in zip(numbers, units, fits, dates)
        ]
        settled = all(len({*dated.values()}) == 1 and len(dated) == len(_ORDERS) for dated in dates if dated)
        return _in_one_unit(instants, "dates" if settled else f"dates, {_IN_WORDS[order]}")

    def _count(self, kept: Iterable[object]) -> int:
        """Rows whose text is something other than None."""
        return int(self.rows[[entry is not None for entry in kept]].sum())

    def _commonest(self, kinds: Iterable[str | None], of: int, complaint: str) -> str | None:
        """The kind of all texts but a few; None is no kind.

        Raises:
            UserError: if more than a few, in proportion to so many, are of another: the complaint with the first texts
                of the two commonest kinds, and these.
        """
        counts: Counter[str] = Counter()
        example: dict[str, str] = {}
        for text, kind, n in zip(self.texts, kinds, self.rows):
            if kind is not None:
                counts[kind] += int(n)
                example.setdefault(kind, text)
        ranked = [kind for kind, _ in counts.most_common()]
        if sum(counts[kind] for kind in ranked[1:]) > max(1, _SHARE * of):
            texts = [example[kind] for kind in ranked[:2]]
            raise UserError(f"{self.name} {complaint.format(*texts, *ranked[:2], **example)}")
        return ranked[0] if ranked else None

    def _order(self, dates: Sequence[Readings | None]) -> str:
        """The order of numbers under which the column's dates can be read.

        Raises:
            UserError: if it leaves that open.
        """
        readings = [(text, dated, int(n)) for text, dated, n in zip(self.texts, dates, self.rows) if dated]
        best = max(_ORDERS, key=lambda order: sum(n for _, dated, n in readings if order in dated))
        for other in (order for order in _ORDERS if order != best):
            against = [(text, n) for text, dated, n in readings if best not in dated and other in dated]
            speaking = [(text, n) for text, dated, n in readings if other not in dated]
            if speaking and sum(n for _, n in against) <= _SHARE * sum(n for _, n in speaking):
                continue
            both = ((text, dated[best], dated[other]) for text, dated, _ in readings if {best, other} <= dated.keys())
            text, one, another = next((clash for clash in both if clash[1] != clash[2]), ("", 0, 0))
            if text:
                clash = f"{text!r} is {_shown(one)} {_IN_WORDS[best]} and {_shown(another)} {_IN_WORDS[other]}"
            elif against:
                clash = f"{speaking[0][0]!r} is written {_IN_WORDS[best]} and {against[0][0]!r} {_IN_WORDS[other]}"
            else:
                continue
            raise UserError(
                f"{self.name} can be read in more than one way: {clash}; say which with {self.option} {best} or "
                f"{self.option} {other}"
            )
        return best


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
    if size < EARLIEST:
        return None
    return "s" if size < 10**11 else "ms" if size < 10**14 else "us" if size < 10**17 else "ns"


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
