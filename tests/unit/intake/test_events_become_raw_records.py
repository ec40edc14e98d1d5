"""A good message becomes one Firehose record with every RAW column; the payload stays as it was."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intake.events import MAX_NESTING, EventParser, RejectCode
from common.runtime.errors import RejectedEvent

NOW_US = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1_000_000
PARSER = EventParser(frozenset({"events", "weather"}))


def message(payload: str = "{}", **fields: object) -> str:
    event = {
        "message_id": "m-1",
        "idempotency_key": "k-1",
        "topic_name": "events",
        "publish_time": "2026-05-31T10:00:00Z",
        **fields,
    }
    head = json.dumps({k: v for k, v in event.items() if v is not ...})
    return f'{head[:-1]}, "payload": {payload}}}'


def record(body: str) -> dict[str, object]:
    record: dict[str, object] = json.loads(PARSER.parse(body, NOW_US)[1])
    return record


def test_a_payload_as_deep_as_allowed_stays_as_it_was() -> None:
    deep = '{"v":' + "[" * (MAX_NESTING - 2) + "]" * (MAX_NESTING - 2) + "}"

    assert record(message(deep))["json_payload"] == deep


def test_brackets_inside_a_text_are_no_levels() -> None:
    text = json.dumps({"v": '[{\\"' * 2 * MAX_NESTING})

    assert record(message(text))["json_payload"] == text


def test_every_column_is_named_and_absent_optionals_are_null() -> None:
    assert record(message()) == {
        "message_id": "m-1",
        "idempotency_key": "k-1",
        "topic_name": "events",
        "period_reference": "2026-05",
        "correlation_id": None,
        "publish_time": 1780221600000000,
        "ingestion_ts": NOW_US,
        "json_payload": "{}",
        "operation": None,
        "source": None,
    }


@pytest.mark.parametrize(
    "payload",
    [
        '{"value": 1.10}',
        '{"value":12345678901234567890123}',
        '{ "a" : [ 1.0 , -0 , 1e2 ] ,\t"b":"\\u00e9\\n" }',
        '{"a":1,"a":2}',
    ],
)
def test_the_payload_is_kept_byte_for_byte(payload: str) -> None:
    assert record(message(payload))["json_payload"] == payload


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
).map(lambda value: json.dumps({"v": value}, ensure_ascii=False)))  # fmt: skip
def test_any_json_object_passes_unchanged(payload: str) -> None:
    assert record(message(payload))["json_payload"] == payload


@given(st.datetimes(datetime(2000, 1, 2), datetime(2026, 5, 31)), st.integers(-14 * 60, 14 * 60))
def test_publish_time_becomes_exact_utc_microseconds(when: datetime, offset_minutes: int) -> None:
    sign, (hours, minutes) = "+-"[offset_minutes < 0], divmod(abs(offset_minutes), 60)
    text = f"{when.isoformat()}{sign}{hours:02}:{minutes:02}"
    moment = datetime.fromisoformat(text)
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (moment.resolution)
    got = record(message(publish_time=text))
    assert got["publish_time"] == micros
    assert got["period_reference"] == moment.astimezone(UTC).strftime("%Y-%m")


def test_a_given_period_is_kept_even_when_it_is_not_the_month_of_publishing() -> None:
    assert record(message(period_reference="2025-12"))["period_reference"] == "2025-12"


def test_the_same_message_yields_the_same_record_at_every_delivery() -> None:
    assert PARSER.parse(message(), NOW_US) == PARSER.parse(message(), NOW_US)


def test_the_topic_says_which_stream_the_record_takes() -> None:
    assert PARSER.parse(message(topic_name="weather"), NOW_US)[0] == "weather"


def delete(**fields: object) -> str:
    event = {
        "message_id": "m-1",
        "idempotency_key": "k-1",
        "topic_name": "events",
        "publish_time": "2026-05-31T10:00:00Z",
        "operation": "delete",
        **fields,
    }
    return json.dumps({name: value for name, value in event.items() if value is not ...})


def test_a_delete_has_no_payload() -> None:
    found = record(delete())
    assert (found["operation"], found["json_payload"]) == ("delete", None)


def test_an_upsert_may_say_so() -> None:
    assert record(message(operation="upsert"))["operation"] == "upsert"
    assert record(message(operation=None))["operation"] is None


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (delete(payload={}), RejectCode.MALFORMED_FIELD, "expected none beside operation delete"),
        (delete(operation="remove"), RejectCode.MALFORMED_FIELD, "$.operation"),
        (delete(operation=...), RejectCode.MISSING_FIELD, "payload"),
        (delete(operation="upsert"), RejectCode.MISSING_FIELD, "payload"),
        (delete(idempotency_key=...), RejectCode.MISSING_FIELD, "idempotency_key"),
        (delete(idempotency_key=""), RejectCode.MALFORMED_FIELD, "idempotency_key"),
        (delete(topic_name="unknown"), RejectCode.UNKNOWN_TOPIC, "topic_name"),
        (delete()[:-1] + ', "operation": "upsert"}', RejectCode.MISSING_FIELD, "payload"),
        (delete()[:-1] + ', "operation": "delete"}', RejectCode.REPEATED_FIELD, "operation"),
    ],
)
def test_a_delete_that_is_none_is_refused(body: str, code: RejectCode, says: str) -> None:
    with pytest.raises(RejectedEvent) as refused:
        PARSER.parse(body, NOW_US)
    assert (refused.value.code, says in str(refused.value)) == (code, True), str(refused.value)
