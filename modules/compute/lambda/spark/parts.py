"""What tasks do with a part of the source, and what they answer beside rows.

Rows travel as Arrow streams, cut by the hash of their key (``common.lake.merge.by_shard``), so that one
shuffle brings all rows of a key together. What has to be known of all rows before any is written (columns,
rows that are set aside, counts) travels as one note a task to a place of its own.
"""

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
from pyiceberg.table import FileScanTask

from common.lake.merge import (
    LiveFiles,
    ShardDone,
    ShardWork,
    by_shard,
    with_columns_of,
    wrong_key,
)
from common.lake.rule import EVENT_RULE, SOURCE_RULE, MergeRule
from common.lake.setting_aside import SetAside
from common.layers.curated import RawRows
from common.layers.semantic import CuratedRows
from common.payload.columns import Columns
from common.runtime.errors import LeanOpsError, PermanentError
from common.runtime.foreign_errors import sorted_error

Keyed = tuple[int, bytes]
"""A place of the shuffle, and what goes there."""

_STREAM_BYTES: Final = 4 * 2**20
"""What a task holds of a place before it hands it on."""


@dataclass(frozen=True)
class Tally:
    """What a task has cut: rows, their bytes, their columns in order of appearance, the first wrong key."""

    rows: int = 0
    size: int = 0
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    wrong: str | None = None

    @classmethod
    def together(cls, parts: Iterable["Tally"]) -> "Tally":
        """Of many tasks, in their order; a column keeps the type that it first had."""
        whole = cls()
        for part in parts:
            whole = cls(
                whole.rows + part.rows,
                whole.size + part.size,
                _more(whole.schema, part.schema),
                whole.wrong or part.wrong,
            )
        return whole


@dataclass(frozen=True)
class FlattenedPart:
    """The note of a task that flattened: ``columns`` as its rows asked for them (``curated.Flattened``)."""

    tally: Tally
    columns: Columns
    aside: list[SetAside]
    left_out: int


@dataclass(frozen=True)
class JudgedPart:
    """The note of a task that judged (``semantic.Judged``)."""

    good: Tally
    refused: Tally
    rows: int
    set_aside: int
    nulled: Counter[tuple[str, str]]


@dataclass(frozen=True)
class Failed:
    """An error that no further try would change, instead of a note."""

    error: LeanOpsError


def sent_as(value: object) -> bytes:
    """A value on its way between the processes of one job."""
    return pickle.dumps(value)


def received(content: bytes) -> Any:
    """The value, anew at each call; it comes from a process of this job, to which Spark lets no other."""
    return pickle.loads(content)  # noqa: S301  # nosec B301 # see above


def in_parts(tasks: Sequence[FileScanTask], at_least: int, most_bytes: int) -> list[list[FileScanTask]]:
    """Neighbouring files together, in parts of like size, about ``at_least`` of them."""
    total = sum(task.file.file_size_in_bytes for task in tasks)
    size = min(most_bytes, total // max(1, at_least))
    parts: list[list[FileScanTask]] = []
    held = 0
    for task in tasks:
        if not parts or held >= size:
            parts.append([])
            held = 0
        parts[-1].append(task)
        held += task.file.file_size_in_bytes
    return parts


def flatten_part(
    rows: RawRows, columns: Columns, shards: int, tasks: Sequence[FileScanTask]
) -> Iterator[Keyed]:
    """Read and flatten files of RAW. Rows go to places below ``shards``, the note to the next one."""
    rows = replace(rows, tasks=tasks)
    events, aside, cut = rows.events(), list[SetAside](), _Cut(EVENT_RULE, shards, 0)

    def note() -> FlattenedPart:
        return FlattenedPart(cut.tally, columns, aside, events.left_out)

    def cutting() -> Iterator[Keyed]:
        for batch in rows.flattened(events(), columns, aside):
            yield from cut(batch)
        yield from cut.rest()

    yield from _noted(cutting(), note, shards, "flattening rows of RAW")


def judge_part(rows: CuratedRows, shards: int, tasks: Sequence[FileScanTask]) -> Iterator[Keyed]:
    """Read and judge files of Curated. Good rows go to places below ``shards``, refused ones to as many
    more.
    """
    rows = replace(rows, tasks=tasks)
    good, refused = _Cut(SOURCE_RULE, shards, 0), _Cut(SOURCE_RULE, shards, shards)
    nulled: Counter[tuple[str, str]] = Counter()
    count = set_aside = 0

    def note() -> JudgedPart:
        return JudgedPart(good.tally, refused.tally, count, set_aside, nulled)

    def cutting() -> Iterator[Keyed]:
        nonlocal count, set_aside
        for cast, read in rows.judged():
            count += read
            set_aside += cast.set_aside
            nulled.update(cast.nulled)
            for cut, found in ((good, cast.good), (refused, cast.rejected)):
                for batch in found.to_batches():
                    yield from cut(batch)
            del cast
        yield from good.rest()
        yield from refused.rest()

    yield from _noted(cutting(), note, 2 * shards, "judging rows of Curated")


def write_shard(
    work: ShardWork, live: LiveFiles, schema: pa.Schema, attempt: str, streams: Iterable[bytes]
) -> ShardDone | Failed:
    """Plan and write the rows of one shard, all of which have the columns of ``schema`` then."""
    try:
        return work(together(streams, schema), live, attempt)
    except Exception as error:
        return _failed(error, f"merging a shard into {'.'.join(work.table.name)}")


def together(streams: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """The rows of Arrow streams as one table with these columns."""
    batches: list[pa.RecordBatch] = []
    for stream in streams:
        with pa.ipc.open_stream(stream) as reader:
            batches += [with_columns_of(batch, schema) for batch in reader]
    return pa.Table.from_batches(batches, schema).combine_chunks()


def only_columns(streams: Iterable[bytes], names: Sequence[str]) -> Iterator[bytes]:
    """The same rows with some of their columns."""
    for stream in streams:
        with pa.ipc.open_stream(stream) as reader:
            yield _stream([batch.select(names) for batch in reader])


class _Cut:
    """Cuts batches of a source by key, puts what goes to one place together, and counts.

    ``first``: the place of the first shard.
    """

    def __init__(self, rule: MergeRule, shards: int, first: int) -> None:
        self.tally = Tally()
        self._rule, self._shards, self._first = rule, shards, first
        self._held: dict[int, list[pa.RecordBatch]] = {}
        self._sizes: Counter[int] = Counter()

    def __call__(self, batch: pa.RecordBatch) -> Iterator[Keyed]:
        known = self.tally
        self.tally = Tally(
            known.rows + batch.num_rows,
            known.size + batch.nbytes,
            _more(known.schema, batch.schema),
            known.wrong or wrong_key(batch, self._rule, known.rows),
        )
        for number, part in by_shard(batch, self._rule.key, self._shards):
            self._held.setdefault(number, []).append(part)
            self._sizes[number] += part.nbytes
            if self._sizes[number] >= _STREAM_BYTES:
                yield self._hand_on(number)

    def rest(self) -> Iterator[Keyed]:
        """What is held still."""
        for number in list(self._held):
            yield self._hand_on(number)

    def _hand_on(self, number: int) -> Keyed:
        held = self._held.pop(number)
        del self._sizes[number]
        return self._first + number, _stream([with_columns_of(part, self.tally.schema) for part in held])


def _noted(cutting: Iterator[Keyed], note: Callable[[], object], place: int, doing: str) -> Iterator[Keyed]:
    """What is cut, then a note at ``place``: what was found, or why no further try would find more."""
    try:
        yield from cutting
        answer = note()
    except Exception as error:
        answer = _failed(error, doing)
    yield place, sent_as(answer)


def _failed(error: Exception, doing: str) -> Failed:
    """The error as an answer; raises it where another try may succeed, which is Spark's to make."""
    found = sorted_error(error, doing)
    if isinstance(found, PermanentError):
        return Failed(found)
    raise found from None


def _stream(batches: Sequence[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _more(known: pa.Schema, found: pa.Schema) -> pa.Schema:
    names = set(known.names)
    return (
        pa.schema([*known, *(f for f in found if f.name not in names)]) if set(found.names) - names else known
    )
