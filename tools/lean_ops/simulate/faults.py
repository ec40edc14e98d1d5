"""Faults: the ways in which a message can be broken for good, each with the code it must be refused with.

A fault takes the fields of a good event (name → JSON text) and gives the body of a broken message. Every
fault breaks exactly one rule of the event contract, so its code does not depend on the order of checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from common.intake.events import RejectCode

Fields = Mapping[str, str]
_NESTING: Final = 5_000  # levels, ten times what is allowed, yet only some kilobytes
_OVERSIZE: Final = 1_030_000  # bytes: over a Firehose record's 1,024,000, under an SQS message's 1,048,576


@dataclass(frozen=True)
class Fault:
    """One way to break a message. ``weight`` is its share relative to the others."""

    name: str
    reject_code: RejectCode
    body: Callable[[Fields], str]
    weight: int = 100


def render(fields: Fields) -> str:
    """The JSON object with these members (name → JSON text), in this order."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"


def _with(**fields: str) -> Callable[[Fields], str]:
    return lambda event: render({**event, **fields})


def _without(field: str) -> Callable[[Fields], str]:
    return lambda event: render({name: text for name, text in event.items() if name != field})


def _payload(text: str) -> Callable[[Fields], str]:
    """A fault inside the payload: the other fields stay good."""
    return _with(payload=f'{{"reading":{text}}}')


def _escapes_double(fields: Fields) -> str:
    """Short enough as sent; its quotes make it too large once the payload is a JSON string."""
    tags = ",".join(['""'] * 240_000)
    return render({**fields, "payload": f'{{"tags":[{tags}]}}'})


FAULTS: Final = (
    Fault("truncated", RejectCode.NOT_JSON, lambda event: render(event)[:-9]),
    Fault("plain text", RejectCode.NOT_JSON, lambda _: "ERROR sensor offline"),
    Fault("blank", RejectCode.NOT_JSON, lambda _: " \n"),
    Fault("comma at the end", RejectCode.NOT_JSON, lambda event: render(event)[:-1] + ",}"),
    Fault("single quotes", RejectCode.NOT_JSON, lambda event: render(event).replace('"', "'")),
    Fault("two objects", RejectCode.NOT_JSON, lambda event: render(event) + render(event)),
    Fault("byte order mark", RejectCode.NOT_JSON, lambda event: "\ufeff" + render(event)),
    Fault("not a number", RejectCode.NOT_JSON, _payload('{"value":NaN}')),
    Fault("infinity", RejectCode.NOT_JSON, _payload('{"value":-Infinity}')),
    Fault("number with leading zero", RejectCode.NOT_JSON, _payload('{"value":007}')),
    Fault("hexadecimal number", RejectCode.NOT_JSON, _payload('{"value":0x1F}')),
    Fault("raw tab in text", RejectCode.NOT_JSON, _payload('{"unit":"k\tWh"}')),
    Fault("lone surrogate", RejectCode.NOT_JSON, _payload('{"unit":"\\ud83c"}')),
    Fault("nested too deep", RejectCode.NOT_JSON, _payload('{"a":' * _NESTING + "1" + "}" * _NESTING), 20),
    Fault("array", RejectCode.NOT_AN_OBJECT, lambda event: f"[{render(event)}]"),
    Fault("text", RejectCode.NOT_AN_OBJECT, lambda _: '"online"'),
    Fault("number", RejectCode.NOT_AN_OBJECT, lambda _: "21.50"),
    Fault("null", RejectCode.NOT_AN_OBJECT, lambda _: "null"),
    Fault("no message_id", RejectCode.MISSING_FIELD, _without("message_id")),
    Fault("no idempotency_key", RejectCode.MISSING_FIELD, _without("idempotency_key")),
    Fault("no topic_name", RejectCode.MISSING_FIELD, _without("topic_name")),
    Fault("no publish_time", RejectCode.MISSING_FIELD, _without("publish_time")),
    Fault("no payload", RejectCode.MISSING_FIELD, _without("payload")),
    Fault("empty object", RejectCode.MISSING_FIELD, lambda _: "{}"),
    Fault("message_id a number", RejectCode.MALFORMED_FIELD, _with(message_id="7")),
    Fault("message_id null", RejectCode.MALFORMED_FIELD, _with(message_id="null")),
    Fault("message_id too long", RejectCode.MALFORMED_FIELD, _with(message_id=f'"{"m" * 129}"')),
    Fault("key empty", RejectCode.MALFORMED_FIELD, _with(idempotency_key='""')),
    Fault("key too long", RejectCode.MALFORMED_FIELD, _with(idempotency_key=f'"{"k" * 257}"')),
    Fault("topic_name null", RejectCode.MALFORMED_FIELD, _with(topic_name="null")),
    Fault("time without offset", RejectCode.MALFORMED_FIELD, _with(publish_time='"2026-01-31T12:00:00"')),
    Fault("impossible date", RejectCode.MALFORMED_FIELD, _with(publish_time='"2026-02-30T12:00:00Z"')),
    Fault("time in words", RejectCode.MALFORMED_FIELD, _with(publish_time='"yesterday"')),
    Fault("time of the epoch", RejectCode.MALFORMED_FIELD, _with(publish_time="1767225600")),
    Fault("month thirteen", RejectCode.MALFORMED_FIELD, _with(period_reference='"2026-13"')),
    Fault("period with slash", RejectCode.MALFORMED_FIELD, _with(period_reference='"2026/01"')),
    Fault("correlation_id a number", RejectCode.MALFORMED_FIELD, _with(correlation_id="12")),
    Fault("payload an array", RejectCode.MALFORMED_FIELD, _with(payload="[1,2]")),
    Fault("payload in a string", RejectCode.MALFORMED_FIELD, _with(payload='"{\\"value\\":1}"')),
    Fault("payload null", RejectCode.MALFORMED_FIELD, _with(payload="null")),
    Fault("period in year 0", RejectCode.MALFORMED_FIELD, _with(period_reference='"0000-01"')),
    Fault("leap second", RejectCode.MALFORMED_FIELD, _with(publish_time='"2016-12-31T23:59:60Z"')),
    Fault("payload twice", RejectCode.REPEATED_FIELD, lambda event: render(event)[:-1] + ',"payload":{}}'),
    Fault(
        "message_id twice, once escaped",
        RejectCode.REPEATED_FIELD,
        lambda event: '{"message\\u005fid":"m",' + render(event)[1:],
    ),
    Fault("unknown topic", RejectCode.UNKNOWN_TOPIC, _with(topic_name='"lifts"')),
    Fault("malformed topic", RejectCode.UNKNOWN_TOPIC, _with(topic_name='"Events; --"')),
    Fault("clock at zero", RejectCode.TIME_OUT_OF_RANGE, _with(publish_time='"1970-01-01T00:00:00Z"')),
    Fault("before 2000", RejectCode.TIME_OUT_OF_RANGE, _with(publish_time='"1999-12-31T23:59:59.999999Z"')),
    Fault("far future", RejectCode.TIME_OUT_OF_RANGE, _with(publish_time='"2999-01-01T00:00:00+00:00"')),
    Fault("too large", RejectCode.TOO_LARGE, _payload(f'{{"note":"{"x" * _OVERSIZE}"}}'), 10),
    Fault("too large once escaped", RejectCode.TOO_LARGE, _escapes_double, 10),
)
# FAULTS, each as often as its weight says: a random index picks a fault.
FAULT_WHEEL: Final = tuple(fault for fault in FAULTS for _ in range(fault.weight // 10))
