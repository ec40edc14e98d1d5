"""Writing what was planned: data files and delete files, and a value that says which.

Shards are written by whoever planned them, and what they gave is put together (``Written.together``) for the
one commit. A compaction gives the same value.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice, zip_longest

import numpy as np
import pyarrow as pa
from pyiceberg.manifest import DataFile

from common.lake.files import NOTHING, Traffic
from common.lake.merge.datafiles import DataFileWriter
from common.lake.merge.outcome import Counts
from common.lake.merge.partitions import sorted_pieces
from common.lake.merge.planning import COPIES, Basis, DeletePlan, Part, PartitionPlan, ShardPlan, plan
from common.lake.merge.positions import Positions, write_positions
from common.lake.merge.reading import StoredFile
from common.lake.merge.source import conform
from common.lake.merge.streams import MemoryGate, concurrency
from common.lake.merge.target import Target

# Partitions that are written in one job: as many as these, fewer where workers would have nothing to do.
_JOB_ROWS = 4096
_JOB_PARTITIONS = 16
_JOBS_A_WORKER = 4


@dataclass(frozen=True)
class Written:
    """Files that lie in the store and that no snapshot lists yet.

    ``added``: data and delete files. ``removed``: paths of the files whose place they take. ``deleted``: rows
    that are to leave data files, by path; delete files are written of them when all are known. ``counts``:
    of the source and, where there is one, of that beside it. ``traffic``: what it took in processes that
    have a table of their own (``elsewhere``); of others their table knows.
    """

    added: tuple[DataFile, ...] = ()
    removed: frozenset[str] = frozenset()
    deleted: Mapping[str, Positions] = field(default_factory=dict)
    counts: tuple[Counts, ...] = ()
    traffic: Traffic = NOTHING

    @classmethod
    def together(cls, parts: Iterable["Written"]) -> "Written":
        """All that the parts say."""
        added: list[DataFile] = []
        removed: set[str] = set()
        deleted: dict[str, Positions] = {}
        counts: list[Counts] = []
        traffic = NOTHING
        for part in parts:
            traffic += part.traffic
            added += part.added
            removed |= part.removed
            for path, positions in part.deleted.items():
                known = deleted.get(path)
                deleted[path] = positions if known is None else np.union1d(known, positions)
            both = zip_longest(counts, part.counts, fillvalue=Counts())
            counts = [known + more for known, more in both]
        return cls(tuple(added), frozenset(removed), deleted, tuple(counts), traffic)

    @property
    def paths(self) -> list[str]:
        """Where the files lie, for removal when nothing will list them."""
        return [f.file_path for f in self.added]

    @property
    def size(self) -> int:
        """Bytes written."""
        return sum(f.file_size_in_bytes for f in self.added)


def write_shard(basis: Basis, target: Target, shard: Sequence[Part]) -> tuple[Target, Written]:
    """Plan a shard and write it; gives also the target with the columns that it added.

    Whoever has the basis may do it, in whatever process (``common.lake.merge.elsewhere``).
    """
    shard_plan = plan(basis, target, *shard)
    return shard_plan.target, write(shard_plan, basis.pool, basis.limit)


def write(plan: ShardPlan, pool: Executor, limit: int) -> Written:
    """Write the data files of a shard, holding ``limit`` bytes at most or one job."""
    writer = DataFileWriter(plan.target, plan.rule)
    gate = MemoryGate(limit)

    def work(job: Sequence[PartitionPlan]) -> list[DataFile]:
        with gate.hold(COPIES * plan.row_bytes * sum(part.rows for part in job)):
            return _write_job(writer, plan, job)

    jobs = list(_jobs(plan.partitions, concurrency(plan.target.table.location())))
    added = [file for files in pool.map(work, jobs) for file in files]
    removed = frozenset(r.file.path for part in plan.partitions for r in part.rewrites)
    return Written(tuple(added), removed, plan.deleted, plan.counts)


def write_deletes(plan: DeletePlan, target: Target, pool: Executor) -> Written:
    """Write the planned position-delete files."""
    return Written(tuple(pool.map(lambda file: write_positions(target, *file), plan.files)), plan.replaced)


def _jobs(parts: Sequence[PartitionPlan], concurrency: int) -> Iterator[list[PartitionPlan]]:
    """Neighbouring partitions with few rows together, but enough jobs to keep all workers busy."""
    longest = max(1, min(_JOB_PARTITIONS, len(parts) // (_JOBS_A_WORKER * concurrency)))
    job: list[PartitionPlan] = []
    rows = 0
    for part in parts:
        job.append(part)
        rows += part.new_rows
        if len(job) == longest or rows >= _JOB_ROWS or part.rewrites:
            yield job
            job, rows = [], 0
    if job:
        yield job


def _write_job(writer: DataFileWriter, plan: ShardPlan, job: Sequence[PartitionPlan]) -> list[DataFile]:
    """The files of some partitions, each with its rows sorted by key."""
    target, key = plan.target, plan.rule.key
    pieces = iter(sorted_pieces([s for part in job for s in part.sources], key, target, target.merge_seq))
    written = []
    for part in job:
        tables = list(islice(pieces, len(part.sources)))
        for rewrite in part.rewrites:
            if len(rewrite.gone) < rewrite.file.file.record_count:
                with StoredFile(target, rewrite.file.file) as stored:
                    tables.append(conform(stored.live_rows(rewrite.gone), target, None))
        if tables:
            rows = tables[0] if len(tables) == 1 else pa.concat_tables(tables).sort_by(key)
            written += writer.write_partition(part.partition, rows, target.new_path)
    return written
