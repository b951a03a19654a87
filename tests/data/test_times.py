"""Columns of times: one reading for all of it, exact, or a refusal that shows both."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_cadmr.data import times
from recbole_cadmr.data.times import read_times
from recbole_cadmr.errors import UserError

NEW_YEAR = 1_577_836_800  # 2020-01-01
DAY = 86_400


def read(texts, how=None):
    times = read_times(texts, "'t'", how)
    return [value if known else None for value, known in zip(times.values.tolist(), times.read.tolist())]


def test_numbers_stay_as_they_are():
    for numbers in (
        ["3", "1", "2"],
        ["9007199254740993", "9007199254740992"],
        ["1600000000123", "1600000000124"],
        ["-5"],
    ):
        assert read(numbers) == list(map(int, numbers))
    assert read([" 7 ", "1e3", "4.0"]) == [7, 1000, 4]
    assert read(["1600000000.000000001", "1600000000"]) == [Decimal("1600000000.000000001"), 1_600_000_000]
    assert read([]) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-01-02", NEW_YEAR + DAY),
        ("2020/1/2", NEW_YEAR + DAY),
        ("2020.01.02 10:11:12", NEW_YEAR + DAY + 36_672),
        ("2020-01-02T10:11", NEW_YEAR + DAY + 36_660),
        ("2020-01-02 10:11:12Z", NEW_YEAR + DAY + 36_672),
        ("2020-01-02T10:11:12.000+02:00", NEW_YEAR + DAY + 36_672 - 7200),
        ("2020-01-02 10:11:12 -0130", NEW_YEAR + DAY + 36_672 + 5400),
        ("2020-01-02 12:05 AM", NEW_YEAR + DAY + 300),
        ("13/01/2020", NEW_YEAR + 12 * DAY),
        ("01/13/2020 1:00 pm", NEW_YEAR + 12 * DAY + 46_800),
        ("13.1.2020 01:00", NEW_YEAR + 12 * DAY + 3600),
        ("31/12/99", 946_598_400),
        ("99-12-31", 946_598_400),
        ("01 13, 2020", NEW_YEAR + 12 * DAY),
        ("2 Jan 2020", NEW_YEAR + DAY),
        ("02-Jan-20", NEW_YEAR + DAY),
        ("January 2nd, 2020", NEW_YEAR + DAY),
        ("Thu, 02 Jan 2020 10:11:12 GMT", NEW_YEAR + DAY + 36_672),
        ("Thu Jan  2 10:11:12 2020", NEW_YEAR + DAY + 36_672),
        ("Thu Jan 02 10:11:12 +0000 2020", NEW_YEAR + DAY + 36_672),
        ("Thu Jan 02 2020 10:11:12 GMT+0100 (CET)", NEW_YEAR + DAY + 33_072),
        ("9999-12-31", 253_402_214_400),
        ("0001-01-01", -62_135_596_800),
        ("2020-02-30", None),
        ("2020-13-01", None),
        ("2020-01-02 25:00", None),
        ("2020-01-02 13:00 PM", None),
        ("May 2020", None),
        ("Foo 2, 2020", None),
        ("", None),
    ],
)
def test_what_a_date_means(text, seconds):
    assert read(["2020-01-01", text]) == [NEW_YEAR, seconds]


@pytest.mark.parametrize(
    ("texts", "both"),
    [
        (["10/01/2020", "11/01/2020"], "'10/01/2020' is 2020-01-10 day first and 2020-10-01 month first"),
        (["2020-01-01", "10.01.2020"], "'10.01.2020' is 2020-01-10 day first and 2020-10-01 month first"),
        (["31/12/19"], "'31/12/19' is 2019-12-31 day first and 2031-12-19 year first"),
        (["30/12/2019", "12/30/2019"], "'30/12/2019' is written day first and '12/30/2019' month first"),
        (["30/12/2019", "12/30/2019", "1/2/2019"], "'1/2/2019' is 2019-02-01 day first and 2019-01-02 month first"),
    ],
)
def test_what_the_column_leaves_open_is_refused(texts, both):
    with pytest.raises(UserError, match="--time_format") as refused:
        read(texts)
    assert both in str(refused.value)


def test_the_column_or_the_user_decides_for_all():
    assert read(["10/01/2020", "13/01/2020"]) == [NEW_YEAR + 9 * DAY, NEW_YEAR + 12 * DAY]
    assert read(["01/10/2020", "01/13/2020"]) == [NEW_YEAR + 9 * DAY, NEW_YEAR + 12 * DAY]
    assert read(["10/01/2020"], "day-first") == read(["01/10/2020"], "month-first") == [NEW_YEAR + 9 * DAY]
    assert read(["20/01/10"], "iso") == read(["10.01.20"], "%d.%m.%y") == [NEW_YEAR + 9 * DAY]
    assert read(["20200110", "x"], "%Y%m%d") == [NEW_YEAR + 9 * DAY, None]
    assert read(["02/02/2020"]) == [NEW_YEAR + 32 * DAY]  # both readings are one
    assert read(["1600000000", "1600000000123"], "s") == [1_600_000_000, None]  # no other unit is taken for seconds
    for how in ("tomorrow", "%Q"):
        with pytest.raises(UserError, match="--time_format"):
            read(["2020-01-01"], how)


def test_numbers_that_are_no_times_of_a_clock_are_not_taken_for_such():
    clock = [str(1_600_000_000 + n) for n in range(30)]
    assert read([*clock, "0"])[-1] is None
    with pytest.raises(UserError, match="5 of 35 values of .* cannot be read as a time, such as '0'"):
        read([*clock, *["0"] * 5])
    assert read(["1", "2", "3"]) == [1, 2, 3]  # of no clock at all: an order
    with pytest.raises(UserError, match="different units"):
        read([*clock, *(text + "000" for text in clock)])
    with pytest.raises(UserError, match="30 of 60 values of .* cannot be read"):
        read([*clock, *(text + "000" for text in clock)], "s")


def test_dates_without_separators_are_of_one_length():
    assert read(["20201028", "20201027"]) == [20201028, 20201027]  # in the right order
    for longer in ("202010281246", "20201028124654"):
        with pytest.raises(UserError, match=f"lengths, such as 20201028 and {longer}|such as {longer} and 2020"):
            read(["20201028"] * 3 + [longer] * 3)
    assert read(["2020-10-28 12:46:54"] * 30 + ["20201028124654"])[-1] is None


def test_a_format_reads_no_words():
    days = ["01.02.2020", "now", "today", *["01.02.2020"] * 40]
    assert read(days, "%d.%m.%Y")[:3] == [NEW_YEAR + 31 * DAY, None, None]


def test_numbers_among_dates_are_read_one_by_one():
    assert read(["2020-01-01", str(NEW_YEAR + 5)]) == [NEW_YEAR, NEW_YEAR + 5]
    assert read(["2020-01-01", f"{NEW_YEAR}500"]) == [NEW_YEAR * 1000, NEW_YEAR * 1000 + 500]
    assert read(["2020-01-01"] * 3 + ["7"]) == [NEW_YEAR] * 3 + [None]  # no time of a clock
    assert read(["7", "8", "9", "2020-01-01"]) == [7, 8, 9, None]


def test_one_unreadable_value_costs_its_row_alone_and_many_refuse_the_column():
    assert read(["2020-01-01", "soon"]) == [NEW_YEAR, None]
    assert read(["soon"] * 5 + ["2020-01-01"] * 95).count(None) == 5
    with pytest.raises(UserError, match="6 of 100 values of 't' cannot be read as a time, such as 'a', 'b', 'c'"):
        read([*"abcdef", *["2020-01-01"] * 94])
    with pytest.raises(UserError, match="1 of 1 values"):
        read(["soon"])
    assert read(["99999999999999999999", "1e99", "1"] + ["5"] * 60)[:3] == [None, None, 1]


def test_units_that_differ():
    with pytest.raises(UserError, match=r"different units, such as 1600000000 \(s\) and 1600000000123 \(ms\)"):
        read(["1600000000", "1600000000123"] * 9 + ["1600000000"])
    assert read(["1600000000"] * 30 + ["1600000000123"])[-2:] == [1_600_000_000, None]


def test_zones_here_and_none_there_are_refused():
    mixed = ["2020-01-01T00:00:00Z", "2020-01-01 00:00"] * 3
    with pytest.raises(UserError, match="times with zones, such as '2020-01-01T00:00:00Z', and without, such as"):
        read(mixed)
    assert read(mixed, "iso") == [NEW_YEAR] * 6
    assert read(["2020-01-01T00:00:00+01:00", "2020-01-01 00:00:00-0100", str(NEW_YEAR)]) == [
        NEW_YEAR - 3600,
        NEW_YEAR + 3600,
        NEW_YEAR,
    ]


def test_fractions_take_the_unit_that_holds_them():
    assert read(["2020-01-01 00:00:00.5", "2020-01-01"]) == [NEW_YEAR * 1000 + 500, NEW_YEAR * 1000]
    assert read(["2020-01-01 00:00:00.000000001"]) == [NEW_YEAR * 10**9 + 1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2068, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(
        ["%Y-%m-%d %H:%M:%S.%f", "%d %b %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%a %b %d %H:%M:%S %Y", "rfc"]
    ),
)
def test_dates_that_python_writes_come_back(moments, how):
    if "%f" not in how:
        moments = [moment.replace(microsecond=0) for moment in moments]
    moments = [moment.replace(tzinfo=timezone.utc) for moment in moments]
    times = read_times([format_datetime(m) if how == "rfc" else m.strftime(how) for m in moments], "'t'")
    size = next(
        size for unit, size in (("ns", 10**9), ("us", 10**6), ("ms", 10**3), ("s", 1)) if f" {unit} " in times.reading
    )
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert times.values.tolist() == [
        (moment - epoch) // timedelta(microseconds=1) * size // 10**6 for moment in moments
    ]


def test_what_is_read_at_once_is_read_as_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    kinds = [
        lambda: str(rng.integers(1_200_000_000, 1_700_000_000)),
        lambda: str(rng.integers(1_200_000_000_000, 1_700_000_000_000)),
        lambda: str(rng.integers(1000)),
        lambda: f"2019{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        lambda: f"2019-{rng.integers(1, 13):02d}-{rng.integers(1, 31):02d} 10:{rng.integers(60):02d}:59",
        lambda: f" {rng.integers(1_200_000_000, 1_700_000_000)}.5 ",
        lambda: ["never", "", None, "03/04/2019", "2019-01-01T00:00:00Z", "\ud800", "-5", "007"][rng.integers(8)],
    ]
    columns = [[]]
    for main in kinds:
        columns.append([main() for _ in range(50)])
        columns += [[main() for _ in range(60)] + [one() for _ in range(n)] for one in kinds for n in (2, 40)]
    rng.shuffle(columns[-1])
    cases = [(texts, how) for texts in columns for how in (None, "s", "day-first")]

    def outcomes():
        for texts, how in cases:
            try:
                times = read_times(texts, "t", how)
                yield times.values.tolist(), times.values.dtype, times.read.tolist(), times.reading
            except UserError as error:
                yield str(error)

    at_once = list(outcomes())
    monkeypatch.setattr(times, "iso_seconds", lambda text: None)
    none = lambda text: (np.zeros(len(text), dtype=np.int8), np.zeros(len(text), dtype=np.int64))  # noqa: E731
    monkeypatch.setattr(times, "whole_numbers", none)
    assert at_once == list(outcomes())
    assert sum(isinstance(outcome, tuple) for outcome in at_once) > 50 < sum(isinstance(o, str) for o in at_once)
