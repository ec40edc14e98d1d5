from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.intake.events import RejectCode
from common.runtime.errors import InvalidInput
from lean_ops.operate.replay.dead_letters import REASONS
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.selection import UNKNOWN_TOPIC, Selection, Tally, Waiting

NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
KNOWN = frozenset({"NOT_JSON", "MISSING_FIELD"})


def waiting(reason: str = "NOT_JSON", topic: str = "events", age_h: float = 1, name: str = "m1") -> Waiting:
    return Waiting(reason, topic, NOW - timedelta(hours=age_h), (name, f"sqs-{name}"), payload="secret")


def parse(**options: object) -> Selection:
    return Selection.parse(**options, now=NOW, known_reasons=KNOWN)  # type: ignore[arg-type] # wrong ones too


def test_without_filters_everything_is_meant() -> None:
    assert parse().takes(waiting())
    assert parse().as_json() == {}


@pytest.mark.parametrize(
    ("options", "taken", "left"),
    [
        ({"reasons": ["NOT_JSON"]}, waiting(), waiting(reason="MISSING_FIELD")),
        ({"topic": "weather"}, waiting(topic="weather"), waiting()),
        ({"topic": "?"}, waiting(topic=UNKNOWN_TOPIC), waiting()),
        ({"since": "2h"}, waiting(age_h=2), waiting(age_h=2.1)),
        ({"until": "2h"}, waiting(age_h=2.1), waiting(age_h=2)),
        ({"since": "2026-02-28T11:00:00+01:00"}, waiting(age_h=2), waiting(age_h=3)),
        ({"ids": ["m1", "m2"]}, waiting(name="m2"), waiting(name="m3")),
        ({"ids": ["sqs-m2"]}, waiting(name="m2"), waiting()),
        ({"reasons": ["NOT_JSON"], "since": "1d"}, waiting(), waiting(age_h=25)),
    ],
)
def test_a_filter_takes_what_it_names_and_nothing_else(
    options: dict[str, object], taken: Waiting, left: Waiting
) -> None:
    selection = parse(**options)
    assert selection.takes(taken)
    assert not selection.takes(left)
    assert selection.as_json()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reasons": ["NOTJSON"]}, "--reason: expected one of MISSING_FIELD, NOT_JSON, found 'NOTJSON'"),
        ({"topic": 'x"; drop'}, "--topic: expected the name of a topic"),
        ({"since": "yesterday"}, "--since: expected a time with its offset"),
        ({"since": "2026-02-28T12:00:00"}, "--since: expected a time with its offset"),
        ({"until": "12"}, "--until: expected a time with its offset"),
        ({"since": "1h", "until": "2h"}, "--since, --until: expected a time before another"),
    ],
)
def test_a_wrong_filter_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("(", r"\(")):
        parse(**options)


def test_a_tally_counts_and_keeps_the_first_of_each_reason() -> None:
    tally = Tally(samples_each=2)
    for number in range(5):
        tally.add(waiting(age_h=number, name=f"m{number}"))
    tally.add(waiting(reason="MISSING_FIELD", topic="weather"))
    assert tally.counts == {("NOT_JSON", "events"): 5, ("MISSING_FIELD", "weather"): 1}
    assert (tally.oldest, tally.newest) == (NOW - timedelta(hours=4), NOW)
    assert [sample.reason for sample in tally.samples] == ["NOT_JSON", "NOT_JSON", "MISSING_FIELD"]


def test_payloads_are_shown_on_request_only() -> None:
    tally = Tally()
    tally.add(waiting())
    assert "secret" not in repr(tally)
    assert "secret" not in str(tally.as_json(payload=False))
    assert "secret" in str(tally.as_json(payload=True))


def test_a_pace_lets_so_many_go_in_a_second_and_does_not_make_up_for_pauses() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(10, clock=lambda: now, sleep=sleep)
    for _ in range(10):
        pace.wait(5)
    assert now == pytest.approx(4.5)
    now += 100
    pace.wait(5)
    pace.wait(5)
    assert now == pytest.approx(105.0, abs=0.51)


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--rate"):
        Pace(-1)


def test_every_reason_that_a_letter_may_have_can_be_asked_for() -> None:
    for reason in (*RejectCode, "REDRIVEN", "SET_ASIDE"):
        assert Selection.parse([reason], now=NOW, known_reasons=REASONS).reasons == {reason}


@pytest.mark.parametrize("option", ["since", "until"])
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1000000d",
        "99999999999999h",
        "9" * 5_000 + "m",
    ],
)
def test_a_time_beyond_the_calendar_is_named(option: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=rf"--{option}: expected a time") as raised:
        parse(**{option: text})
    assert len(str(raised.value)) < 200


@settings(deadline=None)
@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{1,25}[mhd]", fullmatch=True)
    | st.datetimes(timezones=st.timezones() | st.just(UTC)).map(datetime.isoformat),
)
def test_any_text_is_a_time_or_refused_in_a_sentence(text: str) -> None:
    for option in ("since", "until"):
        try:
            parsed = parse(**{option: text})
        except InvalidInput as error:
            assert str(error).startswith("--")
        else:
            moment = getattr(parsed, option)
            assert moment.tzinfo is UTC
