"""One attempt: plan, locate, decide and write a merge on one snapshot of the table, without the commit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pyarrow as pa
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.typedef import Record

from common.lake.checkpoints import (
    MERGE_SEQ,
    NOTHING,
    RUN_ID,
    SOURCE_POSITION,
    SOURCE_SNAPSHOT_ID,
    SOURCE_TOKEN,
    START,
    SourceCheckpoint,
    committed,
)
from common.lake.merge.datafiles import DataFileWriter
from common.lake.merge.decide import Decision, History, decide
from common.lake.merge.livefiles import LiveFile, LiveFiles, live_files
from common.lake.merge.locate import StoredRows, locate
from common.lake.merge.outcome import MergeOutcome
from common.lake.merge.partitions import SourceRows, partition_rows, sorted_pieces, source_columns
from common.lake.merge.positions import ExistingDeletes, Positions, write_deletes
from common.lake.merge.reading import StoredFile
from common.lake.merge.snapshot import Change
from common.lake.merge.source import conform, owners, unknown_columns
from common.lake.merge.staging import StagedSource
from common.lake.merge.streams import MemoryGate, concurrency
from common.lake.merge.target import Target
from common.lake.merge.tiers import FileState, files_to_rewrite
from common.lake.rule import MergeRule, choose_winners

# Partitions that are written in one job: as many as these, fewer where workers would have nothing to do.
_JOB_ROWS = 4096
_JOB_PARTITIONS = 16
_JOBS_A_WORKER = 4
# A row is held so often while it is written: taken from its source, put together with others, and encoded.
_COPIES = 3


@dataclass(frozen=True)
class Request:
    """What every attempt of one merge has in common."""

    source: StagedSource
    rule: MergeRule
    run_id: str
    evolve: bool
    history: History | None
    checkpoint: SourceCheckpoint | None
    extra_summary: Mapping[str, str]


class Attempt:
    """A merge planned on one snapshot of the target; ``written`` lists the files it made."""

    def __init__(self, target: Target, request: Request, pool: Executor) -> None:
        self._request = request
        self._pool = pool
        columns = request.source.columns
        self._target = target.with_columns(
            unknown_columns(columns, target, evolve=request.evolve), owners(columns, target)
        )
        self.live: LiveFiles = live_files(target.table, pool)
        self._by_partition: dict[Record, list[LiveFile]] = defaultdict(list)
        for file in self.live.files:
            self._by_partition[file.file.partition].append(file)
        self._deletes = ExistingDeletes(target.table.io, pool)
        self._deleted: dict[str, Positions] = {}
        self._added: list[DataFile] = []
        self._removed: set[str] = set()
        self._merge_seq = target.previous_merge_seq + 1
        self._row_bytes = 1
        self.written: list[str] = []
        self.outcome = MergeOutcome(
            committed=False,
            snapshot_id=target.snapshot_id,
            merge_seq=target.previous_merge_seq,
            rows_read=request.source.rows,
        )

    def run(self) -> Change | None:
        """Write the files of the merge; gives the change to commit, or None where nothing changes."""
        for shard in self._request.source.shards():
            self._merge_shard(shard)
        if not self._added:
            return None
        self._write_deletes()
        deletes = [f for f in self._added if f.content == DataFileContent.POSITION_DELETES]
        rewritten = self._removed & {f.path for f in self.live.files}
        self.outcome = replace(
            self.outcome,
            committed=True,
            merge_seq=self._merge_seq,
            new_columns=self._target.added,
            data_files=len(self._added) - len(deletes),
            delete_files=len(deletes),
            rewritten_files=len(rewritten),
            bytes_written=sum(f.file_size_in_bytes for f in self._added),
        )
        carried = {MERGE_SEQ: str(self._merge_seq)}
        kept: dict[str, str] = {}
        if self._request.checkpoint is not None:
            carried |= self._request.checkpoint.summary()
        else:
            kept = _kept(self._target.table)
        return Change(
            operation=Operation.OVERWRITE if deletes or self._removed else Operation.APPEND,
            added=self._added,
            removed=frozenset(self._removed),
            schema=self._target.schema if self._target.evolved else None,
            properties={**kept, **carried},
            summary={
                **self._request.extra_summary,
                **carried,
                RUN_ID: self._request.run_id,
                **self._counts(),
            },
        )

    def _merge_shard(self, shard: pa.Table) -> None:
        rule = self._request.rule
        self._row_bytes = max(1, shard.nbytes // max(1, shard.num_rows))
        winners = choose_winners(shard.select(list(rule.columns)), rule)
        wanted = conform(shard.select([rule.key, rule.order[0]]).take(winners.rows), self._target, 0)
        stored = locate(self._target, rule, self.live.files, wanted, deletes=self._deletes, pool=self._pool)
        decision = decide(shard, winners, stored, rule, self._request.history)
        sources = [(shard, decision.write)]
        if decision.recovered is not None:
            sources.append((decision.recovered, np.arange(decision.recovered.num_rows, dtype=np.int64)))
            self._add_columns(decision.recovered.schema)
        deleted = _positions_by_file(stored, decision)
        self._write_partitions(sources, deleted)
        for path, positions in deleted.items():
            self._deleted[path] = np.union1d(self._deleted.get(path, positions), positions)
        self.outcome = replace(
            self.outcome,
            duplicate_messages=self.outcome.duplicate_messages + winners.duplicate_messages,
            superseded=self.outcome.superseded + winners.superseded,
            inserted=self.outcome.inserted + decision.inserted,
            updated=self.outcome.updated + decision.updated,
            unchanged=self.outcome.unchanged + decision.unchanged,
        )

    def _add_columns(self, schema: pa.Schema) -> None:
        """Rows read again from the history may have columns that this batch does not have."""
        known = self._target.added
        new = unknown_columns(schema, self._target, evolve=self._request.evolve)
        notes = {**self._target.notes, **owners(schema, self._target)}
        self._target = self._target.with_columns((*known, *(c for c in new if c not in known)), notes)

    def _write_partitions(
        self, sources: list[tuple[pa.Table, np.ndarray]], deleted: Mapping[str, Positions]
    ) -> None:
        """Write new rows partition by partition, together with the files that are rewritten for them."""
        parts: dict[Record, list[SourceRows]] = defaultdict(list)
        for table, rows in sources:
            names = {self._request.rule.key, *source_columns(self._target)} & set(table.schema.names)
            layout = conform(table.select(sorted(names)).take(rows), self._target, self._merge_seq)
            for partition, places in partition_rows(self._target, layout):
                parts[partition].append(SourceRows(table, rows[places]))
        most_rows = self._request.source.limit // (_COPIES * self._row_bytes)
        rewrites = {} if self._request.source.spilled else self._plan_rewrites(parts, deleted, most_rows)
        self._deletes.load(f for files in rewrites.values() for f in files)
        writer = DataFileWriter(self._target, self._request.rule)
        writes = [
            _PartitionWrite(p, parts.get(p, []), rewrites.get(p, []))
            for p in dict.fromkeys((*parts, *rewrites))
        ]
        jobs = list(_jobs(writes, concurrency(self._target.table.location())))
        gate = MemoryGate(self._request.source.limit)

        def work(job: Sequence[_PartitionWrite]) -> list[DataFile]:
            with gate.hold(_COPIES * self._row_bytes * sum(write.rows for write in job)):
                return self._write_job(writer, deleted, job)

        for written in self._pool.map(work, jobs):
            self._added += written
        self._removed |= {f.path for files in rewrites.values() for f in files}

    def _plan_rewrites(
        self, parts: Mapping[Record, list[SourceRows]], deleted: Mapping[str, Positions], most_rows: int
    ) -> dict[Record, list[LiveFile]]:
        """Files to rewrite, by partition. A spilled source rewrites none: a later shard may need them."""
        touched = {f.file.partition for f in self.live.files if f.path in deleted} | parts.keys()
        candidates = [f for partition in touched for f in self._by_partition.get(partition, [])]
        self._deletes.load(f for f in candidates if f.path in deleted)
        plan = {}
        for partition in touched:
            files = self._by_partition.get(partition, [])
            chosen = files_to_rewrite(
                [self._state(f, deleted) for f in files],
                sum(len(s.rows) for s in parts.get(partition, [])),
                most_rows,
            )
            if chosen:
                plan[partition] = [f for f in files if f.path in chosen]
        return plan

    def _state(self, file: LiveFile, deleted: Mapping[str, Positions]) -> FileState:
        new = deleted.get(file.path)
        gone = 0 if new is None else len(np.union1d(self._deletes.of(file), new))
        return FileState(file.path, file.file.file_size_in_bytes, file.file.record_count, gone)

    def _write_job(
        self, writer: DataFileWriter, deleted: Mapping[str, Positions], job: Sequence["_PartitionWrite"]
    ) -> list[DataFile]:
        """The files of some partitions, each with its rows sorted by key."""
        key = self._request.rule.key
        sources = [s for write in job for s in write.sources]
        pieces = iter(sorted_pieces(sources, key, self._target, self._merge_seq))
        written = []
        for write in job:
            tables = [*islice(pieces, len(write.sources)), *self._live_rows(write.rewritten, deleted)]
            if tables:
                rows = tables[0] if len(tables) == 1 else pa.concat_tables(tables).sort_by(key)
                written += writer.write_partition(write.partition, rows, self._new_path)
        return written

    def _live_rows(
        self, rewritten: Iterable[LiveFile], deleted: Mapping[str, Positions]
    ) -> Iterator[pa.Table]:
        """What is left of each file after its old and new deletes; nothing of a file without rows left."""
        for file in rewritten:
            gone = self._deletes.of(file)
            new = deleted.get(file.path)
            gone = gone if new is None else np.union1d(gone, new)
            if len(gone) < file.file.record_count:
                with StoredFile(self._target, file.file) as stored:
                    yield conform(stored.live_rows(gone), self._target, None)

    def _write_deletes(self) -> None:
        """One position-delete file a partition: its new deletes and those it had, replacing the old files."""
        partitions: dict[Record, dict[str, Positions]] = defaultdict(dict)
        files = {f.path: f for f in self.live.files}
        for path, positions in self._deleted.items():
            if path not in self._removed:
                partitions[files[path].file.partition][path] = positions
        kept = [f for p in partitions for f in self._by_partition[p] if f.path not in self._removed]
        self._deletes.load(kept)
        for file in kept:
            rows = partitions[file.file.partition]
            known = self._deletes.of(file)
            if len(known):
                rows[file.path] = np.union1d(rows.get(file.path, known), known)
            self._removed |= {d.data_file.file_path for d in file.deletes}
        self._removed |= self._dangling()
        self._added += self._pool.map(
            lambda item: write_deletes(
                self._target, self._new_path(self._target.directory(item[0]), "deletes.parquet"), *item
            ),
            partitions.items(),
        )

    def _dangling(self) -> set[str]:
        """Delete files that apply only to data files that this merge removes."""
        needed = {
            d.data_file.file_path for f in self.live.files if f.path not in self._removed for d in f.deletes
        }
        removed = [f for f in self.live.files if f.path in self._removed]
        return {d.data_file.file_path for f in removed for d in f.deletes} - needed

    def _new_path(self, directory: str, ending: str) -> str:
        path = self._target.new_path(directory, ending)
        self.written.append(path)
        return path

    def _counts(self) -> dict[str, str]:
        """The row counts, for the snapshot summary."""
        names = ("rows_read", "duplicate_messages", "superseded", "inserted", "updated", "unchanged")
        return {f"lean-ops.{name.replace('_', '-')}": str(getattr(self.outcome, name)) for name in names}


def _kept(table: Table) -> dict[str, str]:
    """The checkpoint that a merge without one leaves in the properties: that of the table's own history."""
    entry = committed(table)
    if entry is None:
        return {SOURCE_SNAPSHOT_ID: NOTHING, SOURCE_TOKEN: NOTHING, SOURCE_POSITION: START}
    checkpoint = SourceCheckpoint.parse(entry.token, entry.position)
    return checkpoint.summary() if checkpoint is not None else {}


@dataclass(frozen=True)
class _PartitionWrite:
    """What becomes of one partition: rows of the source, and files that are rewritten with them."""

    partition: Record
    sources: list[SourceRows]
    rewritten: list[LiveFile]

    @property
    def rows(self) -> int:
        """Rows to hold while it is written."""
        return sum(len(s.rows) for s in self.sources) + sum(f.file.record_count for f in self.rewritten)


def _jobs(writes: Sequence[_PartitionWrite], concurrency: int) -> Iterator[list[_PartitionWrite]]:
    """Neighbouring partitions with few rows together, but enough jobs to keep all workers busy."""
    longest = max(1, min(_JOB_PARTITIONS, len(writes) // (_JOBS_A_WORKER * concurrency)))
    job: list[_PartitionWrite] = []
    rows = 0
    for write in writes:
        job.append(write)
        rows += sum(len(s.rows) for s in write.sources)
        if len(job) == longest or rows >= _JOB_ROWS or write.rewritten:
            yield job
            job, rows = [], 0
    if job:
        yield job


def _positions_by_file(stored: StoredRows, decision: Decision) -> dict[str, Positions]:
    file_of = stored.file_of[decision.delete]
    return {
        stored.files[number].path: np.sort(stored.positions[decision.delete[file_of == number]])
        for number in np.unique(file_of)
    }
