"""RAW → Curated: read what is new, flatten it, merge it in one commit that carries its own checkpoint.

Where rows are read and flattened is left to a ``Staging``: this process (``flatten_here``), or many others at
once, which are sent the same ``RawRows`` in parts. What becomes of a row is said here alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import And, BooleanExpression
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import BooleanType

from common.lake.checkpoints import NOTHING, START, SourceCheckpoint
from common.lake.history import check_holds, last_merge
from common.lake.incremental import Bounds, Portion, new_appends
from common.lake.merge import TEXT_BYTES, MergeOutcome, RemoteSource, SentTable, StagedSource, merge
from common.lake.merging_by_halves import merge_what_can_be_merged
from common.lake.reading import any_of, read_files, read_rows
from common.lake.rule import EVENT_RULE
from common.lake.setting_aside import SetAside
from common.lake.specifications import open_table, renamed_as_today
from common.layers.erased import NOTHING_ERASED, Erased, Kept
from common.layers.uncurable import curable, in_time
from common.payload.columns import DEFAULT_LIMITS, Columns, Limits
from common.payload.flattening import DELETED, flatten_rows
from common.payload.rescued import Rescued, Why
from common.runtime.arrowtypes import Array
from common.runtime.errors import CommitConflict
from common.runtime.settings import JobSettings


@dataclass(frozen=True)
class Curated:
    """What one run did. ``merge`` is None when RAW held nothing new.

    ``rows_read`` counts RAW rows; ``backlog_rows`` those left for the next run; ``fallback`` says why RAW was
    read from the start (see ``common.lake.incremental``). ``set_aside`` counts rows that could not be
    curated, ``erased`` those left out since their key's past was erased. ``columns_full``: leaves went
    without a column, since the table has as many as it may have.
    """

    snapshot_id: str
    checkpoint: SourceCheckpoint | None
    rows_read: int
    backlog_rows: int
    merge: MergeOutcome | None = None
    fallback: str | None = None
    set_aside: int = 0
    erased: int = 0
    columns_full: bool = False

    def as_json(self) -> dict[str, str | int | bool]:
        """The token for the state machine: pointers and counts, never rows; ids as text."""
        return {
            "curated_snapshot_id": self.snapshot_id,
            "records_written": self.merge.inserted + self.merge.updated if self.merge else 0,
            "backlog": self.backlog_rows > 0,
            "set_aside": self.set_aside,
            "source_token": self.checkpoint.token if self.checkpoint else NOTHING,
            "source_position": self.checkpoint.position if self.checkpoint else START,
        }


@dataclass(frozen=True)
class RawRows:
    """Rows of RAW to curate. It can be sent to another process, and be cut into parts by its ``tasks``.

    ``row_bytes``: see ``incremental.Bounds``; ``size``: what all of them take in memory, 0 where that was not
    measured. ``refused_after``, ``erased``: see ``curate``.
    """

    raw: SentTable
    tasks: Sequence[FileScanTask]
    row_filter: BooleanExpression
    row_bytes: int
    size: int
    refused_after: int | None
    erased: Erased

    def events(self) -> Kept:
        """The rows, to be read again and again, without those that were erased."""
        return Kept(
            self.erased,
            lambda: read_files(self.raw.table(), self.tasks, self.row_filter, row_bytes=self.row_bytes),
        )

    def flattened(
        self, events: Iterable[pa.RecordBatch], columns: Columns, aside: list[SetAside]
    ) -> Iterator[pa.RecordBatch]:
        """What Curated takes of ``events``; those that it cannot take are ``aside``."""
        in_days = in_time(events, self.refused_after, aside)
        return curable(in_days, lambda rows: flatten_rows(rows, columns), aside)


@dataclass(frozen=True)
class Flattened:
    """Rows ready to be merged, the columns that they all ask for, and how many were left out as erased."""

    source: StagedSource | RemoteSource
    columns: Columns
    aside: list[SetAside] = field(default_factory=list)
    left_out: int = 0


Portions = Callable[[Table, SourceCheckpoint | None, Bounds], Portion]
"""What of RAW comes next after a checkpoint."""

Staging = Callable[[RawRows, Columns, JobSettings], Flattened]
"""Reads and flattens rows, with columns to begin with. Whoever asks closes the source."""


def flatten_here(rows: RawRows, columns: Columns, settings: JobSettings) -> Flattened:
    """A ``Staging`` in this process."""
    events = rows.events()

    def staged(columns: Columns, aside: list[SetAside]) -> StagedSource:
        flattened = rows.flattened(events(), columns, aside)
        return StagedSource.of(flattened, EVENT_RULE, settings.memory_budget_mb)

    aside: list[SetAside] = []
    source = staged(columns, aside)
    if (revised := columns.revised()) is not None:  # all rows ask for other columns than the first did
        source.close()
        columns, aside = revised, []
        source = staged(columns, aside)
    return Flattened(source, columns, aside, events.left_out)


def curate(
    topic: str,
    since: SourceCheckpoint | None,
    run_id: str,
    *,
    settings: JobSettings,
    catalog: Catalog,
    record_columns: Callable[[Columns], None],
    set_aside: Callable[[Sequence[SetAside]], None],
    contracted: frozenset[str] = frozenset(),
    refused_after: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    into: str | None = None,
    portions: Portions | None = None,
    erased: Erased = NOTHING_ERASED,
    staging: Staging = flatten_here,
    target_snapshot: str = NOTHING,
) -> Curated:
    """Merge the next portion of RAW after ``since`` into Curated.

    ``into`` and ``portions`` are for rebuilding it: a table beside Curated that takes its place, and what of
    RAW comes next (``new_appends``).
    ``record_columns`` is told of columns that Curated does not have yet and of leaves that have none, before
    the commit, ``set_aside`` of rows that cannot be curated, before the commit that leaves them out: told
    twice is harmless, never told would not be. ``contracted`` are the columns that the contract names. An
    event that was older than ``refused_after`` days when it was received is set aside (None: none is).
    ``erased``: rows that are read as if they were not there. ``staging``: where the work is done.
    ``target_snapshot``: the snapshot of Curated that ``since`` speaks of, as text; NOTHING of an empty one.
    Raises the errors of ``common.lake.merge.merge``.
    """
    raw = open_table(catalog, settings.table("raw", topic))
    identifier = into or settings.table("curated", topic)
    curated = renamed_as_today(open_table(catalog, identifier))
    check_holds(curated, target_snapshot)
    width = len(curated.schema().column_names)
    bounds = Bounds(settings.batch_rows, settings.batch_bytes, TEXT_BYTES * width)
    portion = (portions or new_appends)(raw, since, bounds)
    nothing = Curated(
        _snapshot_id(curated), portion.checkpoint, 0, portion.backlog_rows, fallback=portion.fallback
    )
    if not portion.tasks:
        return nothing
    partition_fields = frozenset(f.name for spec in curated.specs().values() for f in spec.fields)
    columns = Columns.of(curated.schema(), partition_fields, contracted, limits)
    taken = RawRows(
        SentTable.of(raw),
        portion.tasks,
        portion.row_filter,
        portion.row_bytes,
        portion.bytes,
        refused_after,
        erased,
    )

    def merge_into_curated(
        rows: StagedSource | RemoteSource, columns: Columns, checkpoint: SourceCheckpoint | None
    ) -> MergeOutcome:
        return merge(
            catalog,
            identifier,
            rows,
            checkpoint=checkpoint,
            run_id=run_id,
            evolve=True,
            history=_History(taken, portion.checkpoint, columns, record_columns),
            holds=target_snapshot,
        )

    flattened = staging(taken, columns, settings)
    columns, aside = flattened.columns, flattened.aside

    def merge_part(rows: pa.Table) -> MergeOutcome | None:
        events = taken.flattened(rows.to_batches(), columns, [])
        with StagedSource.of(events, EVENT_RULE, settings.memory_budget_mb) as part:
            return merge_into_curated(part, columns, None) if part.rows else None

    with flattened.source as source:
        if aside:
            set_aside(aside)
        if not source.rows:  # every row is deleted or left out: read all the same
            return replace(nothing, set_aside=len(aside), erased=flattened.left_out)
        if columns.news():
            record_columns(columns)
        _ready_for(source, curated)
        outcome, unmergeable = merge_what_can_be_merged(
            lambda: merge_into_curated(source, columns, portion.checkpoint),
            merge_part,
            taken.events(),
            f"merging rows of RAW into {identifier}",
        )
        if unmergeable:
            set_aside(unmergeable)
            aside += unmergeable
        rows = source.rows
    curated.refresh()
    return Curated(
        _snapshot_id(curated, outcome.snapshot_id if outcome else None),
        portion.checkpoint,
        rows,
        portion.backlog_rows,
        outcome,
        portion.fallback,
        len(aside),
        flattened.left_out,
        Rescued(Why.COLUMN_LIMIT) in columns.rescued,
    )


def _ready_for(rows: StagedSource | RemoteSource, curated: Table) -> None:
    """Give a table from before there were deletes the column for them; raises CommitConflict."""
    if DELETED not in rows.schema.names or DELETED in curated.schema().column_names:
        return
    try:
        with curated.update_schema() as update:
            update.add_column(
                DELETED, BooleanType(), doc="True where the newest version of the key is a delete"
            )
    except CommitFailedException as error:
        raise CommitConflict(
            f"table {'.'.join(curated.name())}: expected to add the column of tombstones, found another "
            "writer's commit first; the next try finds the table as it is then"
        ) from error


class _History:
    """Reads events again from RAW where a merge decides a tie anew (``common.lake.merge.decide.History``).

    Sent to another process, it tells nobody there of columns: it brings them back as ``news``.
    """

    def __init__(
        self,
        rows: RawRows,
        checkpoint: SourceCheckpoint | None,
        columns: Columns,
        record: Callable[[Columns], None] | None,
    ) -> None:
        self._rows, self._checkpoint, self._columns, self._record = rows, checkpoint, columns, record
        self._known = columns.news()

    def __getstate__(self) -> dict[str, Any]:
        """All but whom to tell, and the files of the portion, whose rows are where they are merged."""
        return {**vars(self), "_record": None, "_rows": replace(self._rows, tasks=())}

    def __call__(self, keys: Array, publish_times: Array) -> pa.Table | None:
        """All events of these keys at these times, up to the snapshot that is being merged."""
        if self._checkpoint is None:
            return None
        times = publish_times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
        row_filter = And(any_of("publish_time", times), any_of("idempotency_key", keys.to_pylist()))
        raw = self._rows.raw.table()
        found = read_rows(raw, row_filter, snapshot_id=self._checkpoint.snapshot_id)
        events = self._rows.erased.kept(found)
        before = self._columns.news()
        # One that cannot be curated was set aside where it was read first: it decides nothing here.
        known: list[SetAside] = []
        curated = curable(events, lambda rows: flatten_rows(rows, self._columns), known)
        steps = [pa.Table.from_batches([rows]) for rows in curated]
        if self._record is not None and self._columns.news() > before:
            self._record(self._columns)
        return pa.concat_tables(steps, promote_options="default") if steps else None

    def news(self) -> Columns | None:
        """The columns, where there are more than there were."""
        return self._columns if self._columns.news() > self._known else None

    def learn(self, news: Sequence[object]) -> None:
        """Decide on the columns that copies found, all together."""
        found = [columns for columns in news if isinstance(columns, Columns)]
        self._columns.take_in(found)
        self._known = self._columns.news()
        if found and self._record is not None:
            self._record(self._columns)


def _snapshot_id(curated: Table, at: int | None = None) -> str:
    """The newest merge that this run saw: of snapshot ``at``, which others may have left behind by now."""
    merged = last_merge(curated, at)
    return str(merged[0].snapshot_id) if merged else NOTHING
