"""Compaction: small files of a partition become one, and position deletes go into the files they speak of.

A compaction commits on the snapshot it was planned on or not at all, in portions small enough to be planned
again beside running merges. It adds and removes no row (Iceberg operation ``replace``), so incremental
readers skip it, and it keeps ``_merge_seq``. It carries on the checkpoint of the last merge, so that the
table still says how far it is when that merge's own snapshot has expired.

Merged tables and RAW are compacted alike; RAW has no merge sequence.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.typedef import Record

from common.checkpoints import MERGE_SEQ, RUN_ID, SOURCE_POSITION, SOURCE_SNAPSHOT_ID, SOURCE_TOKEN
from common.deduplication import MergeRule
from common.merge.committing import Planned, commit_until_done
from common.merge.datafiles import DataFileWriter
from common.merge.livefiles import LiveFile, LiveFiles, live_files
from common.merge.positions import ExistingDeletes
from common.merge.reading import StoredFile
from common.merge.snapshot import Change, SnapshotCommit
from common.merge.source import conform
from common.merge.streams import concurrency
from common.merge.target import MERGE_SEQ_COLUMN, Target
from common.tables import open_table

_CARRIED = (SOURCE_SNAPSHOT_ID, SOURCE_TOKEN, SOURCE_POSITION, MERGE_SEQ)


@dataclass(frozen=True)
class CompactionPolicy:
    """When a partition is compacted, and how much a commit takes.

    A partition with more than ``files`` data files is compacted, and one of which more than ``deleted_share``
    of the rows are deleted (0: any). ``portion_bytes``: data files read for one commit; ``group_bytes``:
    those read for one new file, which bounds memory to about four times as much a file in work.
    """

    files: int = 4
    deleted_share: float = 0.0
    portion_bytes: int = 512 * 2**20
    group_bytes: int = 128 * 2**20


@dataclass(frozen=True)
class CompactionOutcome:
    """What a compaction did: commits made, data files replaced by new ones, delete files dropped."""

    commits: int
    files_replaced: int
    files_written: int
    delete_files_dropped: int
    bytes_written: int
    snapshot_id: int | None


@dataclass(frozen=True)
class Group:
    """Files of one partition that become one file."""

    partition: Record
    files: tuple[LiveFile, ...]

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(f.file.file_size_in_bytes for f in self.files)


def compact(
    catalog: Catalog,
    identifier: str,
    rule: MergeRule,
    *,
    run_id: str,
    policy: CompactionPolicy | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> CompactionOutcome:
    """Compact what the policy asks for, portion by portion, each an own commit.

    ``go_on`` is asked before every portion, so that a bounded time is kept; what is left is left for the next
    time. Raises TableMissing, TableMismatch, and CommitConflict or CommitUnknown where a portion could not be
    committed; the portions before it stay.
    """
    chosen = policy or CompactionPolicy()
    total = CompactionOutcome(0, 0, 0, 0, 0, None)
    with ThreadPoolExecutor(concurrency(open_table(catalog, identifier).location())) as pool:

        def plan(table: Table, _number: int) -> Planned[CompactionOutcome]:
            return _plan_portion(_target(table, rule), rule, chosen, run_id, pool)

        while go_on():
            done = commit_until_done(catalog, open_table(catalog, identifier), plan)
            total = CompactionOutcome(
                total.commits + done.commits,
                total.files_replaced + done.files_replaced,
                total.files_written + done.files_written,
                total.delete_files_dropped + done.delete_files_dropped,
                total.bytes_written + done.bytes_written,
                done.snapshot_id,
            )
            if not done.commits:
                break
    return total


def _target(table: Table, rule: MergeRule) -> Target:
    """The table as a target to write files of; one without merge sequence (RAW) is never merged into."""
    if MERGE_SEQ_COLUMN in table.schema().column_names:
        return Target.check(table, rule)
    return Target(table, table.schema(), ())


def compaction_groups(files: Iterable[LiveFile], policy: CompactionPolicy) -> list[Group]:
    """What to compact, in groups of at most ``group_bytes`` (or one file), most files a group first.

    Files larger than half a group without deletes stay as they are.
    """
    partitions: dict[Record, list[LiveFile]] = defaultdict(list)
    for file in files:
        partitions[file.file.partition].append(file)
    groups = []
    for partition, members in partitions.items():
        rows = sum(f.file.record_count for f in members)
        deletes = {d.data_file.file_path: d.data_file.record_count for f in members for d in f.deletes}
        worn = bool(deletes) and sum(deletes.values()) > policy.deleted_share * rows
        if len(members) <= policy.files and not worn:
            continue
        small = [f for f in members if f.deletes or f.file.file_size_in_bytes <= policy.group_bytes // 2]
        groups += [Group(partition, g) for g in _bins(small, policy.group_bytes)]
    useful = [g for g in groups if len(g.files) > 1 or g.files[0].deletes]
    return sorted(useful, key=lambda g: len(g.files), reverse=True)


def _bins(files: Sequence[LiveFile], size: int) -> Iterator[tuple[LiveFile, ...]]:
    group: list[LiveFile] = []
    for file in sorted(files, key=lambda f: f.file.file_size_in_bytes):
        if group and sum(f.file.file_size_in_bytes for f in (*group, file)) > size:
            yield tuple(group)
            group = []
        group.append(file)
    if group:
        yield tuple(group)


def _plan_portion(
    target: Target, rule: MergeRule, policy: CompactionPolicy, run_id: str, pool: Executor
) -> Planned[CompactionOutcome]:
    live = live_files(target.table, pool)
    portion: list[Group] = []
    for group in compaction_groups(live.files, policy):
        if portion and sum(g.size for g in (*portion, group)) > policy.portion_bytes:
            break
        portion.append(group)
    if not portion:
        return Planned(CompactionOutcome(0, 0, 0, 0, 0, target.snapshot_id))
    deletes = ExistingDeletes(target.table.io, pool)
    deletes.load(f for g in portion for f in g.files)
    writer = DataFileWriter(target, rule)
    written: list[str] = []

    def new_path(directory: str, ending: str) -> str:
        written.append(target.new_path(directory, ending))
        return written[-1]

    def rewrite(group: Group) -> list[DataFile]:
        pieces = []
        for file in group.files:
            with StoredFile(target, file.file) as stored:
                pieces.append(conform(stored.live_rows(deletes.of(file)), target, None))
        rows = pieces[0] if len(pieces) == 1 else pa.concat_tables(pieces).sort_by(rule.key)
        return writer.write_partition(group.partition, rows, new_path) if rows.num_rows else []

    added = [f for files in pool.map(rewrite, portion) for f in files]
    replaced = {f.path for g in portion for f in g.files}
    dropped = _unneeded_deletes(live, replaced)
    change = Change(
        operation=Operation.REPLACE,
        added=added,
        removed=frozenset(replaced | dropped),
        summary={**_checkpoint(target.table), RUN_ID: run_id},
    )
    commit = SnapshotCommit(target.table, live, change)
    outcome = CompactionOutcome(
        1,
        len(replaced),
        len(added),
        len(dropped),
        sum(f.file_size_in_bytes for f in added),
        commit.snapshot_id,
    )
    return Planned(outcome, commit, written)


def _unneeded_deletes(live: LiveFiles, replaced: Collection[str]) -> set[str]:
    """Delete files that apply to no data file that stays."""
    needed = {d.data_file.file_path for f in live.files if f.path not in replaced for d in f.deletes}
    return live.delete_paths - needed


def _checkpoint(table: Table) -> dict[str, str]:
    """What the newest merge in the table's history says of its source."""
    by_id = {s.snapshot_id: s for s in table.snapshots()}
    snapshot = table.current_snapshot()
    while snapshot is not None:
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        if MERGE_SEQ in summary:
            return {key: summary[key] for key in _CARRIED if key in summary}
        snapshot = by_id.get(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
    return {}
