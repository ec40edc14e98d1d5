"""Compaction: small files of a partition become one, and position deletes go into the files they speak of.

A compaction commits on the snapshot it was planned on or not at all, in portions small enough to be planned
again beside running merges. It adds and removes no row (Iceberg operation ``replace``), so incremental
readers skip it, and it keeps ``_merge_seq``. It carries on the checkpoint of the last merge, so that the
table still says how far it is when that merge's own snapshot has expired.

Merged tables and RAW are compacted alike; RAW has no merge sequence.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.typedef import Record

from common.lake.checkpoints import MERGE_SEQ_COLUMN, RUN_ID
from common.lake.history import carried_on
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.datafiles import DataFileWriter
from common.lake.merge.layout import ENDING
from common.lake.merge.livefiles import LiveFile, live_files
from common.lake.merge.positions import ExistingDeletes
from common.lake.merge.reading import StoredFile, decoded_size
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.source import conform
from common.lake.merge.streams import concurrency
from common.lake.merge.target import Target
from common.lake.merge.writing import Written
from common.lake.rule import MergeRule
from common.lake.specifications import open_table

logger = logging.getLogger(__name__)

_MISJUDGED = 2  # times more than its footers say a group may take before it is left as it is
_SIZE_IN_NAME = re.compile(r"\.decoded-([0-9]+)\.(key-last\.)?parquet$")


@dataclass(frozen=True)
class CompactionPolicy:
    """When a partition is compacted, and how much at once. Sizes are what files take in memory, in bytes.

    A partition with more than ``files`` data files is compacted, and one of which more than ``deleted_share``
    of the rows are deleted (0: any). ``group_bytes`` are read for one new file, ``held_bytes`` for the files
    that are in work at the same time, ``portion_bytes`` for one commit. Rewriting takes about two and a half
    times ``held_bytes`` of memory.
    """

    files: int = 4
    deleted_share: float = 0.0
    group_bytes: int = 256 * 2**20
    held_bytes: int = 512 * 2**20
    portion_bytes: int = 2**30


@dataclass(frozen=True)
class CompactionOutcome:
    """What a compaction did: commits made, data files replaced by new ones, delete files dropped."""

    commits: int = 0
    files_replaced: int = 0
    files_written: int = 0
    delete_files_dropped: int = 0
    bytes_written: int = 0
    snapshot_id: int | None = None


@dataclass(frozen=True)
class Group:
    """Files of one partition that become one file. ``size``: what they take in memory, in bytes."""

    partition: Record
    files: tuple[LiveFile, ...]
    size: int


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
    total = CompactionOutcome()
    with ThreadPoolExecutor(concurrency(open_table(catalog, identifier).location())) as pool:

        def plan(table: Table, _number: int) -> Planned[CompactionOutcome]:
            return _plan_portion(target_of(table, rule), rule, chosen, run_id, pool)

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


def target_of(table: Table, rule: MergeRule) -> Target:
    """The table as a target to write files of; one without merge sequence (RAW) is never merged into."""
    if MERGE_SEQ_COLUMN in table.schema().column_names:
        return Target.check(table, rule)
    return Target(table, table.schema(), ())


def compaction_groups(
    table: Table, files: Iterable[LiveFile], policy: CompactionPolicy, pool: Executor
) -> list[Group]:
    """What to compact, in groups of at most ``group_bytes`` (or one file), most files a group first.

    A group becomes one file, so that every group leaves fewer files or fewer deletes. Files larger than half
    a group without deletes stay as they are. What a file takes in memory its name says, where a compaction
    wrote it, else its footer, of files alone that may be rewritten.
    """
    partitions: dict[Record, list[LiveFile]] = defaultdict(list)
    for file in files:
        partitions[file.file.partition].append(file)
    candidates: dict[Record, list[LiveFile]] = {}
    for partition, members in partitions.items():
        rows = sum(f.file.record_count for f in members)
        deletes = {d.data_file.file_path: d.data_file.record_count for f in members for d in f.deletes}
        worn = bool(deletes) and sum(deletes.values()) > policy.deleted_share * rows
        if len(members) > policy.files or worn:
            half = policy.group_bytes // 2
            candidates[partition] = [f for f in members if f.deletes or _least_size(f.file) <= half]
    listed = [f for members in candidates.values() for f in members]
    measured = zip(listed, pool.map(lambda f: _size(table, f.file), listed), strict=True)
    sizes = {f.path: size for f, size in measured}
    groups = [
        Group(partition, group, sum(sizes[f.path] for f in group))
        for partition, members in candidates.items()
        for group in _bins(members, sizes, policy.group_bytes)
    ]
    useful = [g for g in groups if len(g.files) > 1 or g.files[0].deletes]
    return sorted(useful, key=lambda g: len(g.files), reverse=True)


def _bins(files: Sequence[LiveFile], sizes: Mapping[str, int], most: int) -> Iterator[tuple[LiveFile, ...]]:
    group: list[LiveFile] = []
    for file in sorted(files, key=lambda f: sizes[f.path]):
        if not file.deletes and sizes[file.path] > most // 2:
            continue
        if group and sum(sizes[f.path] for f in (*group, file)) > most:
            yield tuple(group)
            group = []
        group.append(file)
    if group:
        yield tuple(group)


def _size(table: Table, file: DataFile) -> int:
    """What a file takes in memory."""
    return _named_size(file) or decoded_size(table, file)


def _least_size(file: DataFile) -> int:
    """What a file takes in memory at least, without a look into it."""
    return _named_size(file) or file.file_size_in_bytes


def _named_size(file: DataFile) -> int | None:
    found = _SIZE_IN_NAME.search(file.file_path)
    return int(found[1]) if found else None


def _plan_portion(
    target: Target, rule: MergeRule, policy: CompactionPolicy, run_id: str, pool: Executor
) -> Planned[CompactionOutcome]:
    live = live_files(target.table, pool)
    groups = compaction_groups(target.table, live.files, policy, pool)
    portion = next(_waves(groups, policy.portion_bytes), [])
    deletes = ExistingDeletes(target.table.io, pool)
    deletes.load(f for g in portion for f in g.files)
    writer = DataFileWriter(target, rule)

    def rewrite(group: Group) -> Written:
        if len(group.files) == 1:
            # The order of its rows stays, so that it goes through in pieces, whatever its size.
            (file,) = group.files
            return _write_group(target, writer, group, _live_pieces(target, file, deletes))
        read, found = _read_group(target, group, deletes, _MISJUDGED * policy.group_bytes)
        if not read:
            return Written()
        rows = pa.concat_tables(found).sort_by(rule.key)
        whole = Group(group.partition, tuple(read), rows.nbytes)
        return _write_group(target, writer, whole, iter([rows] if rows.num_rows else []))

    waves = _waves(portion, policy.held_bytes)
    written = Written.together(one for wave in waves for one in pool.map(rewrite, wave))
    if not written.removed:
        return Planned(CompactionOutcome(snapshot_id=target.snapshot_id))
    dropped = live.delete_paths - live.needed_deletes(written.removed)
    change = Change(
        operation=Operation.REPLACE,
        added=written.added,
        removed=written.removed | dropped,
        summary={**carried_on(target.table), RUN_ID: run_id},
    )
    commit = SnapshotCommit(target.table, live, change)
    outcome = CompactionOutcome(
        1, len(written.removed), len(written.added), len(dropped), written.size, commit.snapshot_id
    )
    return Planned(outcome, commit, written.paths)


def _write_group(target: Target, writer: DataFileWriter, group: Group, pieces: Iterator[pa.Table]) -> Written:
    """The files of a group become one with these rows, or none where every row of them is deleted."""
    removed = frozenset(f.path for f in group.files)
    first = next(pieces, None)
    if first is None:
        return Written(removed=removed)
    path = target.new_path(target.directory(group.partition), f"decoded-{group.size}.{ENDING}")
    return Written((writer.write(path, group.partition, first, pieces),), removed)


def _live_pieces(target: Target, file: LiveFile, deletes: ExistingDeletes) -> Iterator[pa.Table]:
    with StoredFile(target, file.file) as stored:
        for rows in stored.live_pieces(deletes.of(file)):
            yield conform(rows, target, None)


def _read_group(
    target: Target, group: Group, deletes: ExistingDeletes, most: int
) -> tuple[list[LiveFile], list[pa.Table]]:
    """Files of a group with their live rows, as many as really fit into ``most`` bytes; none if not two.

    What a footer tells of a dictionary may be far too little; a file that does not fit stays as it is.
    """
    read: list[LiveFile] = []
    found = [target.arrow_schema.empty_table()]
    held = 0
    for file in group.files:
        pieces: list[pa.Table] = []
        for piece in _live_pieces(target, file, deletes):
            pieces.append(piece)
            held += piece.nbytes
            if held > most:
                logger.warning("%s: %s takes more memory than its footer says", target.name, file.path)
                return (read, found) if len(read) > 1 else ([], [])
        read.append(file)
        found += pieces
    return (read, found) if len(read) > 1 else ([], [])


def _waves(groups: Iterable[Group], most: int) -> Iterator[list[Group]]:
    """Groups, in their order, that are together at most so large, or one."""
    wave: list[Group] = []
    for group in groups:
        if wave and sum(g.size for g in (*wave, group)) > most:
            yield wave
            wave = []
        wave.append(group)
    if wave:
        yield wave
