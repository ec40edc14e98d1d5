"""Curated → Semantic: type the changed rows under the topic's contract, quarantine what breaks it.

Semantic holds, of every key, the newest version that the contract accepts. Curated's row is the newest of
all; where it is refused, older versions are looked up (``versions``), once Curated was read to its end. Where
it is a delete, the key leaves Semantic.

Quarantine comes first, then the good rows of Curated and, with them, the older versions: other keys, decided
by a rule of their own. Only that last commit carries the checkpoint: a run that ends before it is repeated
whole, and repeating a merge changes nothing. A
quarantined row is settled when Semantic holds its key with the same ``_source_merge_seq`` (it was judged
again, see ``rejudging``) or a greater one; nothing is ever deleted from Quarantine.

Where rows are read and judged is left to a ``Staging``: this process (``judge_here``), or many others at
once, which are sent the same ``CuratedRows`` in parts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import NestedField

from common.contract.casting import CastResult, unprocessable_row
from common.contract.changes import widens
from common.contract.contracts import Contract
from common.lake.checkpoints import NOTHING, START, SourceCheckpoint
from common.lake.history import check_holds
from common.lake.incremental import Bounds, new_merges
from common.lake.merge import TEXT_BYTES, Beside, MergeOutcome, RemoteSource, SentTable, StagedSource, merge
from common.lake.merging_by_halves import merge_what_can_be_merged
from common.lake.reading import read_files
from common.lake.rule import SOURCE_RULE
from common.lake.specifications import old_names, open_table
from common.layers.erased import NOTHING_ERASED, Erased
from common.layers.judging import judge
from common.layers.versions import Versions, refused_keys
from common.payload.leaves import RESERVED_COLUMNS
from common.runtime.errors import CommitConflict, TableMismatch
from common.runtime.settings import JobSettings

EVERY_ROW: Final = AlwaysTrue()


@dataclass(frozen=True)
class Published:
    """What one run did. ``merge`` is None when Curated held nothing new.

    ``quarantined`` counts rows refused by this run, ``set_aside`` those among them that could not be judged
    at all; ``nulled`` values that were not critical and became null, by column and rule. ``older`` counts
    keys for which an older version than Curated's was published.
    """

    snapshot_id: str
    checkpoint: SourceCheckpoint | None
    rows_read: int
    backlog_rows: int
    merge: MergeOutcome | None = None
    quarantined: int = 0
    nulled: Counter[tuple[str, str]] = field(default_factory=Counter)
    set_aside: int = 0
    older: int = 0

    def as_json(self) -> dict[str, str | int | bool]:
        """The token for the state machine: pointers and counts, never rows; ids as text."""
        return {
            "semantic_snapshot_id": self.snapshot_id,
            "records_written": (self.merge.inserted + self.merge.updated if self.merge else 0) + self.older,
            "quarantined": self.quarantined,
            "set_aside": self.set_aside,
            "backlog": self.backlog_rows > 0,
            "source_token": self.checkpoint.token if self.checkpoint else NOTHING,
            "source_position": self.checkpoint.position if self.checkpoint else START,
        }


@dataclass(frozen=True)
class CuratedRows:
    """Rows of Curated to judge. It can be sent to another process, and be cut into parts by its ``tasks``.

    ``row_bytes``: as in ``incremental.Portion``, ``size``: its ``bytes``. ``pii_key``: see ``publish``.
    """

    curated: SentTable
    tasks: Sequence[FileScanTask]
    row_filter: BooleanExpression
    row_bytes: int
    size: int
    contract: Contract
    pii_key: bytes

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        yield from read_files(self.curated.table(), self.tasks, self.row_filter, row_bytes=self.row_bytes)

    def judged(self) -> Iterator[tuple[CastResult, int]]:
        """What becomes of the rows, step by step, and how many each step has read."""
        for batch in self.batches():
            yield judge(pa.Table.from_batches([batch]), self.contract, self.pii_key), batch.num_rows
            del batch  # not held while what became of it is worked on


@dataclass(frozen=True)
class Judged:
    """Rows ready to be merged: ``good`` ones and ``refused`` ones, and counts as in ``Published``."""

    good: StagedSource | RemoteSource
    refused: StagedSource | RemoteSource
    rows: int
    set_aside: int
    nulled: Counter[tuple[str, str]]


Staging = Callable[[CuratedRows, JobSettings], Judged]
"""Reads and judges rows. Whoever asks closes the sources."""


def judge_here(rows: CuratedRows, settings: JobSettings) -> Judged:
    """A ``Staging`` in this process."""
    good, refused = (StagedSource(SOURCE_RULE, settings.memory_budget_mb) for _ in range(2))
    nulled: Counter[tuple[str, str]] = Counter()
    count = set_aside = 0
    try:
        for cast, read in rows.judged():
            set_aside += cast.set_aside
            nulled.update(cast.nulled)
            good.write_all(cast.good.to_batches())
            refused.write_all(cast.rejected.to_batches())
            count += read
            del cast  # not held while the next step is read
    except BaseException:
        good.close()
        refused.close()
        raise
    return Judged(good, refused, count, set_aside, nulled)


def publish(
    contract: Contract,
    since: SourceCheckpoint | None,
    run_id: str,
    *,
    settings: JobSettings,
    catalog: Catalog,
    pii_key: bytes,
    record_uncontracted: Callable[[Sequence[str]], None],
    record_replaced: Callable[[Sequence[str]], None],
    columns_changed: Callable[[], None] = lambda: None,
    raw_read: SourceCheckpoint | None = None,
    into: str | None = None,
    only: BooleanExpression = EVERY_ROW,
    erased: Erased = NOTHING_ERASED,
    staging: Staging = judge_here,
    target_snapshot: str = NOTHING,
) -> Published:
    """Merge the next portion of Curated after ``since`` into Semantic and Quarantine.

    ``raw_read``: how far Curated has read RAW. With the last portion, older versions of refused keys are
    looked up to there; None: there is nothing that Curated has read.

    ``into`` and ``only`` are for rebuilding Semantic: a table beside it that takes its place, and which rows
    of Curated to take.
    ``pii_key`` is the key of the hashes that stand for personal data. ``record_uncontracted`` is told of
    Curated columns that the contract leaves out, ``record_replaced`` of those of Semantic that its types
    replace, ``columns_changed`` when it has them (``align_columns``). ``erased``: rows of RAW that are no
    versions. ``staging``: where the work is done. ``target_snapshot``: the snapshot of Semantic that
    ``since`` speaks of, as text; NOTHING where it was empty. Raises the errors of
    ``common.lake.merge.merge``.
    """
    topic = contract.topic
    identifier = into or settings.table("semantic", topic)
    curated = open_table(catalog, settings.table("curated", topic))
    if names := old_names(curated):  # its tombstones would be rows, and no right to change Curated is here
        raise TableMismatch(
            f"table {'.'.join(curated.name())}: expected column {', '.join(names.values())}, found it by the "
            f"name of before ({', '.join(names)}); `lean-ops maintain` renames it, and so does the next run "
            "that curates"
        )
    semantic = open_table(catalog, identifier)
    check_holds(semantic, target_snapshot)
    bounds = Bounds(
        settings.batch_rows, settings.batch_bytes, TEXT_BYTES * len(curated.schema().column_names)
    )
    portion = new_merges(curated, since.sequence if since else -1, bounds)
    if portion.checkpoint is None:
        return Published(_snapshot_id(semantic), None, 0, 0)
    job = _Job(
        Versions(contract, settings, catalog, pii_key, identifier, erased),
        run_id,
        replace(portion.checkpoint, versions=_looked_up(since, raw_read)),
        None if portion.backlog_rows else raw_read,
        staging,
        target_snapshot,
    )
    if portion.tasks or job.raw_read is not None:
        align_columns(semantic, contract, record_replaced, columns_changed)
        contracted = {property_.source for property_ in contract.properties}
        if uncontracted := sorted(set(curated.schema().column_names) - RESERVED_COLUMNS - contracted):
            record_uncontracted(uncontracted)
    done = job.publish(
        CuratedRows(
            SentTable.of(curated),
            portion.tasks,
            And(portion.row_filter, only),
            portion.row_bytes,
            portion.bytes,
            contract,
            pii_key,
        )
    )
    if done.snapshot_id == NOTHING:
        done = replace(done, snapshot_id=_snapshot_id(semantic))
    return replace(done, backlog_rows=portion.backlog_rows)


def _looked_up(since: SourceCheckpoint | None, raw_read: SourceCheckpoint | None) -> SourceCheckpoint | None:
    """How far older versions were looked up, as far as Semantic still holds the best of them.

    Where Curated has gone back and reads RAW again, it gives Semantic rows that are older than what it had
    given by then, and these take the place of what had stood in for refused ones.
    """
    versions = since.versions if since is not None else None
    if versions is None or raw_read is None or raw_read.full_scan:
        return None
    return min(versions, raw_read, key=lambda checkpoint: checkpoint.position)


@dataclass(frozen=True)
class _Job:
    """One portion of Curated, and older versions of what is refused.

    ``checkpoint``: after the portion, with how far older versions were looked up before. ``raw_read``: how
    far they are to be looked up now, or None. ``target_snapshot``: as in ``publish``.
    """

    of: Versions
    run_id: str
    checkpoint: SourceCheckpoint
    raw_read: SourceCheckpoint | None
    staging: Staging
    target_snapshot: str

    def publish(self, taken: CuratedRows) -> Published:
        """Judge the rows; those that break the contract go to Quarantine, the good ones to Semantic."""
        contract, pii_key = self.of.contract, self.of.pii_key
        judged = self.staging(taken, self.of.settings)
        rows, set_aside, nulled = judged.rows, judged.set_aside, judged.nulled
        with judged.good as good, judged.refused as refused, ExitStack() as held:
            quarantined = refused.rows
            if refused.rows:
                self._merge(self._quarantine_table, refused)
            checkpoint, done, older = self._look_up(good)
            if older is not None:
                held.enter_context(older.source)
            if not rows:  # every row was corrected since, or is left out: read all the same
                return self._with_older(done, older)
            before = done

            def older_alone() -> None:
                nonlocal done
                done = self._with_older(before, older)

            outcome, unmergeable = merge_what_can_be_merged(
                lambda: self._merge(self.of.semantic, good, checkpoint, older),
                self._merge_part,
                taken.batches,
                f"merging rows of Curated into {self.of.semantic}",
                beside=older_alone,
            )
        if unmergeable:  # of these, no older version was looked up yet
            checkpoint = self.checkpoint
            kept = [unprocessable_row(row, contract, pii_key) for row in unmergeable]
            self._merge(self._quarantine_table, self._staged(pa.concat_tables(kept)))
        stood_in = outcome.beside.inserted + outcome.beside.updated if outcome is not None else 0
        return replace(
            done,
            snapshot_id=_left_by(outcome) if outcome is not None else done.snapshot_id,
            checkpoint=checkpoint,
            rows_read=rows,
            merge=outcome,
            quarantined=quarantined + len(unmergeable),
            nulled=nulled,
            set_aside=done.set_aside + set_aside + len(unmergeable),
            older=done.older + stood_in,
        )

    def _look_up(
        self, good: StagedSource | RemoteSource
    ) -> tuple[SourceCheckpoint, Published, Beside | None]:
        """Look up older versions of all keys that were ever refused and are not among the ``good`` rows.

        What is found last is given back, to be merged with the good rows, whose commit says that all were
        looked up; where refused keys come in several parts, the earlier ones are merged before. While Curated
        reads RAW from the start again (``full_scan``), how far it got does not say what it has read before:
        these versions are looked up again by the next run.
        """
        done = Published(NOTHING, self.checkpoint, 0, 0)
        if self.raw_read is None:
            return self.checkpoint, done, None
        older: Beside | None = None
        quarantine = open_table(self.of.catalog, self._quarantine_table)
        for refused in refused_keys(quarantine, good.shards()):
            done = self._with_older(done, older)
            older = self.of.found(refused, self.checkpoint.versions, self.raw_read)
        checkpoint = self.checkpoint
        if not self.raw_read.full_scan:
            checkpoint = replace(checkpoint, versions=self.raw_read)
        return checkpoint, replace(done, checkpoint=checkpoint), older

    def _with_older(self, done: Published, older: Beside | None) -> Published:
        """What was done, and ``older`` versions merged by themselves."""
        if older is None:
            return done
        outcome, aside = self.of.merge(older, self.run_id, self.target_snapshot)
        done = replace(done, set_aside=done.set_aside + aside)
        if outcome is None:
            return done
        stood_in = outcome.inserted + outcome.updated
        return replace(done, older=done.older + stood_in, snapshot_id=_left_by(outcome))

    @property
    def _quarantine_table(self) -> str:
        return self.of.settings.table("quarantine", self.of.contract.topic)

    def _staged(self, rows: pa.Table | None = None) -> StagedSource:
        batches = rows.to_batches() if rows is not None else ()
        return StagedSource.of(batches, SOURCE_RULE, self.of.settings.memory_budget_mb)

    def _merge_part(self, rows: pa.Table) -> MergeOutcome | None:
        good = judge(rows, self.of.contract, self.of.pii_key, only_good=True).good
        return self._merge(self.of.semantic, self._staged(good)) if good.num_rows else None

    def _merge(
        self,
        table: str,
        rows: StagedSource | RemoteSource,
        checkpoint: SourceCheckpoint | None = None,
        older: Beside | None = None,
    ) -> MergeOutcome:
        with rows:  # given up before the next ones take their memory
            return merge(
                self.of.catalog,
                table,
                rows,
                checkpoint=checkpoint,
                run_id=self.run_id,
                evolve=False,
                beside=older,
                holds=self.target_snapshot if table == self.of.semantic else NOTHING,
            )


def align_columns(
    semantic: Table,
    contract: Contract,
    record_replaced: Callable[[Sequence[str]], None],
    columns_changed: Callable[[], None] = lambda: None,
) -> None:
    """Give the table the contract's columns, types and comments, in a commit that adds no rows.

    A column is added, widened, or, where its type does not widen to the contract's, replaced: the new one has
    its name and another field id, and is null in rows that were published before, until Semantic is rebuilt
    (docs/adr/0009). A column that is wider than the contract's stays, which is what going back to an earlier
    version of the contract meets. ``record_replaced`` is told before the commit: told twice is harmless,
    never told would not be; ``columns_changed`` behind it. Raises CommitConflict where another writer was
    first.
    """
    changes = column_changes(semantic.schema(), contract)
    if replaced := [change.column.name for change in changes if change.kind == "replace"]:
        record_replaced(replaced)
    if not changes:
        return
    try:
        with semantic.update_schema() as update:
            for change in changes:
                name, wanted = change.column.name, change.column
                if change.kind == "replace":
                    update.delete_column(name)
                if change.kind in ("add", "replace"):
                    update.add_column(name, wanted.field_type, doc=wanted.doc)
                elif change.kind == "widen":
                    update.update_column(name, field_type=wanted.field_type)
                else:
                    update.update_column(name, doc=wanted.doc)
    except CommitFailedException as error:
        raise CommitConflict(
            f"table {'.'.join(semantic.name())}: expected to be the only one that changes its columns, found "
            "another writer's commit first; the next try plans on it"
        ) from error
    columns_changed()


@dataclass(frozen=True)
class ColumnChange:
    """One thing that a contract changes about a column of Semantic: what it ``was`` (None: not there)."""

    kind: Literal["add", "widen", "replace", "describe"]
    column: NestedField
    was: NestedField | None


def column_changes(stored: Schema, contract: Contract) -> list[ColumnChange]:
    """What ``align_columns`` does to a table with these columns, in the order of the contract."""
    fields = {field.name: field for field in stored.fields}
    changes = []
    for column in contract.semantic_columns():
        was = fields.get(column.name)
        if was is None:
            changes.append(ColumnChange("add", column, None))
            continue
        if not widens(column.field_type, was.field_type):
            if not widens(was.field_type, column.field_type):
                changes.append(ColumnChange("replace", column, was))
                continue
            changes.append(ColumnChange("widen", column, was))
        if column.doc is not None and column.doc != was.doc:
            changes.append(ColumnChange("describe", column, was))
    return changes


def _left_by(outcome: MergeOutcome | None) -> str:
    """The snapshot that a merge left or found: others may have left newer ones since."""
    return str(outcome.snapshot_id or NOTHING) if outcome is not None else NOTHING


def _snapshot_id(table: Table) -> str:
    current = table.current_snapshot()
    return str(current.snapshot_id) if current else NOTHING
