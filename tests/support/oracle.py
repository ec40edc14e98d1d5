"""What the tables must hold, worked out without the code that is tested: one pass over all events at once.

The one oracle for all layers: versions, copies and deletes; the contract is a function that accepts a payload
or does not; retention is the time since which a layer keeps rows, erasure the keys of which nothing is left.
The order in which events come, and what happened meanwhile, is nothing that it could look at.
"""

import json
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from itertools import zip_longest
from typing import Any

Event = dict[str, Any]


def single_pass(
    events: Iterable[Event], *, since: datetime | None = None, erased: Collection[str] = ()
) -> dict[str, Event]:
    """Curated, by key: of every message at its time the first copy, of these the newest; deletes included.

    ``since``: rows published before it are past, by retention. ``erased``: keys of which nothing is left.
    """
    return {event["idempotency_key"]: event for event in _versions(events, since, erased)}


def newest_good(
    events: Iterable[Event],
    accepted: Callable[[dict[str, Any]], bool],
    *,
    since: datetime | None = None,
    erased: Collection[str] = (),
) -> dict[str, Event]:
    """Semantic, by key: the newest version since the last delete whose payload a contract accepts."""
    found: dict[str, Event] = {}
    for event in _versions(events, since, erased):
        if event["json_payload"] is None:
            found.pop(event["idempotency_key"], None)
        elif accepted(json.loads(event["json_payload"])):
            found[event["idempotency_key"]] = event
    return found


def waiting(
    events: Iterable[Event],
    accepted: Callable[[dict[str, Any]], bool],
    *,
    since: datetime | None = None,
    erased: Collection[str] = (),
) -> dict[str, Event]:
    """What waits in Quarantine, by key: the newest version, where it is no delete and is refused."""
    newest = single_pass(events, since=since, erased=erased)
    refused = {key: e for key, e in newest.items() if e["json_payload"] is not None}
    return {key: e for key, e in refused.items() if not accepted(json.loads(e["json_payload"]))}


def every_version(
    events: Iterable[Event], *, since: datetime | None = None, erased: Collection[str] = ()
) -> dict[str, list[tuple[Event, datetime | None]]]:
    """The history, by key, oldest version first: each with the time of the next newer one."""
    found: dict[str, list[Event]] = {}
    for event in _versions(events, since, erased):
        found.setdefault(event["idempotency_key"], []).append(event)
    return {
        key: list(zip_longest(versions, (e["publish_time"] for e in versions[1:])))
        for key, versions in found.items()
    }


def _versions(events: Iterable[Event], since: datetime | None, erased: Collection[str]) -> list[Event]:
    """Events without copies, older versions first."""
    first: dict[tuple[Any, ...], Event] = {}
    for event in events:
        if event["idempotency_key"] in erased or (since is not None and event["publish_time"] < since):
            continue
        copy = event["idempotency_key"], event["message_id"], event["publish_time"]
        if copy not in first or event["ingestion_ts"] < first[copy]["ingestion_ts"]:
            first[copy] = event
    return sorted(first.values(), key=_rank)


def _rank(event: Event) -> tuple[Any, ...]:
    return event["publish_time"], event["ingestion_ts"], event["message_id"]
