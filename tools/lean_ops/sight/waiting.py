"""What did not get through: dead letters, failed deliveries and refused rows, by reason, samples masked.

The dead-letter queue is never received from: SQS counts every look, and a letter that was received three
times leaves the queue's age metric. Its count comes from its attributes, reasons from the copies in the lake
bucket, which keeps those that were replayed since as well. All of it is bounded, and says where it ends.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from common.intake import archive
from common.intake.queue_pass import QueuedMessage
from common.lake.history import said_by
from common.lake.pointers import never_committed, pointers
from common.lake.reading import read_rows
from common.lake.specifications import open_table
from common.layers.rejudging import rules_of
from common.runtime import outside
from lean_ops.environment.target import Target
from lean_ops.operate.replay import dead_letters, deliveries
from lean_ops.operate.replay.selection import Selection, Tally
from lean_ops.sight.parts import Publish, sentence

LETTERS: Final = 5_000
OBJECTS: Final = 50
ROWS: Final = 200_000
TOPICS: Final = 50
DAYS: Final = 14
_SAMPLES: Final = 3
_KNOWN: Final = 4_096


@dataclass(frozen=True)
class Sample:
    """One of what waits. ``detail``: what is wrong with it; never a value of an event."""

    id: str
    at: datetime | None
    detail: str = ""


@dataclass(frozen=True)
class Group:
    """What waits for one reason in one topic. ``mend``: the command that sends it on."""

    reason: str
    topic: str
    count: int
    mend: str
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Letters:
    """``waiting``: what the queue holds; ``groups``: copies of the last days, ``counted`` of them read."""

    waiting: int
    groups: tuple[Group, ...]
    counted: int
    complete: bool
    damaged: int


@dataclass(frozen=True)
class Failed:
    """``objects`` of failed deliveries, ``read`` of which were looked into; ``stuck`` cannot be replayed."""

    objects: int
    more: bool
    read: int
    groups: tuple[Group, ...]
    stuck: Mapping[str, str]


@dataclass(frozen=True)
class Refused:
    """Refused rows of all topics, by rule. ``damage``: topics whose Quarantine cannot be read, and why.

    ``rows``: rows of Quarantine; ``counted`` of them were read. ``unread``: topics that were not looked at.
    """

    rows: int
    counted: int
    groups: tuple[Group, ...]
    damage: Mapping[str, str]
    unread: int


def letters(target: Target, _: Publish) -> Letters:
    """Dead letters; raises what reading raises."""
    waiting = dead_letters.open_queue(target).messages
    tally, damaged, complete = Tally(_SAMPLES), 0, True
    for message, broken in islice(_newest_letters(target), LETTERS + 1):
        damaged += broken
        if message is not None and tally.total == LETTERS:
            complete = False
        elif message is not None:
            tally.add(dead_letters.describe(message))
    return Letters(waiting, _groups(tally, "dlq", dead_letters.REASONS), tally.total, complete, damaged)


def _newest_letters(target: Target) -> Iterator[tuple[QueuedMessage | None, int]]:
    today = outside.now().date()
    for ago in range(DAYS + 1):
        day = today - timedelta(days=ago)
        for found in archive.read(target.client("s3"), target.lake_bucket, day, day):
            yield None, len(found.damaged)
            yield from ((message, 0) for message in found.messages)


def failed(target: Target, _: Publish) -> Failed:
    """Failed deliveries."""
    everything = deliveries.error_objects(target, Selection(), limit=1_001)
    newest = sorted(everything, key=lambda one: one.written, reverse=True)[:OBJECTS]
    found = deliveries.look(target, newest, Selection(), samples=_SAMPLES)
    return Failed(
        min(len(everything), 1_000),
        len(everything) > 1_000,
        len(newest),
        _groups(found.tally, "delivery"),
        dict(islice(found.stuck.items(), 10)),
    )


def _groups(tally: Tally, place: str, known: Collection[str] = ()) -> tuple[Group, ...]:
    samples: dict[str, list[Sample]] = {}
    for one in tally.samples:
        samples.setdefault(one.reason, []).append(Sample(one.ids[0] if one.ids else "?", one.at, one.detail))
    return tuple(
        Group(
            reason,
            topic,
            count,
            # Senders may have set the attribute themselves: what is none of the pipeline's is in no command.
            f"lean-ops replay {place}{f' --reason {reason}' if reason in known else ''}",
            tuple(samples.pop(reason, ())),
        )
        for (reason, topic), count in tally.counts.most_common()
    )


class RefusedReader:
    """Reads Quarantine by rule, and remembers tables that have not changed since."""

    def __init__(self) -> None:
        self._read: Final[dict[str, tuple[str, tuple[int, int, tuple[Group, ...]]]]] = {}

    def __call__(self, target: Target, publish: Publish) -> Refused:
        """Refused rows of the topics that have any, as far as the bounds go."""
        places = pointers(target.client("glue"), target.database)
        wanted = {
            name.removeprefix("quarantine_"): place
            for name, place in sorted(places.items())
            if name.startswith("quarantine_") and not never_committed(place)
        }
        rows = counted = 0
        groups: list[Group] = []
        damage: dict[str, str] = {}

        def so_far(done: int) -> Refused:
            ordered = sorted(groups, key=lambda group: -group.count)
            return Refused(rows, counted, tuple(ordered), dict(damage), len(wanted) - done)

        for done, (topic, place) in enumerate(islice(wanted.items(), TOPICS), 1):
            try:
                if self._read.get(topic, ("",))[0] != place:
                    self._read[topic] = place, _refused(target, topic, ROWS)
                of_table, read, found = self._read[topic][1]
            except Exception as error:  # one table hides no other
                damage[topic] = sentence(target, error)
                continue
            rows, counted = rows + of_table, counted + read
            groups += found
            publish(so_far(done))
        return so_far(min(len(wanted), TOPICS))


def _refused(target: Target, topic: str, most: int) -> tuple[int, int, tuple[Group, ...]]:
    """Rows of a Quarantine table, how many of them were read, and these by rule."""
    table = open_table(target.catalog(), target.settings.table("quarantine", topic))
    counts: Counter[str] = Counter()
    samples: dict[str, list[Sample]] = {}
    broken: dict[str, dict[str, str]] = {}
    rows = 0
    for batch in read_rows(table, columns=["reasons", "message_id", "ingestion_ts"]):
        reasons: list[Any] = batch.column("reasons").to_pylist()
        for number, text in enumerate(reasons):
            if text not in broken:
                broken = broken if len(broken) < _KNOWN else {}
                broken[text] = _broken(text)
            for rule, looks in broken[text].items():
                counts[rule] += 1
                if counts[rule] <= _SAMPLES:
                    id_ = str(batch.column("message_id")[number].as_py())
                    at = batch.column("ingestion_ts")[number].as_py()
                    samples.setdefault(rule, []).append(Sample(id_, at, looks))
        rows += batch.num_rows
        if rows >= most:
            break
    totals = said_by(table.current_snapshot())
    total = int(totals.get("total-records", 0)) - int(totals.get("total-position-deletes", 0))
    mend = f"lean-ops replay quarantine --topic {topic}"
    groups = (Group(rule, topic, count, mend, tuple(samples[rule])) for rule, count in counts.most_common())
    return max(rows, total), rows, tuple(groups)


def _broken(reasons: str) -> dict[str, str]:
    """The rules that a row broke, with what was expected and found: kinds, never what a value says."""
    found = json.loads(reasons)
    looks = (f"expected {one.get('expected', '?')}, found {one.get('found', '?')}" for one in found)
    return dict(zip(rules_of(reasons), looks, strict=True))
