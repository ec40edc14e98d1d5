"""Planning a merge: values that say what is to be written, and change nothing.

    plan            ShardPlan    rows to write, files to write again, by partition; rows to delete, by file
    write           Written      the data files of it (``common.lake.merge.writing``)
    plan_deletes    DeletePlan   position deletes of all shards together, by partition
    write_deletes   Written      their files
    to_commit       Planned      the commit of all that (``common.lake.merge.engine``)

Planning reads, and nothing else: on one snapshot a shard has one plan, whoever makes it and how often. So any
process may plan and write a shard, as long as one puts together what was written and makes the one commit.
"""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyiceberg.typedef import Record

from common.lake.closing import closed_before, still_taken
from common.lake.merge.decide import Decision, History, decide
from common.lake.merge.livefiles import LiveFile, LiveFiles
from common.lake.merge.locate import StoredRows, locate
from common.lake.merge.outcome import Counts
from common.lake.merge.partitions import SourceRows, partition_rows, source_columns
from common.lake.merge.positions import ExistingDeletes, Positions
from common.lake.merge.source import conform, widened
from common.lake.merge.target import Target
from common.lake.merge.tiers import FileState, files_to_rewrite
from common.lake.rule import MergeRule, choose_winners

COPIES = 3
"""A row is held so often while it is written: taken from its source, put together with others, encoded."""


@dataclass(frozen=True)
class Basis:
    """What all shards of a merge are planned on: the rule, and one snapshot of the table.

    ``history``: see ``common.lake.merge.decide.History``. ``evolve``: whether its rows may add columns.
    ``whole``: the shard is all of the source; else no file is written again, as a later shard may need it.
    ``limit``: bytes that writing may hold.
    """

    rule: MergeRule
    live: LiveFiles
    deletes: ExistingDeletes
    pool: Executor
    history: History | None
    evolve: bool
    whole: bool
    limit: int


@dataclass(frozen=True)
class Rewrite:
    """A data file to write again without its rows at ``gone``, which were deleted before or are now."""

    file: LiveFile
    gone: Positions


@dataclass(frozen=True)
class PartitionPlan:
    """What becomes of one partition: rows of the source, and files that are written again with them."""

    partition: Record
    sources: tuple[SourceRows, ...]
    rewrites: tuple[Rewrite, ...]

    @property
    def new_rows(self) -> int:
        """Rows of the source."""
        return sum(len(s.rows) for s in self.sources)

    @property
    def rows(self) -> int:
        """Rows to hold while it is written."""
        return self.new_rows + sum(r.file.file.record_count for r in self.rewrites)


@dataclass(frozen=True)
class ShardPlan:
    """What becomes of one shard.

    ``target``: with the columns that its rows add. ``deleted``: stored rows that leave, by path of the data
    file. ``row_bytes``: what a row takes in memory.
    """

    target: Target
    rule: MergeRule
    partitions: tuple[PartitionPlan, ...]
    deleted: Mapping[str, Positions]
    counts: Counts
    row_bytes: int


@dataclass(frozen=True)
class DeletePlan:
    """Position-delete files to write, each a partition and the rows of its data files by path.

    ``replaced``: paths of the delete files that are needed no more.
    """

    files: tuple[tuple[Record, Mapping[str, Positions]], ...]
    replaced: frozenset[str]


def plan(basis: Basis, target: Target, shard: pa.Table) -> ShardPlan:
    """What becomes of a shard, on a target that has its columns.

    Rows from before the target takes any (``common.lake.closing``) are left out.
    """
    rule = basis.rule
    read = shard.num_rows
    shard = still_taken(shard, closed_before(target.table))
    winners = choose_winners(shard.select(list(rule.columns)), rule)
    wanted = conform(shard.select([rule.key, rule.order[0]]).take(winners.rows), target, 0)
    stored = locate(target, rule, basis.live.files, wanted, deletes=basis.deletes, pool=basis.pool)
    decision = decide(shard, winners, stored, rule, basis.history)
    written = [SourceRows(shard, decision.write)]
    if decision.recovered is not None:
        # Rows read again from the history may have columns that this source does not have.
        target = widened(target, decision.recovered.schema, rule, evolve=basis.evolve)
        written.append(SourceRows(decision.recovered, np.arange(decision.recovered.num_rows)))
    parts: dict[Record, list[SourceRows]] = defaultdict(list)
    for source in written:
        for partition, rows in _by_partition(source, target, rule):
            parts[partition].append(rows)
    deleted = _positions_by_file(stored, decision)
    row_bytes = max(1, shard.nbytes // max(1, shard.num_rows))
    rewrites = _rewrites(basis, parts, deleted, basis.limit // (COPIES * row_bytes)) if basis.whole else {}
    return ShardPlan(
        target,
        rule,
        tuple(
            PartitionPlan(partition, tuple(parts.get(partition, ())), rewrites.get(partition, ()))
            for partition in dict.fromkeys((*parts, *rewrites))
        ),
        deleted,
        Counts(
            read,
            winners.duplicate_messages,
            winners.superseded,
            decision.inserted,
            decision.updated,
            decision.unchanged,
            decision.removed,
            read - shard.num_rows,
        ),
        row_bytes,
    )


def plan_deletes(basis: Basis, deleted: Mapping[str, Positions], rewritten: frozenset[str]) -> DeletePlan:
    """One position-delete file a partition: its new deletes and those it had, replacing the old files.

    ``deleted``: of all shards, by path of the data file; ``rewritten``: paths of files that leave.
    """
    live = basis.live
    touched = {f.file.partition for f in live.files if f.path in deleted and f.path not in rewritten}
    kept = [f for f in live.files if f.file.partition in touched and f.path not in rewritten]
    basis.deletes.load(kept)
    partitions: dict[Record, dict[str, Positions]] = {partition: {} for partition in touched}
    for file in kept:
        positions = basis.deletes.of(file, deleted)
        if len(positions):
            partitions[file.file.partition][file.path] = positions
    leaving = {d for f in live.files if f.path in rewritten for d in f.delete_paths}
    folded = {d for f in kept for d in f.delete_paths}
    return DeletePlan(tuple(partitions.items()), frozenset(folded | leaving - live.needed_deletes(rewritten)))


def _by_partition(source: SourceRows, target: Target, rule: MergeRule) -> list[tuple[Record, SourceRows]]:
    names = {rule.key, *source_columns(target)} & set(source.table.schema.names)
    layout = conform(source.table.select(sorted(names)).take(source.rows), target, target.merge_seq)
    return [
        (p, SourceRows(source.table, source.rows[places])) for p, places in partition_rows(target, layout)
    ]


def _rewrites(
    basis: Basis, parts: Mapping[Record, list[SourceRows]], deleted: Mapping[str, Positions], most_rows: int
) -> dict[Record, tuple[Rewrite, ...]]:
    """Files to write again, by partition."""
    deletes, by_partition = basis.deletes, basis.live.by_partition
    touched = dict.fromkeys((*parts, *(f.file.partition for f in basis.live.files if f.path in deleted)))
    deletes.load(f for p in touched for f in by_partition.get(p, ()) if f.path in deleted)
    chosen: dict[Record, list[LiveFile]] = {}
    for partition in touched:
        files = by_partition.get(partition, ())
        states = [_state(f, deletes, deleted) for f in files]
        paths = files_to_rewrite(states, sum(len(s.rows) for s in parts.get(partition, ())), most_rows)
        if paths:
            chosen[partition] = [f for f in files if f.path in paths]
    deletes.load(f for files in chosen.values() for f in files)
    return {p: tuple(Rewrite(f, deletes.of(f, deleted)) for f in files) for p, files in chosen.items()}


def _state(file: LiveFile, deletes: ExistingDeletes, deleted: Mapping[str, Positions]) -> FileState:
    # Of a neighbour, rows deleted before are not counted: its delete files would have to be read for it.
    gone = len(deletes.of(file, deleted)) if file.path in deleted else 0
    return FileState(file.path, file.file.file_size_in_bytes, file.file.record_count, gone)


def _positions_by_file(stored: StoredRows, decision: Decision) -> dict[str, Positions]:
    file_of = stored.file_of[decision.delete]
    return {
        stored.files[number].path: np.sort(stored.positions[decision.delete[file_of == number]])
        for number in np.unique(file_of)
    }
