"""What Curated must hold, worked out without the code that is tested: one pass over all events at once."""

from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]


def single_pass(events: Iterable[Event]) -> dict[str, Event]:
    """The rule of the design, by key: the first copy of every message at its time, then the greatest."""
    first: dict[tuple[Any, ...], Event] = {}
    for event in events:
        copy = event["idempotency_key"], event["message_id"], event["publish_time"]
        if copy not in first or event["ingestion_ts"] < first[copy]["ingestion_ts"]:
            first[copy] = event
    best: dict[str, Event] = {}
    for event in first.values():
        held = best.setdefault(event["idempotency_key"], event)
        if _rank(event) > _rank(held):
            best[event["idempotency_key"]] = event
    return best


def _rank(event: Event) -> tuple[Any, ...]:
    return event["publish_time"], event["ingestion_ts"], event["message_id"]
