"""The ``Staging`` of each layer as stages of a Spark context.

    one stage   files of the source, flattened or judged, cut by key (``parts``) → one shuffle
    one job     of its notes alone, which runs that stage: now columns, counts and rows set aside are known
    one job     of its shards, whose rows the shuffle holds: planned and written, answers collected

A task that fails is done again, up to Spark's own limit; that it may have written files before changes
nothing (``common.lake.merge.elsewhere``). RDDs of bytes, and no data frames: pandas is not needed, a
partition is exactly a shard, and what Spark does not look into it cannot change.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Final, TypeVar

import pyarrow as pa
from py4j.protocol import Py4JError
from pyiceberg.table import FileScanTask
from pyspark import RDD, SparkContext, TaskContext

from common.lake.merge import LiveFiles, RemoteSource, ShardDone, ShardWork, StagedSource
from common.lake.rule import EVENT_RULE, SOURCE_RULE, MergeRule
from common.layers.curated import Flattened, RawRows
from common.layers.semantic import CuratedRows, Judged
from common.payload.columns import Columns
from common.runtime import outside
from common.runtime.errors import InternalFault, ServiceFailure
from common.runtime.settings import JobSettings
from spark.parts import (
    Failed,
    FlattenedPart,
    JudgedPart,
    Keyed,
    Tally,
    flatten_part,
    in_parts,
    judge_part,
    only_columns,
    received,
    sent_as,
    together,
    write_shard,
)

BUCKETS: Final = 16
"""Buckets of the keys in the table specifications: of a multiple, each shard looks at one of them."""

_PART_BYTES: Final = 32 * 2**20
"""Bytes of the files that one task reads: compressed, some tenth of what they are in memory."""

_PARTS_A_CORE: Final = 3
_SHARE: Final = 4
"""A shard may take this share of the memory budget of the job, as a staged source does (``StagedSource``)."""

_ENDING_S: Final = 30.0
"""Longest wait for tasks that are being killed; Spark ends their Python after two seconds."""

_LOOK_S: Final = 0.1

_T = TypeVar("_T")


@dataclass(frozen=True)
class Stage:
    """What is done (``reading`` or ``writing``), its tasks, how many of them are done, rows, once known."""

    stage: str
    tasks: int
    tasks_done: int
    rows: int | None


class Cluster:
    """Spark as the place where rows are read, and where shards are merged."""

    def __init__(self, context: SparkContext) -> None:
        self._context = context
        self._rows: int | None = None

    def stage(self) -> Stage | None:
        """What is done now; None between two stages."""
        tracker = self._context.statusTracker()
        running = [info for number in tracker.getActiveStageIds() if (info := tracker.getStageInfo(number))]
        if not running:
            return None
        tasks, done = (
            sum(n) for n in zip(*((i.numTasks, i.numCompletedTasks) for i in running), strict=True)
        )
        return Stage("reading" if self._rows is None else "writing", tasks, done, self._rows)

    def flatten(self, rows: RawRows, columns: Columns, settings: JobSettings) -> Flattened:
        """A ``common.layers.curated.Staging``."""
        limit = _limit(settings)
        shards = _shards(rows.size, limit)
        found, parts = self._flatten(rows, columns, shards)
        whole = columns.put_together([part.columns for part in parts])
        if not all(whole.are_those_of(part.columns) for part in parts):
            found.unpersist()  # all rows ask for other columns than those of some tasks
            found, parts = self._flatten(rows, whole, shards)
        for part in parts:
            whole.rescued |= part.columns.rescued
        tally = Tally.together(part.tally for part in parts)
        self._rows = tally.rows
        return Flattened(
            _Shards(self._context, found, range(shards), EVENT_RULE, limit=limit, tally=tally),
            whole,
            [row for part in parts for row in part.aside],
            sum(part.left_out for part in parts),
        )

    def judge(self, rows: CuratedRows, settings: JobSettings) -> Judged:
        """A ``common.layers.semantic.Staging``."""
        limit = _limit(settings)
        shards = _shards(rows.size, limit)
        sent = self._context.broadcast(sent_as(replace(rows, tasks=())))

        def work(tasks: Sequence[FileScanTask]) -> Iterator[Keyed]:
            return judge_part(received(sent.value), shards, tasks)

        found, parts = self._shuffled(rows.tasks, work, 2 * shards, JudgedPart)
        nulled: Counter[tuple[str, str]] = Counter()
        for part in parts:
            nulled.update(part.nulled)
        good = _Shards(
            self._context,
            found,
            range(shards),
            SOURCE_RULE,
            limit=limit,
            tally=Tally.together(p.good for p in parts),
        )
        tally = Tally.together(p.refused for p in parts)
        self._rows = sum(p.rows for p in parts)
        bad = _Shards(self._context, found, range(shards, 2 * shards), SOURCE_RULE, limit=limit, tally=tally)
        refused: RemoteSource | StagedSource = bad
        if tally.size <= limit:
            # Quarantine has no buckets: every shard would look for its keys in all files.
            refused = StagedSource.of(bad.batches(), SOURCE_RULE, settings.memory_budget_mb)
        return Judged(good, refused, sum(p.rows for p in parts), sum(p.set_aside for p in parts), nulled)

    def _flatten(
        self, rows: RawRows, columns: Columns, shards: int
    ) -> tuple["RDD[Keyed]", list[FlattenedPart]]:
        sent = self._context.broadcast(sent_as((replace(rows, tasks=()), columns)))

        def work(tasks: Sequence[FileScanTask]) -> Iterator[Keyed]:
            all_rows, begun = received(sent.value)
            return flatten_part(all_rows, begun, shards, tasks)

        return self._shuffled(rows.tasks, work, shards, FlattenedPart)

    def _shuffled(
        self,
        tasks: Sequence[FileScanTask],
        work: Callable[[Sequence[FileScanTask]], Iterator[Keyed]],
        notes: int,
        kind: type[_T],
    ) -> tuple["RDD[Keyed]", list[_T]]:
        """The work of all parts, shuffled to its places, and the notes, in the order of the parts."""
        parts = in_parts(tasks, _PARTS_A_CORE * self._context.defaultParallelism, _PART_BYTES)
        numbered = self._context.parallelize(list(enumerate(parts)), max(1, len(parts)))

        def each(of: Iterable[tuple[int, Sequence[FileScanTask]]]) -> Iterator[tuple[int, Any]]:
            for number, files in of:
                for place, content in work(files):
                    yield place, (number, content)

        found = numbered.mapPartitions(each).partitionBy(notes + 1, int)
        answers = _run(self._context, found, lambda keyed: (content for _, content in keyed), [notes])
        return found, [_answer(received(note), kind) for _, note in sorted(answers, key=itemgetter(0))]


class _Shards(RemoteSource):
    """Rows that the shuffle holds, at ``places``."""

    def __init__(
        self,
        context: SparkContext,
        found: "RDD[Any]",
        places: range,
        rule: MergeRule,
        *,
        limit: int,
        tally: Tally,
    ) -> None:
        super().__init__(rule, limit, tally.rows, tally.schema, tally.wrong)
        self._context, self._found, self._places = context, found, places

    def write(self, work: ShardWork, live: LiveFiles) -> list[ShardDone]:
        """All shards, planned and written in tasks."""
        sent = self._context.broadcast(sent_as((work, self.schema)))
        near = [sent_as(files) for files in work.near(live, len(self._places))]
        files = self._context.broadcast(near)
        first = self._places.start

        def write(keyed: Iterable[tuple[int, tuple[int, bytes]]]) -> Iterator[ShardDone | Failed]:
            task: Any = TaskContext.get()  # there is one in a task
            shard = task.partitionId() - first
            streams = [content for _, (_, content) in sorted(keyed, key=_part)]
            if streams:
                shard_work, schema = received(sent.value)
                own = received(files.value[shard % len(files.value)])
                attempt = f"{shard:04d}-{task.taskAttemptId()}"
                yield write_shard(shard_work, own, schema, attempt, streams)

        answers = _run(self._context, self._found, write, self._places)
        for broadcast in (sent, files):
            broadcast.unpersist()
        return [_answer(answer, ShardDone) for answer in answers]

    def shards(self) -> Iterator[pa.Table]:
        """Keys and order, as ``RemoteSource`` says: few bytes a row, so that all come at once."""
        names = list(self.rule.columns)
        if self.rows:
            yield together(self._streams(names), pa.schema([self.schema.field(n) for n in names]))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, all at once: for who knows that they are few."""
        if self.rows:
            yield from together(self._streams(None), self.schema).to_batches()

    def close(self) -> None:
        """Spark gives up what it shuffled when nothing refers to it."""

    def _streams(self, names: Sequence[str] | None) -> list[bytes]:
        def read(keyed: Iterable[tuple[int, tuple[int, bytes]]]) -> Iterable[bytes]:
            streams = [content for _, (_, content) in sorted(keyed, key=_part)]
            return streams if names is None else only_columns(streams, names)

        return _run(self._context, self._found, read, self._places)


def _part(keyed: tuple[int, tuple[int, bytes]]) -> int:
    """The number of the part of the source that a stream is of."""
    return keyed[1][0]


def _run(
    context: SparkContext,
    rdd: "RDD[Any]",
    work: Callable[[Iterable[Any]], Iterable[_T]],
    places: Sequence[int],
) -> list[_T]:
    """Collect what ``work`` makes of these partitions; raises ServiceFailure where Spark gave up on one."""
    try:
        return list(context.runJob(rdd, work, list(places)))
    except Py4JError as error:
        _let_tasks_end(context)
        raise ServiceFailure(
            f"Spark: expected every task to end within its tries, found {_told(error)}; nothing was "
            "committed, and the next run begins at the same checkpoint"
        ) from None


def _let_tasks_end(context: SparkContext) -> None:
    """Wait for the tasks of a job that was given up: Spark tells of its end at once, and they write on until
    it has killed them. What one writes after that wait is over is upkeep's, by its age.
    """
    tracker = context.statusTracker()
    until = outside.monotonic() + _ENDING_S
    with contextlib.suppress(Py4JError):  # no answer: the context is gone, and its tasks with it
        while outside.monotonic() < until:
            jobs = [job for number in tracker.getJobIdsForGroup() if (job := tracker.getJobInfo(number))]
            stages = {stage for job in jobs for stage in job.stageIds}
            found = [info for stage in stages if (info := tracker.getStageInfo(stage))]
            # A stage counts as active until Spark's listener knows of its end, and so of all its tasks.
            if not tracker.getActiveStageIds() and not any(info.numActiveTasks for info in found):
                return
            outside.sleep(_LOOK_S)


def _told(error: Py4JError) -> str:
    """What Spark says, in one line: the rest is a trace."""
    message = str(getattr(error, "java_exception", None) or error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    last = [line for line in lines if line.startswith("common.runtime.errors.")][-1:]
    return " ".join([*lines[:1], *last])[:600]


def _answer(found: object, kind: type[_T]) -> _T:
    if isinstance(found, Failed):
        raise found.error
    if not isinstance(found, kind):
        raise InternalFault(
            f"Spark: expected tasks to answer {kind.__name__}, found {type(found).__name__}; the code that "
            "the executors run is another than the driver's: deploy both from one build"
        )
    return found


def _limit(settings: JobSettings) -> int:
    return settings.memory_budget_mb * 2**20 // _SHARE


def _shards(size: int, limit: int) -> int:
    return BUCKETS * max(1, math.ceil(size / (BUCKETS * limit)))
