"""What was done, as tables that analysts read: ``ops_runs`` and its four siblings (docs/adr/0027).

Of runs nobody reports anything. Every merge has said what it did in the summary of its snapshot, Quarantine
has the rules that refused rows broke, and the drift log what was new; upkeep and reconciliation leave
reports (``common.layers.reports``). From these, rows are made once an hour, of all topics together, in one
commit a table. A row has a name (``entry``) that follows from what it is about, and is merged by it: whatever
is told again, after a crash or because two did it at once, stays one row.

    ops_runs            a row a commit of a run: rows read, merged, left out, new columns, requests, seconds
    ops_rules           a row a rule that a run's rows broke: how many
    ops_drift           a row an entry of the drift log
    ops_upkeep          a row a pass of upkeep that changed a table: what it did, files before and after
    ops_reconciliation  a row a look, topic and hour: events counted in each place, and keys that are wrong

Counts and names are in them, and no value of an event.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import BooleanType, DoubleType, LongType, StringType, TimestamptzType

from common.contract import drift
from common.lake.checkpoints import MERGE_SEQ, MERGE_SEQ_COLUMN, RUN_ID, SECONDS
from common.lake.files import TRAFFIC_SAID
from common.lake.history import said_by
from common.lake.merge import StagedSource, merge
from common.lake.pointers import never_committed
from common.lake.reading import read_rows
from common.lake.rule import OPERATIONS_RULE
from common.lake.specifications import OPERATIONS, OPERATIONS_LAYER, open_table
from common.layers import reports
from common.layers.rejudging import rules_of
from common.layers.reports import Waiting
from common.layers.upkeep import Failure
from common.runtime.settings import LakeSettings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

MERGED: Final = ("curated", "semantic", "quarantine")
ROWS_READ: Final = "lean-ops.rows-read"
"""What every merge says, and no other commit."""
# Told again of each topic: clocks of functions differ, and so do those of commits.
_OVERLAP: Final = timedelta(hours=1)
# Topics whose rows are committed together.
_AT_ONCE: Final = 100
_MEMORY_MB: Final = 256
_ARROW: Final[dict[type, pa.DataType]] = {
    BooleanType: pa.bool_(),
    StringType: pa.string(),
    LongType: pa.int64(),
    DoubleType: pa.float64(),
    TimestamptzType: pa.timestamp("us", "UTC"),
}

Rows = dict[str, list[dict[str, Any]]]
"""Rows by the name of their table, without its prefix."""


@dataclass(frozen=True)
class Told:
    """How far a topic was told of. ``standing``: of its merged tables then; ``upto``: seconds since 1970."""

    standing: str = ""
    upto: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """What an item says; nothing, where it is damaged: then all is told again, and merged."""
        try:
            return cls(str(item["standing"]["S"]), int(item["upto"]["N"]))
        except (KeyError, TypeError, ValueError):
            return cls()

    def as_item(self) -> dict[str, Any]:
        """The attributes of the item, beside its key."""
        return {"standing": {"S": self.standing}, "upto": {"N": str(self.upto)}}

    @property
    def since(self) -> datetime:
        """From when on commits and entries are told."""
        return max(datetime.fromtimestamp(self.upto, UTC) - _OVERLAP, datetime.fromtimestamp(0, UTC))


def item_of(topic: str) -> str:
    """Id of the item that remembers a topic."""
    return f"{topic}#operations"


def standing(topic: str, pointers: Mapping[str, str]) -> str:
    """Stands for what there is to tell of a topic; empty where nobody has merged yet."""
    places = [pointers.get(f"{layer}_{topic}", "") for layer in MERGED]
    if all(not place or never_committed(place) for place in places):
        return ""
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Sources:
    """Where it stands what runs did."""

    settings: LakeSettings
    catalog: Catalog
    dynamodb: "DynamoDBClient"
    drift_log_table: str


@dataclass
class Record:
    """What was written down: rows that are new by table, topics that were told of, and what could not be."""

    rows: Counter[str] = field(default_factory=Counter)
    topics: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def record(
    sources: Sources,
    *,
    pointers: Mapping[str, str],
    told: Mapping[str, Told],
    waiting: Mapping[str, Waiting],
    now: datetime,
    run_id: str,
    go_on: Callable[[], bool] = lambda: True,
) -> Record:
    """Write down what the topics of ``told`` did that have changed since, and remember how far that is.

    ``waiting``: reports of topics, which are written down too and taken away. A topic that cannot be read
    hides no other; it is told the next time, as is one that time was short for.
    """
    done = Record()
    changed = {
        topic: stands
        for topic, known in told.items()
        if (stands := standing(topic, pointers)) and stands != known.standing
    }
    reported = {topic for topic, one in waiting.items() if one.texts}
    due = sorted(changed.keys() | reported, key=lambda topic: (told[topic].upto, topic))
    for first in range(0, len(due), _AT_ONCE):
        if not go_on():
            break
        rows: Rows = {name: [] for name in OPERATIONS}
        read = []
        for topic in due[first : first + _AT_ONCE]:
            try:
                of_topic = rows_of(sources, topic, told[topic].since) if topic in changed else {}
            except Exception as error:  # one topic must not hide others
                done.failures.append(Failure(f"{sources.settings.database}.*_{topic}", error))
                continue
            for name, more in (*of_topic.items(), *waiting.get(topic, Waiting()).rows(topic).items()):
                rows[name] += more
            read.append(topic)
        if not _write(sources, rows, run_id, done):
            break
        table = sources.settings.checkpoints_table
        for topic in read:
            if topic in changed:
                after = Told(changed[topic], int(now.timestamp()))
                sources.dynamodb.put_item(
                    TableName=table, Item={"checkpoint_id": {"S": item_of(topic)}, **after.as_item()}
                )
            reports.take_away(sources.dynamodb, table, topic, waiting.get(topic, Waiting()))
        done.topics += read
    return done


def rows_of(sources: Sources, topic: str, since: datetime) -> Rows:
    """The rows of one topic, of what was committed and found at ``since`` or later."""
    rows: Rows = {name: [] for name in OPERATIONS}
    settings, catalog = sources.settings, sources.catalog
    for layer in MERGED:
        if not catalog.table_exists(settings.table(layer, topic)):
            continue
        table = open_table(catalog, settings.table(layer, topic))
        for snapshot in merges(table, since):
            rows["runs"].append(_run(topic, layer, table, snapshot))
            if layer == "quarantine":
                rows["rules"] += _rules(topic, table, snapshot)
    entries = drift.entries(sources.dynamodb, sources.drift_log_table, topic, since)
    rows["drift"] += (_drift(topic, entry) for entry in entries)
    return rows


def merges(table: Table, since: datetime) -> Iterator[Snapshot]:
    """The snapshots of merges of runs, those that were committed at ``since`` or later."""
    for snapshot in table.snapshots():
        if (
            snapshot.timestamp_ms >= since.timestamp() * 1000
            and {ROWS_READ, RUN_ID} <= said_by(snapshot).keys()
        ):
            yield snapshot


def refused(table: Table, merge_seq: int, snapshot_id: int | None = None) -> tuple[int, Counter[str]]:
    """Rows of Quarantine that one merge wrote, and how many of them broke each rule (``column:rule``).

    ``snapshot_id``: as they were then; None: those that no later merge has changed.
    """
    counts: Counter[str] = Counter()
    rows = 0
    for batch in read_rows(table, f"{MERGE_SEQ_COLUMN} == {merge_seq}", ["reasons"], snapshot_id):
        rows += batch.num_rows
        reasons: Any = batch.column("reasons")
        for entry in reasons.value_counts().to_pylist():
            counts.update(dict.fromkeys(rules_of(entry["values"]), entry["counts"]))
    return rows, counts


def _run(topic: str, layer: str, table: Table, snapshot: Snapshot) -> dict[str, Any]:
    said = said_by(snapshot)

    def count(name: str) -> int:
        return int(said.get(name, 0))

    return {
        "entry": f"{layer}_{topic}/{snapshot.snapshot_id}",
        "publish_time": _moment(snapshot),
        "topic": topic,
        "layer": layer,
        "run_id": said[RUN_ID],
        "engine": "embedded",
        "snapshot_id": snapshot.snapshot_id,
        "merge_seq": count(MERGE_SEQ),
        "rows_read": count(ROWS_READ),
        "inserted": count("lean-ops.inserted"),
        "updated": count("lean-ops.updated"),
        "removed": count("lean-ops.removed"),
        "unchanged": count("lean-ops.unchanged"),
        "duplicates": count("lean-ops.duplicate-messages"),
        "superseded": count("lean-ops.superseded"),
        "past": count("lean-ops.past"),
        "new_columns": _new_columns(table, snapshot),
        "data_files": count("added-data-files"),
        "delete_files": count("added-delete-files"),
        "bytes": count("added-files-size"),
        "seconds": float(said[SECONDS]) if SECONDS in said else None,
        **{column: int(said[name]) if name in said else None for column, name in TRAFFIC_SAID.items()},
    }


def _new_columns(table: Table, snapshot: Snapshot) -> int | None:
    """Columns that the table has had since this commit; None where the one before it is forgotten."""
    schemas = {schema.schema_id: set(schema.column_names) for schema in table.metadata.schemas}
    parent = table.snapshot_by_id(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
    if parent is None or parent.schema_id not in schemas or snapshot.schema_id not in schemas:
        return None
    return len(schemas[snapshot.schema_id] - schemas[parent.schema_id])


def _rules(topic: str, table: Table, snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    said = said_by(snapshot)
    _, counts = refused(table, int(said[MERGE_SEQ]), snapshot.snapshot_id)
    for rule, rows in sorted(counts.items()):
        column, _, name = rule.rpartition(":")
        yield {
            "entry": f"{topic}/{snapshot.snapshot_id}/{rule}",
            "publish_time": _moment(snapshot),
            "topic": topic,
            "run_id": said[RUN_ID],
            "column_name": column,
            "rule": name,
            "rows": rows,
        }


def _drift(topic: str, logged: drift.Logged) -> dict[str, Any]:
    found = logged.entry
    return {
        "entry": f"{topic}/{found.entry}",
        "publish_time": logged.first_seen,
        "topic": topic,
        "run_id": found.run_id,
        "kind": found.kind,
        "subject": found.subject,
        "detail": found.detail,
    }


def _write(sources: Sources, rows: Rows, run_id: str, done: Record) -> bool:
    """Merge the rows into their tables; says whether all of them are there."""
    catalog = sources.catalog
    for name, listed in rows.items():
        identifier = sources.settings.table(OPERATIONS_LAYER, name)
        if not listed:
            continue
        try:
            batch = _batch(open_table(catalog, identifier), listed)
            with StagedSource.of([batch], OPERATIONS_RULE, _MEMORY_MB) as source:
                outcome = merge(catalog, identifier, source, checkpoint=None, run_id=run_id, evolve=False)
        except Exception as error:
            done.failures.append(Failure(identifier, error))
            return False
        done.rows[name] += outcome.inserted
    return True


def _batch(table: Table, rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    fields = [f for f in table.schema().fields if f.name in rows[0]]
    schema = pa.schema([(f.name, _ARROW[type(f.field_type)]) for f in fields])
    return pa.RecordBatch.from_pylist(list(rows), schema=schema)


def _moment(snapshot: Snapshot) -> datetime:
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
