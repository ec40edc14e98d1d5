"""Times as people's files write them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.errors import InvalidInput
from lean_ops.simulate.readings.times import TimeReader

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-04T12:00:00Z",
        "2026-03-04T13:00:00+01:00",
        "2026-03-04 13:00:00 +0100",
        "2026-03-04 12:00",
        "2026/03/04 12:00:00",
        "2026-3-4 12:00:00.000",
        "04.03.2026 12:00",
        "1772625600",
        "1772625600.0",
        "1772625600000",
        "1772625600000000",
        "1772625600000000000",
        "  2026-03-04T12:00:00.000000000Z ",
    ],
)
def test_one_moment_written_in_many_ways(text: str) -> None:
    assert TimeReader().microseconds(text) == us(NOON)


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("12:00:00.5Z", 500_000), ("12:00:00,25Z", 250_000), ("12:00:00.1234567Z", 123_456)],
)
def test_fractions_are_exact_and_cut_at_microseconds(text: str, fraction: int) -> None:
    assert TimeReader().microseconds(f"2026-03-04T{text}") == us(NOON) + fraction


@given(st.integers(us(datetime(2000, 1, 1, tzinfo=UTC)), us(datetime(2100, 1, 1, tzinfo=UTC))))
def test_microseconds_survive_a_round_trip(at_us: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    assert TimeReader("Asia/Tokyo").microseconds(at.isoformat()) == at_us
    assert TimeReader().microseconds(str(at_us)) == at_us


def test_a_date_alone_is_its_midnight() -> None:
    assert TimeReader().microseconds("2026-03-04") == us(NOON) - 12 * 3_600_000_000


@pytest.mark.parametrize(
    ("zone", "hours"), [("-08:00", 8), ("+05:30", -5.5), ("Europe/Berlin", -1), ("UTC", 0)]
)
def test_the_timezone_applies_to_times_without_offset(zone: str, hours: float) -> None:
    reader = TimeReader(zone)
    assert reader.microseconds("2026-03-04 12:00") == us(NOON + timedelta(hours=hours))
    assert reader.microseconds("2026-03-04 12:00Z") == us(NOON)


def test_an_hour_that_exists_twice_is_its_first() -> None:
    assert TimeReader("Europe/Berlin").microseconds("2026-10-25 02:30") == us(
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    )


def test_an_hour_that_clocks_skip_is_refused() -> None:
    with pytest.raises(ValueError, match="exists in Europe/Berlin"):
        TimeReader("Europe/Berlin").microseconds("2026-03-29 02:30")


def test_an_own_format_decides_what_is_day_and_month() -> None:
    assert TimeReader(time_format="%m/%d/%Y %H:%M").microseconds("03/04/2026 12:00") == us(NOON)
    assert TimeReader(time_format="%d/%m/%Y %H:%M %z").microseconds("04/03/2026 13:00 +0100") == us(NOON)


@pytest.mark.parametrize("text", ["", "03/04/2026", "yesterday", "2026-02-30", "2026-03-04T25:00Z", "12:00"])
def test_what_is_no_time_or_ambiguous_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        TimeReader().microseconds(text)


@pytest.mark.parametrize("zone", ["Middle/Earth", "../etc/passwd", "", "+1"])
def test_an_unknown_timezone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="timezone: expected"):
        TimeReader(zone)


def test_times_in_an_hour_that_exists_twice_are_counted() -> None:
    reader = TimeReader("Europe/Berlin")
    for text in ("2026-10-25 01:59", "2026-10-25 02:00", "2026-10-25 02:59", "2026-10-25 03:00"):
        reader.microseconds(text)
    reader.microseconds("2026-10-25T02:30:00+02:00")  # its offset says which
    assert reader.ambiguous == 2
