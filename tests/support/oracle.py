"""What the tables must hold, worked out without the code that is tested: one pass over all events at once."""

import json
from collections.abc import Callable, Iterable
from typing import Any

Event = dict[str, Any]


def single_pass(events: Iterable[Event]) -> dict[str, Event]:
    """Curated, by key: of every message at its time the first copy, of these the newest."""
    return {event["idempotency_key"]: event for event in _versions(events)}


def newest_good(events: Iterable[Event], accepted: Callable[[dict[str, Any]], bool]) -> dict[str, Event]:
    """Semantic, by key: the newest version since the last delete whose payload a contract accepts."""
    found: dict[str, Event] = {}
    for event in _versions(events):
        if event["json_payload"] is None:
            found.pop(event["idempotency_key"], None)
        elif accepted(json.loads(event["json_payload"])):
            found[event["idempotency_key"]] = event
    return found


def _versions(events: Iterable[Event]) -> list[Event]:
    """Events without copies, older versions first."""
    first: dict[tuple[Any, ...], Event] = {}
    for event in events:
        copy = event["idempotency_key"], event["message_id"], event["publish_time"]
        if copy not in first or event["ingestion_ts"] < first[copy]["ingestion_ts"]:
            first[copy] = event
    return sorted(first.values(), key=_rank)


def _rank(event: Event) -> tuple[Any, ...]:
    return event["publish_time"], event["ingestion_ts"], event["message_id"]
