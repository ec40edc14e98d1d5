"""One event's way through all layers, with times: where it was accepted, what became of it, and why.

What is read, and what it costs:

- the archive of dead letters and the error objects, of the days asked for: all of their content;
- RAW by ``message_id``, which no partition and no statistics know: the envelope columns of every file whose
  days of ``publish_time`` are within the window, and nothing of the payload;
- Curated, Semantic and Quarantine by ``idempotency_key``: one bucket in sixteen, file statistics besides;
- the dead-letter queue on request only, since looking at it is a receive (``common.intake.queue_pass``).

No payload value is ever part of a trace.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo
from pyiceberg.expressions.parser import parse as parse_filter
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from common.intake import archive as dead_letter_archive
from common.intake.queue_pass import QueuedMessage, QueuePass
from common.lake.checkpoints import MERGE_SEQ, RUN_ID
from common.lake.history import lineage, said_by
from common.layers.rejudging import rules_of
from common.payload.flattening import DELETED
from common.runtime import outside
from lean_ops.environment.target import Target
from lean_ops.operate.replay import dead_letters, deliveries
from lean_ops.operate.replay.deliveries import ErrorObject
from lean_ops.operate.replay.error_objects import PREFIX, REPLAYED_PREFIX, Malformed
from lean_ops.operate.replay.selection import Selection

_ENVELOPE: Final = ("message_id", "idempotency_key", "period_reference", "publish_time", "ingestion_ts")
_OF_LAYER: Final = {
    "raw": (*_ENVELOPE, "source"),
    "curated": (*_ENVELOPE, "_merge_seq", DELETED),
    "semantic": (*_ENVELOPE, "_contract_version", "_source_merge_seq", "_merge_seq"),
    "quarantine": (*_ENVELOPE, "_contract_version", "_source_merge_seq", "_merge_seq", "reasons"),
}
_FILES_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Sighting:
    """The event was seen in a place: since when (None: not known any more), and what that means."""

    place: str
    at: datetime | None
    what: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What was read of a place, and what kept it small. ``size_bytes``: whole files, for columns as well."""

    place: str
    files: int
    size_bytes: int
    pruned_by: str


@dataclass
class Trace:
    """All sightings of one message, in the order of the layers."""

    topic: str
    message_id: str
    sightings: list[Sighting] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Stored things that could not be read, by place: the message may be in one of them."""

    @property
    def found(self) -> bool:
        """Whether the message was seen anywhere."""
        return bool(self.sightings)


@dataclass(frozen=True)
class Version:
    """A row of a table that holds a version of a key, with the file it is in."""

    row: dict[str, Any]
    path: str

    @property
    def rank(self) -> tuple[datetime, datetime, str]:
        """What the de-duplication rule compares, from left to right; the greater version stays."""
        return self.row["publish_time"], self.row["ingestion_ts"], self.row["message_id"]


def trace(
    target: Target,
    topic: str,
    message_id: str,
    since: datetime,
    until: datetime,
    *,
    with_queue: bool = False,
) -> Trace:
    """Follow the message ``message_id`` of ``topic`` through every place that it can be in.

    ``since`` and ``until`` bound ``publish_time`` in RAW, and the days of the archive and of error objects.
    ``with_queue``: look at the dead-letter queue itself too. Raises TableMissing for an unknown topic.
    """
    found = Trace(topic, message_id)
    _dead_letters(target, found, since, with_queue=with_queue)
    _delivery_errors(target, found, since)
    copies = _raw(target, found, since, until)
    if copies:
        first = min(copies, key=lambda copy: copy.row["ingestion_ts"])
        seen = _Tables(target, found, str(first.row["idempotency_key"]))
        seen.curated(first)
        seen.semantic(first)
        seen.quarantine()
    return found


def explain(ours: Version, current: Version | None) -> str:
    """What ``ours`` (the first copy in RAW) is to the version that a merged table holds of its key."""
    if current is None:
        return "not merged yet: the next run takes it up"
    name = current.row["message_id"]
    if _name(current) == _name(ours):
        return "is the current version of its key"
    if ours.rank > current.rank:
        return f"not merged yet: the next run lets it replace {name}"
    by = "was published later"
    if current.rank[0] == ours.rank[0]:
        later = current.rank[1] > ours.rank[1]
        by = "was published at the same time and ingested later" if later else "wins the tie by its id"
    return f"superseded by {name}, which {by}"


def _name(version: Version) -> tuple[Any, ...]:
    """What copies of a key have in common; an id may be used again by a device that counts from zero."""
    return tuple(version.row[column] for column in ("message_id", "publish_time"))


def _dead_letters(target: Target, found: Trace, since: datetime, *, with_queue: bool) -> None:
    def note(message: QueuedMessage, place: str, facts: dict[str, Any]) -> None:
        waiting = dead_letters.describe(message)
        if found.message_id in waiting.ids:
            detail = f": {waiting.detail}" if waiting.detail else ""
            facts = facts | {"sqs_message_id": message.message_id, "receives": message.receive_count}
            found.sightings.append(Sighting(place, waiting.at, f"dead: {waiting.reason}{detail}", facts))

    if with_queue:
        queue = dead_letters.open_queue(target)
        with QueuePass(target.client("sqs"), queue.url) as letters:
            for batch in letters.batches():
                for message in batch:
                    note(message, "dead-letter queue", {})
    objects = 0
    archive = dead_letter_archive.read(
        target.client("s3"), target.lake_bucket, since.date(), outside.now().date()
    )
    for archived in archive:
        objects += 1
        for message in archived.messages:
            note(message, "archive of dead letters", {"object": archived.key})
        found.damaged += archived.damaged
    found.costs.append(Cost("archive of dead letters", objects, 0, f"days since {since:%Y-%m-%d}"))


def _delivery_errors(target: Target, found: Trace, since: datetime) -> None:
    s3 = target.client("s3")
    waiting = deliveries.error_objects(target, Selection(topic=found.topic, since=since))
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=target.lake_bucket, Prefix=f"{REPLAYED_PREFIX}{found.topic}/"
    )
    replayed = [
        ErrorObject(entry["Key"], entry["LastModified"], entry["Size"])
        for page in pages
        for entry in page.get("Contents", [])
        if entry["LastModified"] >= since
    ]
    for error_object in (*waiting, *replayed):
        place = f"s3://{target.lake_bucket}/{error_object.key}"
        stuck: dict[str, str] = {}
        for line in deliveries.read(s3, target.lake_bucket, error_object, found.topic, stuck) or ():
            if isinstance(line, Malformed):
                found.damaged.append(f"{place}, line {line.number}: {line.why}")
                continue
            if found.message_id not in line.waiting.ids:
                continue
            done = error_object.key.startswith(REPLAYED_PREFIX)
            what = f"delivery failed: {line.waiting.reason}" + ("; replayed since" if done else "; waits")
            found.sightings.append(
                Sighting("delivery errors", line.waiting.at, what, {"object": error_object.key})
            )
        found.damaged += [f"{place}: {why}" for why in stuck.values()]
    size = sum(error_object.size for error_object in (*waiting, *replayed))
    pruned = f"{PREFIX}{found.topic}/, written since {since:%Y-%m-%d}"
    found.costs.append(Cost("delivery errors", len(waiting) + len(replayed), size, pruned))


def _raw(target: Target, found: Trace, since: datetime, until: datetime) -> list[Version]:
    """The copies of the message in RAW."""
    table = target.catalog().load_table(target.settings.table("raw", found.topic))
    window = f"publish_time >= '{since.isoformat()}' and publish_time < '{until.isoformat()}'"
    pruned = f"days of publish_time {since:%Y-%m-%d} to {until:%Y-%m-%d}"
    where = And(_equals("message_id", found.message_id), parse_filter(window))
    copies = sorted(_versions(table, where, "raw", found, pruned), key=lambda copy: copy.row["ingestion_ts"])
    commits = _commit_times(table, {copy.path for copy in copies})
    known: set[tuple[Any, ...]] = set()
    for copy in copies:
        accepted = "accepted again: a copy, the first one counts" if _name(copy) in known else "accepted"
        known.add(_name(copy))
        row = copy.row
        facts = {"published": row["publish_time"], "idempotency_key": row["idempotency_key"]}
        if row.get("source"):
            facts["source"] = row["source"]
        found.sightings.append(Sighting("source queue", row["ingestion_ts"], accepted, facts))
        found.sightings.append(
            Sighting("RAW", commits.get(copy.path), "delivered", {"period": row["period_reference"]})
        )
    return copies


class _Tables:
    """The merged tables of one topic, asked for one key."""

    def __init__(self, target: Target, found: Trace, key: str) -> None:
        self._target: Final = target
        self._found: Final = found
        self._key: Final = key

    def curated(self, ours: Version) -> None:
        """Whether Curated holds the message, or what instead."""

        def what(version: Version | None) -> str:
            deleted = version is not None and version.row.get(DELETED)
            return explain(ours, version) + (", a delete: the key is taken back" if deleted else "")

        self._note("curated", "Curated", what)

    def semantic(self, ours: Version) -> None:
        """Whether Semantic holds the message, or what instead."""

        def what(version: Version | None) -> str:
            if version is None:
                return "holds no version of its key"
            if _name(version) == _name(ours):
                return f"published under contract {version.row['_contract_version']}"
            return f"holds {version.row['message_id']} of its key"

        self._note("semantic", "Semantic", what)

    def quarantine(self) -> None:
        """What Quarantine holds of the key, if anything."""

        def what(version: Version | None) -> str:
            if version is None:
                return ""
            rules = ", ".join(rules_of(version.row["reasons"]))
            by = f"contract {version.row['_contract_version']}"
            return f"{version.row['message_id']} was refused by {by}: {rules}"

        self._note("quarantine", "Quarantine", what)

    def _note(self, layer: str, place: str, what: Callable[[Version | None], str]) -> None:
        try:
            table = self._target.catalog().load_table(self._target.settings.table(layer, self._found.topic))
        except NoSuchTableError:  # a topic without a contract has no Semantic and no Quarantine
            return
        pruned = "bucket of the key" if layer != "quarantine" else "statistics of the key"
        versions = _versions(table, _equals("idempotency_key", self._key), layer, self._found, pruned)
        version = versions[0] if versions else None
        text = what(version)
        if not text:
            return
        at, facts = None, {}
        if version is not None:
            at, run_id = _merge_time(table, int(version.row["_merge_seq"]))
            facts = {"message_id": version.row["message_id"], "merge": version.row["_merge_seq"]}
            facts |= {"run_id": run_id} if run_id else {}
        self._found.sightings.append(Sighting(place, at, text, facts))


def _versions(
    table: Table, where: BooleanExpression, layer: str, found: Trace, pruned_by: str
) -> list[Version]:
    """The rows that match, with their files; a few files are read at the same time."""
    tasks = list(table.scan(row_filter=where).plan_files())
    size = sum(task.file.file_size_in_bytes for task in tasks)
    found.costs.append(Cost(table.name()[-1], len(tasks), size, pruned_by))
    # A table from before there were deletes has no column for them.
    names = set(table.schema().column_names)
    columns = table.schema().select(*(name for name in _OF_LAYER[layer] if name in names))

    def read(task: FileScanTask) -> Iterator[Version]:
        rows = ArrowScan(table.metadata, table.io, columns, where).to_table([task]).to_pylist()
        return (Version(row, task.file.file_path) for row in rows)

    with ThreadPoolExecutor(_FILES_AT_ONCE, "trace") as threads:
        return [version for versions in threads.map(read, tasks) for version in versions]


def _commit_times(table: Table, paths: set[str]) -> dict[str, datetime]:
    """When files were committed, as far as their snapshots are kept; compaction counts as a new commit."""
    current = table.current_snapshot()
    times: dict[str, datetime] = {}
    if current is None or not paths:
        return times
    for manifest in current.manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io):
            added_by = entry.snapshot_id or manifest.added_snapshot_id
            if entry.data_file.file_path in paths and added_by is not None:
                snapshot = table.snapshot_by_id(added_by)
                if snapshot is not None:
                    times[entry.data_file.file_path] = _moment(snapshot.timestamp_ms)
    return times


def _merge_time(table: Table, sequence: int) -> tuple[datetime | None, str]:
    """When the merge with this number was committed, and by which run; (None, "") after its expiry."""
    for snapshot in lineage(table):
        if said_by(snapshot).get(MERGE_SEQ) == str(sequence) and RUN_ID in said_by(snapshot):
            return _moment(snapshot.timestamp_ms), said_by(snapshot)[RUN_ID]
    return None, ""


def _equals(column: str, value: str) -> BooleanExpression:
    # The pydantic plugin sees the fields of the model, not its constructor.
    constructor: Any = EqualTo
    expression: BooleanExpression = constructor(column, value)
    return expression


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
