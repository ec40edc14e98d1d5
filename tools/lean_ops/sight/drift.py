"""Drift: what differs from the contracts, as the drift log has it, and what to do about it."""

from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from common.contract import drift
from lean_ops.environment.target import Target
from lean_ops.sight.parts import Publish

READ: Final = 5_000
SHOWN: Final = 100
# Of a column that is new nothing is to be done: where a contract does not name it, another entry says so.
_LAST: Final = {"new-column": 1}


@dataclass(frozen=True)
class Drifted:
    """One entry; ``detail`` names the command where there is one. ``days``: on how many it was met.

    The log is exact to the day: ``last_seen`` is the first time on the last day.
    """

    topic: str
    kind: str
    subject: str
    detail: str
    first_seen: str
    last_seen: str
    days: int


@dataclass(frozen=True)
class Drift:
    """Entries out of ``known``; ``complete``: there are no others in the log."""

    entries: tuple[Drifted, ...]
    known: int
    complete: bool


def read(target: Target, _: Publish) -> Drift:
    """The drift log, as far as the bound goes."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.drift_log_table)
    items = list(islice((item for page in pages for item in page["Items"]), READ + 1))
    newest = sorted((_entry(item) for item in items[:READ]), key=lambda one: one.first_seen, reverse=True)
    entries = sorted(newest, key=lambda one: _LAST.get(one.kind, 0))
    return Drift(tuple(entries[:SHOWN]), len(entries), len(items) <= READ)


def _entry(item: Any) -> Drifted:
    def text(name: str) -> str:
        return str(item.get(name, {}).get("S", "?"))

    first = text("first_seen")
    last = str(item.get("last_seen", {}).get("S", first))  # entries of before do not say
    return Drifted(
        text("topic"), text("kind"), text("subject"), text("detail"), first, last, drift.days_of(item)
    )
