"""Incremental reading: what is new in a table since a checkpoint, in bounded portions.

RAW is append-only and is read by snapshot range: the data files that each snapshot after the checkpoint
added, oldest first. Compaction is invisible to this (its snapshots add no rows). A first read, and one
whose checkpoint is no longer in the table's history (expired, rolled back), takes all live files of the
current snapshot instead, in portions too; merging what was merged before changes nothing. A file that has
left the table since it was added, by a deletion or because it was written again without some rows, is not
read: its rows are gone, or come with the file in its place. It keeps its number, so that a checkpoint within
its snapshot still says the same. An erasure (docs/adr/0022) makes a table forget snapshots as well, but notes
the checkpoints of its readers: these go on with the files that are younger, of which a rewritten one is not.

Curated is rewritten by merges, so a snapshot range would read untouched rows again. Every merge numbers
the rows that it writes (``_merge_seq``); new is what has a greater number than the checkpoint, and file
statistics leave out the files that hold no such row.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThan, LessThanOrEqual
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntryStatus
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.types import LongType

from common.lake.checkpoints import MERGE_SEQ_COLUMN, SourceCheckpoint, is_noted
from common.lake.history import last_merge, lineage, said_by
from common.lake.reading import decoded_sizes, read_files
from common.runtime.errors import TableMismatch

# Snapshots of these operations add rows. An overwrite may add rows again that were there before (somebody
# corrected RAW by hand); reading them again is harmless, leaving them out would not be.
_ADDING: Final = frozenset({Operation.APPEND, Operation.OVERWRITE})
# Files that leave with these take rows with them; a compaction (``replace``) only puts them elsewhere.
_REMOVING: Final = frozenset({Operation.DELETE, Operation.OVERWRITE})


@dataclass(frozen=True)
class Bounds:
    """How much one run takes at most: it stops after the file that reaches either bound.

    ``bytes``: what the rows take in memory, not what their files take compressed, which may be a fortieth of
    it. ``row_bytes`` of them each row takes beside what is read: the columns, null or not, of the table that
    it goes to (``merge.reading.TEXT_BYTES`` each).
    """

    rows: int
    bytes: int
    row_bytes: int = 0


@dataclass(frozen=True)
class Portion:
    """The next part of a source, to be read with ``read``.

    ``checkpoint`` is where the source has been read to once the portion is merged; ``None`` means that
    the source is empty. ``rows`` and ``backlog_rows`` count stored rows of this portion and of what is
    left after it, before row filters; ``gone_rows`` those of files that have left the table, which are not
    read; ``row_bytes`` as in ``Bounds``, ``bytes`` what its rows take in memory (0: not measured).
    ``fallback`` says why the source is being read from the start although there was a checkpoint.
    """

    tasks: Sequence[FileScanTask]
    row_filter: BooleanExpression
    checkpoint: SourceCheckpoint | None
    rows: int
    backlog_rows: int
    fallback: str | None = None
    row_bytes: int = 0
    gone_rows: int = 0
    bytes: int = 0


class _Measure:
    """What a portion holds so far, measured file by file until it is full. ``gone``: files not to be read."""

    def __init__(
        self, table: Table, files: Iterable[DataFile], bounds: Bounds, gone: Collection[str] = ()
    ) -> None:
        self._sizes = decoded_sizes(table, (file for file in files if file.file_path not in gone))
        self._bounds = bounds
        self._gone = gone
        self.rows = 0
        self.bytes = 0
        self.gone_rows = 0

    def take(self, file: DataFile) -> bool:
        """Take the next file; False where it is not to be read."""
        if file.file_path in self._gone:
            self.gone_rows += file.record_count
            return False
        self.rows += file.record_count
        self.bytes += next(self._sizes) + file.record_count * self._bounds.row_bytes
        return True

    @property
    def full(self) -> bool:
        """Whether a bound is reached."""
        return self.rows >= self._bounds.rows or self.bytes >= self._bounds.bytes


def new_appends(table: Table, since: SourceCheckpoint | None, bounds: Bounds) -> Portion:
    """The next portion of an append-only table after ``since`` (None: from the start)."""
    current = table.current_snapshot()
    if current is None:
        return Portion((), AlwaysTrue(), since, 0, 0)
    fallback = None
    if since is not None and not since.full_scan:
        added = _added_files(table, current, since)
        if added is not None:
            return _portion_of_range(table, added, since, bounds)
        if is_noted(since, table.properties):
            return _portion_of_all(table, current, _older_files(table, current, since), bounds)
        fallback = f"checkpoint {since.token} is not in the history of {_name(table)}; reading all again"
    return _portion_of_all(table, current, since, bounds, fallback=fallback)


def appends_again(
    table: Table, since: SourceCheckpoint | None, bounds: Bounds, *, read: int, only: BooleanExpression
) -> Portion:
    """The next portion after ``since`` for a reader that knows the start: up to ``read`` by rows of ``only``.

    ``read``: the sequence number of a snapshot of ``table`` up to which rows that ``only`` does not admit are
    known otherwise; what was appended later is read whole. The table is read as it was in that snapshot, then
    what is new. Where the snapshot is forgotten the age of files says what is later: one that a compaction
    has written since then is read whole as well, since it may hold both.
    """
    current = table.current_snapshot()
    if current is None:
        return Portion((), AlwaysTrue(), since, 0, 0)
    if since is None:
        then = next((s for s in table.snapshots() if s.sequence_number == read), None)
        since = _checkpoint(then or current, 0, full_scan=True, by_age=then is None)
    elif since.full_scan and table.snapshot_by_id(since.snapshot_id) is None:
        since = _checkpoint(current, 0, full_scan=True, by_age=True)
    if not since.full_scan:
        return new_appends(table, since, bounds)
    if not since.by_age:
        portion = _portion_of_all(table, current, since, bounds)
        return replace(portion, row_filter=only) if since.sequence <= read else portion
    older = _number_of_older(table, table.snapshot_by_id(since.snapshot_id) or current, read)
    if (since.files or 0) >= older:
        return _portion_of_all(table, current, since, bounds)
    return replace(_portion_of_all(table, current, since, bounds, files=older), row_filter=only)


def new_merges(table: Table, since_sequence: int, bounds: Bounds) -> Portion:
    """The next portion of a merged table: rows whose merge sequence is greater than ``since_sequence``.

    A portion ends with a whole merge, so ``bounds`` may be exceeded by one merge of the source.
    """
    merged = last_merge(table)
    if merged is None:
        return Portion((), AlwaysTrue(), None, 0, 0)
    snapshot, newest = merged
    is_new = GreaterThan(term=MERGE_SEQ_COLUMN, value=since_sequence)
    planned = list(table.scan(row_filter=is_new, snapshot_id=snapshot.snapshot_id).plan_files())
    upto, measure = _merge_bound(table, planned, since_sequence, newest, bounds)
    rows = measure.rows
    total = sum(task.file.record_count for task in planned)
    row_filter = And(is_new, LessThanOrEqual(term=MERGE_SEQ_COLUMN, value=upto))
    tasks = [task for task in planned if _merges(table, task.file, newest)[0] <= upto]
    checkpoint = SourceCheckpoint(snapshot.snapshot_id, upto, None if upto == newest else 0)
    return Portion(
        tasks, row_filter, checkpoint, rows, total - rows, row_bytes=bounds.row_bytes, bytes=measure.bytes
    )


def appended(table: Table, since: SourceCheckpoint | None, upto: SourceCheckpoint | None) -> Portion:
    """All that was appended after ``since`` (None: ever) and up to ``upto`` (None: now), in one portion.

    Where either has left the table's history it is more: all that the table holds.
    """
    current = table.current_snapshot()
    last = table.snapshot_by_id(upto.snapshot_id) if upto is not None else None
    if current is None:
        return Portion((), AlwaysTrue(), upto, 0, 0)
    added = _added_files(table, last or current, since) if since is not None else None
    if added is None or since is None:
        begun = (last or current).snapshot_id
        tasks = list(table.scan(snapshot_id=begun).plan_files())
        if since is not None and not since.full_scan and is_noted(since, table.properties):
            ages = _ages(table, last or current)
            tasks = [task for task in tasks if ages[task.file.file_path] > _whole(since)]
    else:
        begun = since.snapshot_id
        begin = {since.snapshot_id: since.files or 0}
        end = {upto.snapshot_id: upto.files} if upto is not None and not upto.full_scan else {}
        tasks = [
            FileScanTask(file)
            for snapshot, files in added
            for file in files[begin.get(snapshot.snapshot_id, 0) : end.get(snapshot.snapshot_id)]
        ]
    gone = _gone_since(table, begun)
    left = [task for task in tasks if task.file.file_path not in gone]
    rows = sum(task.file.record_count for task in left)
    gone_rows = sum(task.file.record_count for task in tasks) - rows
    return Portion(left, AlwaysTrue(), upto, rows, 0, gone_rows=gone_rows)


def without_rows_after(table: Table, sequence: int) -> int:
    """The last sequence number up to which ``table`` was given no rows after ``sequence``.

    Files that compactions have written since then hold nothing else than what was there. Where the history
    does not reach back so far, it is ``sequence`` itself.
    """
    ordered = sorted(lineage(table), key=lambda snapshot: snapshot.sequence_number or 0)
    if not ordered or (ordered[0].sequence_number or 0) > sequence + 1:
        return sequence
    later = [s for s in ordered if (s.sequence_number or 0) > sequence]
    first = next((s for s in later if _adds_rows(s)), None)
    last = ordered[-1].sequence_number if first is None else (first.sequence_number or 0) - 1
    return max(sequence, last or 0)


def read(table: Table, portion: Portion, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
    """Stream a portion as record batches (``common.lake.reading``); row-level deletes are applied.

    The reader has the table's columns also where the portion has no row.
    """
    return read_files(table, portion.tasks, portion.row_filter, columns, portion.row_bytes)


def _portion_of_range(
    table: Table,
    added: Sequence[tuple[Snapshot, Sequence[DataFile]]],
    since: SourceCheckpoint,
    bounds: Bounds,
) -> Portion:
    tasks: list[FileScanTask] = []
    # Of the snapshot that the last run stopped in, the first files are done.
    done = {since.snapshot_id: since.files or 0}
    gone = _gone_since(table, since.snapshot_id)
    files_left = (f for s, files in added for f in files[done.get(s.snapshot_id, 0) :])
    measure = _Measure(table, files_left, bounds, gone)
    backlog = 0
    checkpoint = since
    ended = False
    for snapshot, files in added:
        first = done.get(snapshot.snapshot_id, 0)
        for number, file in enumerate(files[first:], first + 1):
            # What is gone needs no portion of its own, as little as a snapshot that brought no file.
            ended = ended or (measure.full and file.file_path not in gone)
            if ended:
                backlog += 0 if file.file_path in gone else file.record_count
                continue
            if measure.take(file):
                tasks.append(FileScanTask(file))
            checkpoint = _checkpoint(snapshot, number)
        if not ended:
            checkpoint = _checkpoint(snapshot, None)
    return Portion(
        tasks,
        AlwaysTrue(),
        checkpoint,
        measure.rows,
        backlog,
        row_bytes=bounds.row_bytes,
        gone_rows=measure.gone_rows,
        bytes=measure.bytes,
    )


def _portion_of_all(
    table: Table,
    current: Snapshot,
    since: SourceCheckpoint | None,
    bounds: Bounds,
    *,
    fallback: str | None = None,
    files: int | None = None,
) -> Portion:
    """A portion of all live files of one snapshot; goes on where the last portion of it ended.

    It takes none but the first ``files`` of them (None: any).
    """
    snapshot, done = current, 0
    if since is not None and since.full_scan:
        begun = table.snapshot_by_id(since.snapshot_id)
        if begun is not None:
            snapshot, done = begun, since.files or 0
        else:
            fallback = f"snapshot {since.snapshot_id} of {_name(table)} expired half-way; reading all again"
    by_age = since is not None and since.by_age and since.snapshot_id == snapshot.snapshot_id
    ages = _ages(table, snapshot) if by_age else {}
    planned = table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
    tasks = sorted(planned, key=lambda task: (ages.get(task.file.file_path, 0), task.file.file_path))
    gone = _gone_since(table, snapshot.snapshot_id)
    measure = _Measure(table, (task.file for task in tasks[done:]), bounds, gone)
    taken: list[FileScanTask] = []
    end, last = done, len(tasks) if files is None else files
    while end < last and not measure.full:
        if measure.take(tasks[end].file):
            taken.append(tasks[end])
        end += 1
    return Portion(
        taken,
        AlwaysTrue(),
        _checkpoint(snapshot, None if end >= len(tasks) else end, full_scan=end < len(tasks), by_age=by_age),
        measure.rows,
        sum(task.file.record_count for task in tasks[end:] if task.file.file_path not in gone)
        + (_added_rows(current) if snapshot is not current else 0),
        fallback,
        bounds.row_bytes,
        measure.gone_rows,
        measure.bytes,
    )


def _older_files(table: Table, current: Snapshot, since: SourceCheckpoint) -> SourceCheckpoint:
    """``since``, of a snapshot that is forgotten, as a place among the live files of ``current``."""
    read = _number_of_older(table, current, _whole(since))
    return _checkpoint(current, read, full_scan=True, by_age=True)


def _number_of_older(table: Table, snapshot: Snapshot, sequence: int) -> int:
    """How many live files of a snapshot were there at a sequence number."""
    return sum(age <= sequence for age in _ages(table, snapshot).values())


def _whole(checkpoint: SourceCheckpoint) -> int:
    """The sequence number up to which everything is read: a snapshot that was read in part is read again."""
    return checkpoint.sequence - (checkpoint.files is not None)


def _ages(table: Table, snapshot: Snapshot) -> dict[str, int]:
    """The data sequence number of every live data file, by path."""
    return {
        entry.data_file.file_path: entry.sequence_number or 0
        for manifest in snapshot.manifests(table.io)
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io)
    }


def _added_files(
    table: Table, current: Snapshot, since: SourceCheckpoint
) -> list[tuple[Snapshot, list[DataFile]]] | None:
    """Per snapshot after ``since``, oldest first, the files it added by path; None if history is broken.

    One manifest list is read for every unbroken run of appends, not one a snapshot: appends keep the
    manifests before them, and every manifest entry names the snapshot that added its file.
    """
    chain: list[Snapshot] = []
    for snapshot in lineage(table, current):
        if snapshot.snapshot_id == since.snapshot_id:
            break
        chain.append(snapshot)
    else:
        return None
    if since.files is not None:
        chain.append(snapshot)
    chain.reverse()

    added: dict[int, list[DataFile]] = {}
    run: dict[int, list[DataFile]] = {}
    oldest = since.sequence - (since.files is not None)
    for i, snapshot in enumerate(chain):
        if _adds_rows(snapshot):
            run[snapshot.snapshot_id] = []
        run_goes_on = i + 1 < len(chain) and _operation(chain[i + 1]) == Operation.APPEND
        if not run_goes_on and run:
            # Of this run alone: what comes later may list its files again, all or some of them.
            _collect_added(table, snapshot, oldest, run)
            added |= run
            run = {}
    return [(s, sorted(added.get(s.snapshot_id, []), key=lambda f: f.file_path)) for s in chain]


def _gone_since(table: Table, snapshot_id: int) -> set[str]:
    """Paths of the data files that were deleted, or written again without some rows, after a snapshot."""
    gone: set[str] = set()
    for snapshot in lineage(table):
        if snapshot.snapshot_id == snapshot_id:
            break
        if _operation(snapshot) not in _REMOVING:
            continue
        for manifest in snapshot.manifests(table.io):
            if manifest.content != ManifestContent.DATA or manifest.added_snapshot_id != snapshot.snapshot_id:
                continue
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            gone |= {e.data_file.file_path for e in entries if e.status == ManifestEntryStatus.DELETED}
    return gone


def _collect_added(table: Table, newest: Snapshot, oldest: int, added: dict[int, list[DataFile]]) -> None:
    """Put the files of ``newest`` that a snapshot in ``added`` brought into that snapshot's list."""
    for manifest in newest.manifests(table.io):
        if manifest.content != ManifestContent.DATA or manifest.sequence_number <= oldest:
            continue
        for entry in manifest.fetch_manifest_entry(table.io):
            added_by = manifest.added_snapshot_id if entry.snapshot_id is None else entry.snapshot_id
            files = added.get(added_by) if added_by is not None else None
            if files is not None and entry.status != ManifestEntryStatus.DELETED:
                files.append(entry.data_file)


def _merge_bound(
    table: Table, tasks: Sequence[FileScanTask], since: int, newest: int, bounds: Bounds
) -> tuple[int, _Measure]:
    """The last merge sequence that fits ``bounds``, and an estimate of what there is up to it."""
    by_sequence: dict[int, list[DataFile]] = defaultdict(list)
    for task in tasks:
        by_sequence[_merges(table, task.file, newest)[1]].append(task.file)
    ordered = sorted(by_sequence)
    measure = _Measure(table, (file for sequence in ordered for file in by_sequence[sequence]), bounds)
    for sequence in ordered:
        for file in by_sequence[sequence]:
            measure.take(file)
        if measure.full and sequence > since:
            return sequence, measure
    return newest, measure


def _merges(table: Table, file: DataFile, newest: int) -> tuple[int, int]:
    """The oldest and the newest merge that a file may have rows of."""
    field_id = table.schema().find_field(MERGE_SEQ_COLUMN).field_id
    lower, upper = ((bounds or {}).get(field_id) for bounds in (file.lower_bounds, file.upper_bounds))
    return (
        -1 if lower is None else int(from_bytes(LongType(), lower)),
        newest if upper is None else min(newest, int(from_bytes(LongType(), upper))),
    )


def _checkpoint(
    snapshot: Snapshot, files: int | None, *, full_scan: bool = False, by_age: bool = False
) -> SourceCheckpoint:
    if snapshot.sequence_number is None:
        raise TableMismatch(
            f"snapshot {snapshot.snapshot_id}: expected a sequence number, found none; "
            "the source table must be of Iceberg format version 2"
        )
    by_age = by_age and files is not None
    return SourceCheckpoint(snapshot.snapshot_id, snapshot.sequence_number, files, full_scan, by_age)


def _operation(snapshot: Snapshot) -> Operation | None:
    return snapshot.summary.operation if snapshot.summary else None


def _adds_rows(snapshot: Snapshot) -> bool:
    return _operation(snapshot) in _ADDING


def _added_rows(snapshot: Snapshot) -> int:
    return int(said_by(snapshot).get("added-records", 0))


def _name(table: Table) -> str:
    return ".".join(table.name())
