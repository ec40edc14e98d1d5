"""Messages as the queue's function is handed them, and what sources make of them."""

import json
from collections.abc import Mapping
from typing import Any

from common.intake.events import EventParser
from common.intake.sources import Sources, compile_source
from common.intake.sources.outcome import Outcome

ARRIVED_MS = 1_792_483_300_000  # 2026-10-20T08:01:40Z
PARSER = EventParser(frozenset({"events", "temperatures", "humidities"}))
SIMPLE: dict[str, Any] = {
    "version": 1,
    "match": "others",
    "topic": "events",
    "key": "dev",
    "time": "$arrived",
}


def record(
    body: str,
    *,
    attributes: Mapping[str, str] | None = None,
    mqtt_topic: str | None = None,
    sent_ms: int = ARRIVED_MS,
) -> dict[str, Any]:
    """An SQS record of a Lambda event; the MQTT topic as an attribute."""
    texts = {**(attributes or {}), **({} if mqtt_topic is None else {"mqtt_topic": mqtt_topic})}
    return {
        "messageId": "sqs-1",
        "body": body,
        "attributes": {"SentTimestamp": str(sent_ms), "ApproximateFirstReceiveTimestamp": str(sent_ms)},
        "messageAttributes": {
            name: {"dataType": "String", "stringValue": text} for name, text in texts.items()
        },
    }


def read(
    source: Mapping[str, Any], body: object, *, descriptors: Mapping[str, bytes] | None = None, **how: Any
) -> Outcome:
    """What a message becomes by one source; a body that is no text is written as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    return Sources([compile_source("device", source, descriptors)]).read(record(text, **how), PARSER)


def events(outcome: Outcome) -> list[dict[str, Any]]:
    """The events as RAW has them, the payload as text."""
    return [json.loads(made.record) for made in outcome.events]


def keys(outcome: Outcome) -> list[str]:
    """The keys of the events."""
    return [event["idempotency_key"] for event in events(outcome)]


def payloads(outcome: Outcome) -> list[str]:
    """The payloads of the events, as texts."""
    return [event["json_payload"] for event in events(outcome)]


def ids(outcome: Outcome) -> list[str]:
    """The message ids of the events."""
    return [event["message_id"] for event in events(outcome)]


def times(outcome: Outcome) -> list[int]:
    """Publish times in microseconds."""
    return [event["publish_time"] for event in events(outcome)]
