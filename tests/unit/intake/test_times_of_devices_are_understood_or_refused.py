"""Units, texts, patterns, zones, sums, unset values: a device's time is exact, refused, or the queue's."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ...support.generated import cases
from ...support.sources import ARRIVED_MS, SIMPLE, read, times

US = 1_792_483_200_000_000  # 2026-10-20T08:00:00Z
ARRIVED_US = ARRIVED_MS * 1000


def at(time: Any, body: dict[str, Any] | str, **fields: Any) -> int | str:
    """The publish time, or the code of the refusal."""
    text = body if isinstance(body, str) else {"dev": "d", **body}
    outcome = read({**SIMPLE, "time": time, **fields}, text)
    return outcome.refused[0].code if outcome.refused else times(outcome)[0]


@pytest.mark.parametrize(
    ("time", "body", "expected"),
    [
        ({"at": "t", "as": "s"}, '{"dev":1,"t":1792483200}', US),
        ({"at": "t", "as": "s"}, '{"dev":1,"t":1792483200.29}', US + 290_000),
        ({"at": "t", "as": "s"}, '{"dev":1,"t":"1792483200.123456789"}', US + 123_456),
        ({"at": "t", "as": "s"}, '{"dev":1,"t":1.7924832E9}', US),
        ({"at": "t", "as": "s"}, '{"dev":1,"t":1792483199.9999999999999999999999999}', US - 1),
        ({"at": "t", "as": "ms"}, '{"dev":1,"t":1792483200512}', US + 512_000),
        ({"at": "t", "as": "us"}, '{"dev":1,"t":1792483200000001}', US + 1),
        ({"at": "t", "as": "ns"}, '{"dev":1,"t":1792483200000001999}', US + 1),
        ("t", '{"dev":1,"t":"2026-10-20T08:00:00.123456789Z"}', US + 123_456),
        ("t", '{"dev":1,"t":"2026-10-20T08:00:00.4560000Z"}', US + 456_000),
        ("t", '{"dev":1,"t":"2026-10-20T10:00:00+02:00"}', US),
        ("t", '{"dev":1,"t":"2026-10-20 08:00:00-00:00"}', US),
        (
            {"at": "t", "as": "dd.MM.yyyy HH:mm:ss", "zone": "Europe/Berlin"},
            '{"dev":1,"t":"20.10.2026 10:00:00"}',
            US,
        ),
        ({"at": "t", "as": "dd/MM/yy'T'HHmmss.SSS X"}, "{}", "MISSING_FIELD"),
        ({"at": "t", "as": "yyMMdd HH:mm X"}, '{"dev":1,"t":"261020 10:00 +02"}', US),
        ({"at": "t", "zone": "Asia/Kolkata"}, '{"dev":1,"t":"2026-10-20T13:30:00"}', US),
        (
            {"at": "a.s", "as": "s", "plus": [{"at": "a.n", "as": "ns"}]},
            '{"dev":1,"a":{"s":1792483200,"n":500000000}}',
            US + 500_000,
        ),
        (
            {"at": {"low_high": "t"}, "as": "ms"},
            '{"dev":1,"t":{"low":1481837691,"high":417,"unsigned":true}}',
            US + 123_000,
        ),
        (["a", {"at": "t", "as": "s"}], '{"dev":1,"a":null,"t":1792483200}', US),
        ({"at": "$arrived"}, '{"dev":1}', ARRIVED_US),
        ("$arrived", '{"dev":1}', ARRIVED_US),
    ],
)
def test_a_time_is_exact(time: Any, body: str, expected: int | str) -> None:
    if expected == "MISSING_FIELD":
        body = '{"dev":1}'
    assert at(time, body) == expected


@pytest.mark.parametrize("unset", [0, None, "", "0001-01-01T00:00:00Z", "0", 5, 1_000_000_000])
def test_a_time_that_is_unset_or_before_the_source_leaves_the_word_to_the_next(unset: Any) -> None:
    time = {"at": "t", "as": "ms"}
    assert (
        at([time, "$arrived"], {"t": unset} if unset != "0001-01-01T00:00:00Z" else {"t": None}) == ARRIVED_US
    )
    assert at(time, {"t": unset if not str(unset).startswith("0001") else None}) == "MISSING_FIELD"


def test_seconds_that_are_taken_for_milliseconds_are_never_guessed() -> None:
    assert at({"at": "t", "as": "ms"}, {"t": 1_792_483_200}) == "MISSING_FIELD"
    assert at({"at": "t", "as": "s"}, {"t": 1_792_483_200_000}) == "TIME_OUT_OF_RANGE"


def test_a_clock_that_starts_at_2000_is_unset_and_a_source_may_say_later() -> None:
    text = {"at": "t"}
    assert at([text, "$arrived"], {"t": "2000-01-01T00:00:05Z"}) == ARRIVED_US
    assert at(text, {"t": "2014-12-31T23:00:00Z"}, not_before="2015-01-01T00:00:00Z") == "MISSING_FIELD"
    assert at(text, {"t": "2000-01-01T00:00:05Z"}, not_before="2000-01-01T00:00:00Z") == 946_684_805_000_000


@pytest.mark.parametrize(
    "value",
    ["yesterday", True, [], {}, "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-10-20T08:00:00",
     "2026-10-20T08:00:60Z", "\uff12026-10-20T08:00:00Z"],
)  # fmt: skip
def test_a_time_that_is_there_and_cannot_be_read_refuses_even_beside_the_queues(value: Any) -> None:
    assert at([{"at": "t"}, "$arrived"], {"t": value}) == "MALFORMED_FIELD"


def test_an_hour_that_exists_twice_is_picked_by_arrival_or_refused_and_one_that_does_not_is_refused() -> None:
    berlin = {"at": "t", "as": "yyyy-MM-dd HH:mm", "zone": "Europe/Berlin"}
    assert at(berlin, {"t": "2026-10-25 02:30"}) == "MALFORMED_FIELD"
    assert at(berlin, {"t": "2026-03-29 02:30"}) == "MALFORMED_FIELD"
    picked = {**berlin, "ambiguous": "arrival"}
    early, late = (1_792_888_200_000, 1_792_891_800_000)  # 00:30 and 01:30 UTC
    for arrived_ms, expected in ((early + 60_000, early), (late + 60_000, late)):
        outcome = read({**SIMPLE, "time": picked}, {"dev": 1, "t": "2026-10-25 02:30"}, sent_ms=arrived_ms)
        assert times(outcome) == [expected * 1000]


def test_a_small_sum_counts_from_arrival() -> None:
    senml = {
        "at": {"first": ["bt", {"constant": 0}]},
        "as": "s",
        "plus": [{"at": "t", "as": "s"}],
        "relative_below": 268435456,
    }
    assert at(senml, {"bt": 1_792_483_200, "t": -60}) == US - 60_000_000
    assert at(senml, {"t": -60}) == ARRIVED_US - 60_000_000
    assert at(senml, {}) == ARRIVED_US


def test_a_reading_over_a_day_ahead_is_refused_and_its_neighbours_delivered() -> None:
    outcome = read(
        {**SIMPLE, "each": "@", "key": "k", "time": {"at": "t", "as": "s"}},
        [{"k": 1, "t": 1_792_483_200}, {"k": 2, "t": 1_892_483_200}, {"k": 3, "t": 10**30}],
    )
    assert len(outcome.events) == 1
    assert {refusal.code for refusal in outcome.refused} == {"TIME_OUT_OF_RANGE"}


@settings(max_examples=cases(100))
@given(st.integers(978_307_200_000_000, ARRIVED_US), st.integers(0, 999))
def test_every_unit_says_the_same_time(us: int, finer: int) -> None:
    assert at({"at": "t", "as": "ns"}, f'{{"dev":1,"t":{us * 1000 + finer}}}') == us
    assert at({"at": "t", "as": "us"}, f'{{"dev":1,"t":{us}.{finer:03d}}}') == us
    assert at({"at": "t", "as": "ms"}, f'{{"dev":1,"t":{us // 1000}.{us % 1000:03d}{finer:03d}}}') == us
    assert at({"at": "t", "as": "s"}, f'{{"dev":1,"t":"{us // 10**6}.{us % 10**6:06d}{finer:03d}"}}') == us
