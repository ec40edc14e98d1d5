"""What one run of the pipeline did, in counts and in sentences.

Every merge writes what it did, and for which run, into its snapshot's summary (``common.lake.merge``); the
rules that refused rows broke are in Quarantine. So nothing has to be handed through the state machine, and a
run of yesterday can be asked as well, as long as its snapshots are kept.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import In
from pyiceberg.table import Table

from common.lake.checkpoints import MERGE_SEQ_COLUMN
from common.lake.history import said_by
from common.lake.reading import read_rows
from common.layers.operations import refused
from common.runtime.errors import TableMissing
from lean_ops.accounts import observation
from lean_ops.environment import lake
from lean_ops.environment.target import Target

_RUN: Final = "lean-ops.run-id"
_KEY, _SOURCE = "idempotency_key", "_source_merge_seq"
_LOOKED_UP: Final = 1000


@dataclass(frozen=True)
class Merged:
    """What the commits of a run did to one table; all zero where there were none."""

    rows_read: int = 0
    inserted: int = 0
    updated: int = 0
    set_aside: int = 0
    removed: int = 0


@dataclass(frozen=True)
class RunReport:
    """``curated``, ``semantic``: what was merged. ``refused``: rows that went to Quarantine, by rule.

    A row that broke several rules counts for each; ``quarantined`` counts it once. ``in_queue``: messages
    that the source queue has now. ``buffered_bytes``: what the delivery stream of the topic holds (None on
    AWS, where nobody tells). ``semantic`` is None for a topic without a contract.
    """

    topic: str
    curated: Merged
    semantic: Merged | None
    quarantined: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    in_queue: int = 0
    buffered_bytes: int | None = None

    @property
    def all_refused(self) -> bool:
        """Whether rows were refused, and none published."""
        return self.quarantined > 0 and not self.published

    @property
    def published(self) -> int:
        """Rows of Semantic that the run wrote."""
        return self.semantic.inserted + self.semantic.updated if self.semantic else 0

    def sentences(self) -> list[str]:
        """What a person has to know, and the command that shows more."""
        said = [self._read(), *self._semantic()]
        waiting = []
        if self.in_queue:
            waiting.append(f"{self.in_queue:,} messages in the queue")
        if self.buffered_bytes:
            waiting.append(f"{self.buffered_bytes:,} bytes in Firehose's buffer")
        if waiting:
            said.append(
                f"Still on the way to RAW: {' and '.join(waiting)}; the next run reads them (`lean-ops send "
                "--wait` waits until they are there)."
            )
        return said

    def _read(self) -> str:
        done = self.curated
        if not done.rows_read:
            return f"RAW of {self.topic} held nothing that was not read or erased before."
        aside = f", {done.set_aside:,} were repetitions or older versions" if done.set_aside else ""
        return (
            f"{done.rows_read:,} rows of RAW read: {done.inserted:,} new and {done.updated:,} corrected rows "
            f"in Curated{aside}."
        )

    def _semantic(self) -> list[str]:
        said = []
        if self.semantic is None:
            said.append(
                f"{self.topic} has no contract, so it stops at Curated, every field as text; "
                f"contracts/{self.topic}.yaml takes it on (docs/contracts.md)."
            )
        elif self.semantic.rows_read:
            removed = f", {self.semantic.removed:,} deleted" if self.semantic.removed else ""
            said.append(
                f"Semantic: {self.semantic.inserted:,} new and {self.semantic.updated:,} corrected rows"
                f"{removed}."
            )
        if self.quarantined:
            none = "No row was published: all " if self.all_refused else ""
            rules = ", ".join(f"{rule} {count:,}" for rule, count in Counter(self.refused).most_common())
            said.append(
                f"{none}{self.quarantined:,} refused by the contract, by rule: {rules or 'not known'}."
            )
            look = f'lean-ops query "SELECT reasons, row_json FROM quarantine_{self.topic} LIMIT 5"'  # noqa: S608 - to be read by people
            said.append(
                f"Look: `{look}`; mend contracts/{self.topic}.yaml or the readings, then `lean-ops replay "
                f"quarantine --topic {self.topic}`."
            )
        return said


def report(target: Target, topic: str, execution_arn: str) -> RunReport:
    """What the execution did to ``topic``, and what is on its way now; raises TableUnreadable."""
    run_id = execution_arn.rsplit(":", 1)[-1]
    catalog = target.catalog()
    quarantined, refused = refused_by(_table(catalog, target, "quarantine", topic), run_id)
    buffered = None
    if (backlogs := target.delivery_backlogs()) is not None:
        backlog = backlogs.get(target.settings.delivery_stream(topic))
        buffered = backlog.bytes if backlog else 0
    semantic = _table(catalog, target, "semantic", topic)
    return RunReport(
        topic,
        curated=merged_by(_table(catalog, target, "curated", topic), run_id),
        semantic=merged_by(semantic, run_id) if semantic else None,
        quarantined=quarantined,
        refused=refused,
        in_queue=observation.in_flight(target),
        buffered_bytes=buffered,
    )


def last_run(*tables: Table) -> str:
    """Id of the run that committed to one of ``tables`` last; empty where none did.

    A run of which every row was refused commits to Quarantine alone.
    """
    merges = [
        (snapshot.timestamp_ms, said_by(snapshot)[_RUN])
        for table in tables
        for snapshot in table.snapshots()
        if {"lean-ops.rows-read", _RUN} <= said_by(snapshot).keys()
    ]
    return max(merges, default=(0, ""))[1]


def unreadable(target: Target, topic: str) -> list[str]:
    """One sentence for every table of ``topic`` that cannot be read: why a run of it fails."""
    catalog = target.catalog()
    said = []
    for layer in ("raw", "curated", "semantic", "quarantine"):
        try:
            _table(catalog, target, layer, topic)
        except lake.TableUnreadable as error:
            said.append(str(error))
    return said


def _table(catalog: Catalog, target: Target, layer: str, topic: str) -> Table | None:
    identifier = target.settings.table(layer, topic)
    # A catalog may have to read a table's metadata to say that it is there.
    try:
        return lake.open_whole(catalog, identifier)
    except TableMissing:
        return None


def _summaries(table: Table | None, run_id: str) -> list[Mapping[str, str]]:
    """The summaries of the commits that the run made to a table."""
    summaries = (said_by(snapshot) for snapshot in (table.snapshots() if table else []))
    return [summary for summary in summaries if summary.get(_RUN) == run_id]


def merged_by(table: Table | None, run_id: str) -> Merged:
    """What the run's commits did to ``table``."""

    def total(*names: str) -> int:
        return sum(int(summary.get(f"lean-ops.{name}", 0)) for summary in summaries for name in names)

    summaries = _summaries(table, run_id)
    return Merged(
        rows_read=total("rows-read"),
        inserted=total("inserted"),
        updated=total("updated"),
        set_aside=total("duplicate-messages", "superseded", "unchanged"),
        removed=total("removed"),
    )


def still_refused(quarantine: Table, semantic: Table, run_id: str) -> int | None:
    """How many of the rows that the run refused have not come to Semantic since.

    None where there are more than ``_LOOKED_UP``, of which nobody looks.
    """
    waiting: dict[str, int] = {}
    for summary in _summaries(quarantine, run_id):
        of_merge = f"{MERGE_SEQ_COLUMN} == {int(summary['lean-ops.merge-seq'])}"
        for batch in read_rows(quarantine, of_merge, [_KEY, _SOURCE]):
            waiting |= _versions(batch)
            if len(waiting) > _LOOKED_UP:
                return None
    if not waiting:
        return 0
    for batch in read_rows(semantic, In(term=_KEY, literals=set(waiting)), [_KEY, _SOURCE]):
        for key, merged in _versions(batch).items():
            if key in waiting and merged >= waiting[key]:
                del waiting[key]
    return len(waiting)


def _versions(rows: pa.RecordBatch) -> dict[str, int]:
    """By key, with which merge of Curated its row came."""
    return {str(row[_KEY]): int(row[_SOURCE]) for row in rows.select([_KEY, _SOURCE]).to_pylist()}


def refused_by(table: Table | None, run_id: str) -> tuple[int, dict[str, int]]:
    """Rows that the run refused, and how many of them broke each rule."""
    summaries = _summaries(table, run_id)
    if table is None or not summaries:
        return 0, {}
    rows, counted = 0, Counter[str]()
    for summary in summaries:
        of_merge, rules = refused(table, int(summary["lean-ops.merge-seq"]))
        rows, counted = rows + of_merge, counted + rules
    return rows, dict(counted)
