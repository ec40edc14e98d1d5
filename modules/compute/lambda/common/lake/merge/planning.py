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
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.typedef import Record

from common.lake.closing import closed_before, still_taken
from common.lake.merge.decide import Decision, History, decide
from common.lake.merge.livefiles import LiveFile, LiveFiles
from common.lake.merge.locate import StoredRows, Wanted, locate
from common.lake.merge.outcome import Counts
from common.lake.merge.partitions import SourceRows, partition_rows, source_columns
from common.lake.merge.positions import ExistingDeletes, Positions
from common.lake.merge.source import conform, widened
from common.lake.merge.target import Target
from common.lake.merge.tiers import FileState, files_to_rewrite
from common.lake.rule import MergeRule, choose_winners
from common.runtime.errors import InternalFault

COPIES = 3
"""A row is held so often while it is written: taken from its source, put together with others, encoded."""


@dataclass(frozen=True)
class Basis:
    """What all shards of a merge are planned on: one snapshot of the table.

    ``evolve``: whether its rows may add columns. ``whole``: the shard is all there is to merge; else no file
    is written again, as a later shard may need it. ``limit``: bytes that writing may hold.
    """

    live: LiveFiles
    deletes: ExistingDeletes
    pool: Executor
    evolve: bool
    whole: bool
    limit: int


@dataclass(frozen=True)
class Part:
    """Rows to merge and the rule that decides them; ``history``: see ``common.lake.merge.decide.History``."""

    rows: pa.Table
    rule: MergeRule
    history: History | None = None


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
    file. ``counts``: of each of its parts. ``row_bytes``: what a row takes in memory.
    """

    target: Target
    rule: MergeRule
    partitions: tuple[PartitionPlan, ...]
    deleted: Mapping[str, Positions]
    counts: tuple[Counts, ...]
    row_bytes: int


@dataclass(frozen=True)
class DeletePlan:
    """Position-delete files to write, each a partition and the rows of its data files by path.

    ``replaced``: paths of the delete files that are needed no more.
    """

    files: tuple[tuple[Record, Mapping[str, Positions]], ...]
    replaced: frozenset[str]


def plan(basis: Basis, target: Target, *shard: Part) -> ShardPlan:
    """What becomes of a shard, on a target that has its columns.

    Where it has several parts, no key is in two of them: each is decided by its own rule, and all are looked
    for and written together. Rows from before the target takes any (``common.lake.closing``) are left out.

    Raises InternalFault for a key in two parts: each would be written.
    """
    closed = closed_before(target.table)
    parts = [replace(part, rows=still_taken(part.rows, closed)) for part in shard]
    winners = [choose_winners(part.rows.select(list(part.rule.columns)), part.rule) for part in parts]
    wanted = [
        Wanted(part.rule, conform(_deciding(part).take(won.rows), target, 0))
        for part, won in zip(parts, winners, strict=True)
    ]
    _check_apart(wanted, target)
    found = locate(target, basis.live.files, wanted, deletes=basis.deletes, pool=basis.pool)
    new: dict[Record, list[SourceRows]] = defaultdict(list)
    deleted: dict[str, Positions] = {}
    counts = []
    for part, read, won, stored in zip(parts, shard, winners, found, strict=True):
        decision = decide(part.rows, won, stored, part.rule, part.history)
        written = [SourceRows(part.rows, decision.write)]
        if decision.recovered is not None:
            # Rows read again from the history may have columns that this source does not have.
            target = widened(target, decision.recovered.schema, part.rule, evolve=basis.evolve)
            written.append(SourceRows(decision.recovered, np.arange(decision.recovered.num_rows)))
        for source in written:
            for partition, rows in _by_partition(source, target, part.rule):
                new[partition].append(rows)
        for path, positions in _positions_by_file(stored, decision).items():
            deleted[path] = np.union1d(deleted[path], positions) if path in deleted else positions
        counts.append(
            Counts(
                read.rows.num_rows,
                won.duplicate_messages,
                won.superseded,
                decision.inserted,
                decision.updated,
                decision.unchanged,
                decision.removed,
                read.rows.num_rows - part.rows.num_rows,
            )
        )
    row_bytes = max(1, sum(p.rows.nbytes for p in parts) // max(1, sum(p.rows.num_rows for p in parts)))
    rewrites = _rewrites(basis, new, deleted, basis.limit // (COPIES * row_bytes)) if basis.whole else {}
    return ShardPlan(
        target,
        parts[0].rule,
        tuple(
            PartitionPlan(partition, tuple(new.get(partition, ())), rewrites.get(partition, ()))
            for partition in dict.fromkeys((*new, *rewrites))
        ),
        deleted,
        tuple(counts),
        row_bytes,
    )


def _deciding(part: Part) -> pa.Table:
    return part.rows.select([part.rule.key, part.rule.order[0]])


def _check_apart(wanted: Sequence[Wanted], target: Target) -> None:
    first, *others = wanted
    for other in others:
        keys = first.rows[first.rule.key].combine_chunks()
        if pc.any(pc.is_in(other.rows[other.rule.key], value_set=keys)).as_py():
            raise InternalFault(
                f"merge into {target.name}: expected every key in one source, found one in two of them, and "
                "nothing was written; report it with the run's log"
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
