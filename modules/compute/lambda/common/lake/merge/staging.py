"""The source of a merge, kept while its columns become known, and so that a lost commit can be planned again.

Flattening learns the columns of a portion only while reading it, and a merge wants to know them before the
first row. A source within its share of the memory budget stays in memory as one shard. A larger one goes to
disk, each row once, cut by the hash of its key into shards that share no key; each is merged by itself, and
all end in one commit. The cut follows Iceberg's ``bucket`` transform, and shards are read bucket by bucket,
so that a table bucketed by its key has each of its files looked at by few shards.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import StringType

from common.lake.merge.reading import TEXT_BYTES
from common.lake.rule import MergeRule
from common.runtime.arrowtypes import is_text
from common.runtime.errors import InvalidInput

KEY_LENGTH_LIMIT = 256
"""Greatest length of a key in characters (the event contract)."""

SHARDS = 64
"""Shards on disk: a multiple of the 16 buckets that the table specifications use."""

_BUCKETS = 16
_SHARE = 4
"""Share of the budget that staged rows may take; sorting, encoding and writing them need the rest."""


class StagedSource:
    """Rows to merge by a rule. Used as a context: leaving it gives up the rows and removes the files.

    ``schema``: all columns seen so far, in order of first appearance. ``limit``: bytes that it holds in
    memory at most, and that whoever works on a shard may take at a time.
    """

    def __init__(self, rule: MergeRule, memory_budget_mb: int) -> None:
        self.rule = rule
        self.rows = 0
        self.schema = pa.schema([])
        self.limit: Final = memory_budget_mb * 2**20 // _SHARE
        self._memory: list[pa.RecordBatch] = []
        self._bytes = 0
        self._disk: _Disk | None = None
        self._wrong_key: str | None = None

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch], rule: MergeRule, memory_budget_mb: int) -> Self:
        """A source of these rows."""
        staged = cls(rule, memory_budget_mb)
        try:
            staged.write_all(batches)
        except BaseException:
            staged.close()
            raise
        return staged

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the rows, in memory and on disk."""
        self._memory = []
        if self._disk is not None:
            self._disk.remove()

    @property
    def spilled(self) -> bool:
        """Whether the source was too large for its share of the memory budget."""
        return self._disk is not None

    def write(self, batch: pa.RecordBatch) -> None:
        """Keep a batch. A column keeps the type it first had, and is null in rows that come without it.

        Raises InvalidInput for a batch without its key or its order.
        """
        self._check(batch)
        known = set(self.schema.names)
        new = [field for field in batch.schema if field.name not in known]
        self.schema = pa.schema([*self.schema, *new]) if new else self.schema
        self.rows += batch.num_rows
        if self._disk is not None:
            self._disk.write(with_columns_of(batch, self.schema))
            return
        self._memory.append(batch)
        self._bytes += _bytes_but_nulls(batch)
        if self._bytes + self.rows * len(self.schema) * TEXT_BYTES > self.limit:
            self._disk = _Disk(self.rule.key)
            for kept in self._memory:
                self._disk.write(with_columns_of(kept, self.schema))
            self._memory = []

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Keep batches one after the other."""
        for batch in batches:
            self.write(batch)

    def check_keys(self, table: str) -> None:
        """Raise InvalidInput where a row that was written has a null, empty or too long key."""
        refuse_wrong_key(table, self.rule, self._wrong_key)

    def shards(self) -> Iterator[pa.Table]:
        """The rows, every key in one shard only; can be called again. Write nothing after calling it."""
        if self._disk is not None:
            yield from self._disk.shards(self.schema, self.limit)
        elif self.rows:
            whole = pa.Table.from_batches(
                [with_columns_of(b, self.schema) for b in self._memory], self.schema
            )
            self._memory = whole.combine_chunks().to_batches()
            del whole
            yield pa.Table.from_batches(self._memory, self.schema)

    def _check(self, batch: pa.RecordBatch) -> None:
        self._wrong_key = self._wrong_key or wrong_key(batch, self.rule, self.rows)


def wrong_key(batch: pa.RecordBatch, rule: MergeRule, first: int) -> str | None:
    """What is wrong with the first key that is null, empty or too long, None where none is.

    ``first``: the number of the batch's first row. Raises InvalidInput for a batch without its key or its
    order.
    """
    if missing := [c for c in rule.columns if c not in batch.schema.names]:
        raise InvalidInput(
            f"source of a merge: expected the columns {', '.join(rule.columns)}, found no "
            f"{', '.join(missing)}; the rows of a source carry their key and their order"
        )
    keys: Any = batch.column(rule.key)
    if not is_text(keys.type):
        raise InvalidInput(
            f"source of a merge: expected text in key column {rule.key!r}, found {keys.type}; cast it first"
        )
    lengths = pc.utf8_length(keys).fill_null(0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((lengths < 1) | (lengths > KEY_LENGTH_LIMIT))
    return f"{lengths[wrong[0]]} in source row {first + int(wrong[0])}" if len(wrong) else None


def refuse_wrong_key(table: str, rule: MergeRule, wrong: str | None) -> None:
    """Raise InvalidInput where a key is wrong (``wrong_key``)."""
    if wrong is not None:
        raise InvalidInput(
            f"merge into {table}: expected keys of 1 to {KEY_LENGTH_LIMIT} characters in "
            f"{rule.key!r}, found one of {wrong}; reject such rows first"
        )


def by_shard(batch: pa.RecordBatch, key: str, shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A batch cut by Iceberg's ``bucket`` of its keys: every key in one shard, whoever cuts."""
    keys: Any = batch.column(key)  # one that is null is refused before its shard is read
    text = keys.cast(pa.string()).fill_null("")
    shard = BucketTransform(shards).pyarrow_transform(StringType())(text).to_numpy()
    ordered = batch.take(np.argsort(shard, kind="stable"))
    rows = np.bincount(shard, minlength=shards)
    for number, end in enumerate(np.cumsum(rows).tolist()):
        if rows[number]:
            yield number, ordered.slice(end - rows[number], rows[number])


class _Disk:
    """Files, one a shard: Arrow streams one after the other, a new one wherever columns came in addition."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._folder = tempfile.TemporaryDirectory(prefix="lean-ops-merge-")
        self._paths = [str(Path(self._folder.name) / f"{number:02d}.arrows") for number in range(SHARDS)]
        self._files = [pa.OSFile(path, "wb") for path in self._paths]
        self._writers: list[pa.RecordBatchStreamWriter] = []
        self._schema = pa.schema([])
        self._rows = np.zeros(SHARDS, np.int64)
        self._bytes = np.zeros(SHARDS, np.int64)

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.schema != self._schema:
            self._end_streams()
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers = [pa.ipc.new_stream(f, batch.schema, options=options) for f in self._files]
            self._schema = batch.schema
        rows = np.zeros(SHARDS, np.int64)
        for number, part in by_shard(batch, self._key, SHARDS):
            self._writers[number].write_batch(part)
            rows[number] = part.num_rows
        self._rows += rows
        self._bytes += _bytes_but_nulls(batch) * rows // max(1, batch.num_rows)

    def shards(self, schema: pa.Schema, limit: int) -> Iterator[pa.Table]:
        """Tables of neighbouring shards, together about ``limit`` bytes at most."""
        self._close()
        sizes = self._bytes + self._rows * len(schema) * TEXT_BYTES
        group: list[int] = []
        for number in sorted(range(SHARDS), key=lambda n: (n % _BUCKETS, n)):
            if group and sizes[[*group, number]].sum() > limit:
                yield self._load(group, schema)
                group = []
            group.append(number)
        yield self._load(group, schema)

    def remove(self) -> None:
        try:
            self._close()
        finally:
            self._folder.cleanup()

    def _close(self) -> None:
        self._end_streams()
        for file in self._files:
            file.close()

    def _end_streams(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers = []

    def _load(self, numbers: Iterable[int], schema: pa.Schema) -> pa.Table:
        batches = [
            with_columns_of(batch, schema) for number in numbers for batch in _read(self._paths[number])
        ]
        return pa.Table.from_batches(batches, schema).combine_chunks()


def _read(path: str) -> Iterator[pa.RecordBatch]:
    """The batches of all streams in a file."""
    with pa.OSFile(path, "rb") as file:
        while file.tell() < file.size():
            with pa.ipc.open_stream(file) as stream:
                yield from stream


def _bytes_but_nulls(batch: pa.RecordBatch) -> int:
    """What a batch takes in memory beyond what it would take if all its values were null."""
    return batch.nbytes - batch.num_rows * batch.num_columns * TEXT_BYTES


def with_columns_of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly these columns: those that it lacks are null."""
    if batch.schema == schema:
        return batch
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
