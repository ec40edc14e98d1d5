"""Erasing rows from a table: from its files, its snapshots and its statistics (docs/adr/0022).

    found = foresee_erasure(table, rows)         # what shows such rows; changes nothing
    done = erase(catalog, identifier, rule, rows, run_id=…, readers=…)

Where others are to stand in their places (``Doomed.instead``), the old ones are erased all the same.

A delete hides a row; it stays in its file, in the snapshots before, and in the statistics that manifests
have of files, also of those that left. Here the data files that physically hold such a row are written
again without it, in one commit whose snapshot has no statistics of files that left. Then every snapshot
before it is forgotten, and the files that only those referred to are removed.

The commit is made beside Firehose's appends and planned again when one was first. Whoever merges into the
table, or rebuilds it, is to be kept away. Every step can be repeated: a table that shows no such row any more
is left as it is.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation
from pyiceberg.types import StringType

from common.lake.checkpoints import (
    ERASED_INGESTED,
    MERGE_SEQ_COLUMN,
    READ_BEFORE_ERASURE,
    RUN_ID,
    SourceCheckpoint,
    is_noted,
    noted,
)
from common.lake.history import carried_on, erased_by_minute
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.datafiles import DataFileWriter
from common.lake.merge.layout import ENDING
from common.lake.merge.livefiles import LiveFile, LiveFiles, live_files
from common.lake.merge.planning import COPIES
from common.lake.merge.positions import ExistingDeletes, Positions
from common.lake.merge.reading import PIECE_BYTES, StoredFile, decoded_size
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.source import conform
from common.lake.merge.streams import MemoryGate, concurrency, remove_files
from common.lake.merge.target import Target
from common.lake.rule import MergeRule, flags
from common.lake.specifications import open_table
from common.lake.upkeep.compaction import target_of
from common.lake.upkeep.retention import forget_snapshots, referenced_now
from common.runtime import outside
from common.runtime.arrowtypes import Array
from common.runtime.errors import TableMismatch

ERASED_ROWS: Final = "lean-ops.erased-rows"
"""In the summary of an erasure's snapshot: rows that left with it."""

_INGESTED: Final = "ingestion_ts"
_COUNTED: Final = timedelta(hours=6)
_HELD_BYTES: Final = 2**30
_KEY: Final = "idempotency_key"
_LOOKED_AT: Final = (_KEY, "publish_time")


@dataclass(frozen=True)
class Doomed:
    """The rows to erase.

    ``among``: which of some rows they are, by the columns ``by``. ``keys``: where given, all such rows have
    one of these keys, so that statistics rule out files. ``instead``: gives rows as they are to be, as many
    and in the same order, those that are not among them as they were; None: nothing stands in their places.
    """

    among: Callable[[pa.Table], npt.NDArray[np.bool_]]
    keys: "Array | None" = None
    by: Sequence[str] = _LOOKED_AT
    instead: Callable[[pa.Table], pa.Table] | None = None

    @classmethod
    def of_keys(cls, keys: "Array", until_us: int | None = None) -> "Doomed":
        """All rows of these keys.

        With ``until_us`` those published up to then, in microseconds since 1970.
        """

        def among(rows: pa.Table) -> npt.NDArray[np.bool_]:
            texts: Any = rows[_KEY]
            found: npt.NDArray[np.bool_] = flags(pc.is_in(texts.cast(pa.string()), value_set=keys))
            if until_us is None or not found.any():
                return found
            moments: Any = rows["publish_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            early: npt.NDArray[np.bool_] = moments.fill_null(0).to_numpy() <= until_us
            return found & early

        return cls(among, keys)


@dataclass(frozen=True)
class Showing:
    """Where a table shows rows that are to be erased.

    ``live``: positions of them by path of the live data file, rows deleted before included. ``past``: data
    files of other snapshots that hold some. ``stale``: manifests of the current snapshot list files that
    left, with their statistics. ``snapshots``: how many there are.
    """

    live: Mapping[str, Positions]
    past: frozenset[str]
    stale: bool
    snapshots: int

    @property
    def rows(self) -> int:
        """Rows of live files."""
        return sum(len(positions) for positions in self.live.values())

    @property
    def anywhere(self) -> bool:
        """Whether any file of any snapshot holds one."""
        return bool(self.live or self.past)


@dataclass(frozen=True)
class TableErased:
    """What was done to one table. ``bytes_read``: of the files that were written again.

    ``removed``: paths of the files that are gone. ``snapshot_id``: the commit's; None where none was needed.
    """

    table: str
    rows: int = 0
    files_rewritten: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    snapshots_forgotten: int = 0
    snapshot_id: int | None = None
    removed: tuple[str, ...] = field(default=(), repr=False)


def foresee_erasure(table: Table, doomed: Doomed) -> Showing:
    """Where the table shows such rows; reads the key column of the files that may hold some."""
    with ThreadPoolExecutor(concurrency(table.location())) as pool:
        return _showing(table, live_files(table, pool), doomed, pool)


def erase(
    catalog: Catalog,
    identifier: str,
    rule: MergeRule,
    doomed: Doomed,
    *,
    run_id: str,
    readers: Sequence[SourceCheckpoint] = (),
    statistics: bool = True,
) -> TableErased:
    """Take the rows out of the table's files, forget all snapshots before, and remove what only they had.

    ``statistics``: do so also where no file holds such a row, but manifests have statistics of files that
    left, which may quote one.
    ``readers``: checkpoints of those who read the table by snapshots (RAW's); they find their way afterwards.
    Raises TableMissing, TableMismatch, and CommitConflict or CommitUnknown where other writers kept winning:
    what was done before stays done, and the same call again goes on.
    """
    with ThreadPoolExecutor(concurrency(open_table(catalog, identifier).location())) as pool:

        def plan(table: Table, _number: int) -> Planned[TableErased]:
            attempt = _Erasure(target_of(table, rule), rule, doomed, pool, statistics)
            return attempt.planned(run_id, readers)

        done = commit_until_done(catalog, open_table(catalog, identifier), plan)
        if done.snapshot_id is None:
            return done
        table = open_table(catalog, identifier)
        before = referenced_now(table, pool)
        forgotten = _forget_all_before(catalog, table, done.snapshot_id)
        needed = referenced_now(open_table(catalog, identifier), pool)
    removed = tuple(sorted(before - needed))
    remove_files(table.io, removed)
    return TableErased(
        identifier,
        done.rows,
        done.files_rewritten,
        done.bytes_read,
        done.bytes_written,
        forgotten,
        done.snapshot_id,
        removed,
    )


@dataclass(frozen=True)
class _Erasure:
    """One attempt: on one state of the table."""

    target: Target
    rule: MergeRule
    doomed: Doomed
    pool: Executor
    statistics: bool

    def planned(self, run_id: str, readers: Sequence[SourceCheckpoint]) -> Planned[TableErased]:
        """The commit after which the current snapshot has nothing of such rows; none where nothing has."""
        table = self.target.table
        live = live_files(table, self.pool)
        showing = _showing(table, live, self.doomed, self.pool)
        shown = showing.anywhere or (self.statistics and showing.stale)
        if table.current_snapshot() is None or not shown:
            return Planned(TableErased(self.target.name))
        _check_references(table)
        chosen = [file for file in live.files if file.path in showing.live]
        rewritten = self._rewritten(chosen, showing)
        removed = frozenset(file.path for file in chosen)
        dropped = live.delete_paths - live.needed_deletes(removed)
        change = Change(
            operation=Operation.OVERWRITE if removed else Operation.REPLACE,
            added=[new for _, new in rewritten],
            removed=removed | dropped,
            properties=_properties(table, readers),
            summary={
                **carried_on(table),
                RUN_ID: run_id,
                ERASED_ROWS: str(showing.rows),
                **self._left_word(showing, live),
            },
            ages={new.file_path: file.entry.sequence_number or 0 for file, new in rewritten},
            forgets=True,
        )
        commit = SnapshotCommit(table, live, change)
        done = TableErased(
            self.target.name,
            showing.rows,
            len(removed),
            sum(file.file.file_size_in_bytes for file in chosen),
            sum(new.file_size_in_bytes for _, new in rewritten),
            snapshot_id=commit.snapshot_id,
        )
        return Planned(done, commit, [new.file_path for _, new in rewritten])

    def _left_word(self, showing: Showing, live: LiveFiles) -> dict[str, str]:
        """Of RAW: rows that are gone, now or before, from hours whose arrivals are still counted."""
        table = self.target.table
        if MERGE_SEQ_COLUMN in table.schema().column_names:
            return {}
        first = int((outside.now() - _COUNTED).timestamp()) // 60
        minutes = Counter({at: rows for at, rows in erased_by_minute(table).items() if at >= first})
        for file in (one for one in live.files if one.path in showing.live):
            with StoredFile(self.target, file.file) as stored:
                times: Any = stored.rows([_INGESTED], showing.live[file.path])[_INGESTED]
            micros = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(0).to_numpy()
            minutes.update(at for at in (micros // 60_000_000).tolist() if at >= first)
        return {ERASED_INGESTED: " ".join(f"{at}:{rows}" for at, rows in sorted(minutes.items()))}

    def _rewritten(self, chosen: Sequence[LiveFile], showing: Showing) -> list[tuple[LiveFile, DataFile]]:
        """Files and those that take their places; one of which no row is left has none."""
        deletes = ExistingDeletes(self.target.table.io, self.pool)
        deletes.load(chosen)
        writer = DataFileWriter(self.target, self.rule)
        gate = MemoryGate(_HELD_BYTES)

        def rewrite(file: LiveFile) -> DataFile | None:
            size = COPIES * min(decoded_size(self.target.table, file.file), PIECE_BYTES)
            with gate.hold(size):
                going = showing.live if self.doomed.instead is None else {}
                pieces = _pieces(self.target, file, deletes.of(file, going), self.doomed)
                first = next(pieces, None)
                if first is None:
                    return None
                path = self.target.new_path(self.target.directory(file.file.partition), ENDING)
                return writer.write(path, file.file.partition, first, pieces)

        pairs = zip(chosen, self.pool.map(rewrite, chosen), strict=True)
        return [(file, new) for file, new in pairs if new is not None]


def _properties(table: Table, readers: Sequence[SourceCheckpoint]) -> dict[str, str]:
    """The checkpoints that this table really had: one of another table of the name before says nothing."""
    known = {(s.snapshot_id, s.sequence_number) for s in table.snapshots()}
    own = [
        one
        for one in readers
        if not one.full_scan and ((one.snapshot_id, one.sequence) in known or is_noted(one, table.properties))
    ]
    return {READ_BEFORE_ERASURE: noted(own)} if own else {}


def _showing(table: Table, live: LiveFiles, doomed: Doomed, pool: Executor) -> Showing:
    target = Target(table, table.schema(), ())
    paths = {file.path for file in live.files}
    past = _past_files(table, paths, pool)
    looked_at = [f for f in (*(file.file for file in live.files), *past) if _may_hold(target, f, doomed)]
    held = zip(looked_at, pool.map(lambda file: _positions(target, file, doomed), looked_at), strict=True)
    found = {file.file_path: positions for file, positions in held if len(positions)}
    return Showing(
        {path: positions for path, positions in found.items() if path in paths},
        frozenset(found.keys() - paths),
        any(pool.map(lambda manifest: _quotes_what_left(manifest, table), live.manifests)),
        len(table.snapshots()),
    )


def _quotes_what_left(manifest: ManifestFile, table: Table) -> bool:
    """Whether a manifest has statistics of a file that left the table."""
    if manifest.deleted_files_count == 0:
        return False
    entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    left = (entry.data_file for entry in entries if entry.status == ManifestEntryStatus.DELETED)
    return any(file.lower_bounds or file.upper_bounds for file in left)


def _past_files(table: Table, live: Collection[str], pool: Executor) -> list[DataFile]:
    """Data files that other snapshots than the current one refer to."""
    lists = pool.map(lambda snapshot: snapshot.manifests(table.io), table.snapshots())
    manifests = {m.manifest_path: m for listed in lists for m in listed}
    entries = pool.map(lambda m: m.fetch_manifest_entry(table.io), manifests.values())
    files = {e.data_file.file_path: e.data_file for of_one in entries for e in of_one}
    return [
        file
        for path, file in files.items()
        if path not in live and file.content == DataFileContent.DATA and table.io.new_input(path).exists()
    ]


def _may_hold(target: Target, file: DataFile, doomed: Doomed) -> bool:
    """Whether statistics allow that a file has one of the keys."""
    if doomed.keys is None:
        return True
    number = target.field_ids[_KEY]
    lower, upper = ((bounds or {}).get(number) for bounds in (file.lower_bounds, file.upper_bounds))
    if lower is None or upper is None:
        return True
    least, most = (str(from_bytes(StringType(), bound)) for bound in (lower, upper))
    # An upper bound that was cut off is as long as its values are compared.
    keys: list[Any] = doomed.keys.to_pylist()
    return any(least <= key and key[: len(most)] <= most for key in keys)


def _positions(target: Target, file: DataFile, doomed: Doomed) -> Positions:
    """Rows of a file that are to be erased, deleted ones included."""
    found = [np.zeros(0, np.int64)]
    with StoredFile(target, file) as stored:
        for first, rows in stored.steps(doomed.by):
            found.append(first + np.flatnonzero(doomed.among(rows)))
    return np.concatenate(found)


def _pieces(target: Target, file: LiveFile, gone: Positions, doomed: Doomed) -> Iterator[pa.Table]:
    with StoredFile(target, file.file) as stored:
        for rows in stored.live_pieces(gone):
            if rows.num_rows:
                kept = rows if doomed.instead is None else doomed.instead(rows)
                yield conform(kept, target, None)


def _check_references(table: Table) -> None:
    """Raise TableMismatch where a branch or a tag keeps old snapshots."""
    if named := [name for name in table.metadata.refs if name != MAIN_BRANCH]:
        raise TableMismatch(
            f"table {'.'.join(table.name())}: expected no branch or tag that keeps snapshots from before the "
            f"erasure, found {', '.join(named)}; remove them with the engine that made them, then run again"
        )


def _forget_all_before(catalog: Catalog, table: Table, snapshot_id: int) -> int:
    """Forget every snapshot that is older than this one; gives how many."""
    commit = table.snapshot_by_id(snapshot_id)
    number = (commit.sequence_number or 0) if commit is not None else 0
    return len(
        forget_snapshots(
            catalog,
            ".".join(table.name()),
            lambda now: [s.snapshot_id for s in now.snapshots() if (s.sequence_number or 0) < number],
        )
    )
