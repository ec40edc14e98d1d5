"""Keeping the source of a merge, in memory or on disk, so that a lost commit can be planned again.

A source within the memory budget stays in memory as one shard. A larger one goes to disk as Arrow files, cut
by the hash of the key into shards that share no key; each is merged by itself, and all end in one commit.
The cut follows Iceberg's ``bucket`` transform, and shards are read bucket by bucket, so that a table bucketed
by its key has each of its files looked at by few shards.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import StringType

SHARDS = 64
"""Shards on disk: a multiple of the 16 buckets that the table specifications use."""

_BUCKETS = 16
_SHARE = 4
"""Share of the budget that staged rows may take; sorting, encoding and writing them need the rest."""


class StagedSource:
    """All rows of a source, in shards that share no key. Used as a context: leaving it removes the files.

    ``limit``: bytes that it holds in memory at most, and that whoever works on a shard may take at a time.
    """

    def __init__(self, schema: pa.Schema, key: str, memory_budget_mb: int) -> None:
        self.columns = schema
        self.rows = 0
        self._key = key
        self.limit: Final = memory_budget_mb * 2**20 // _SHARE
        self._memory: list[pa.RecordBatch] = []
        self._bytes = 0
        self._spill: _Spill | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove what is on disk."""
        if self._spill is not None:
            self._spill.remove()

    @property
    def spilled(self) -> bool:
        """Whether the source was too large for its share of the memory budget."""
        return self._spill is not None

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep one more batch."""
        self.rows += batch.num_rows
        if self._spill is not None:
            self._spill.write(batch)
            return
        self._memory.append(batch)
        self._bytes += batch.nbytes
        if self._bytes > self.limit:
            self._spill = _Spill(self.columns, self._key)
            for kept in self._memory:
                self._spill.write(kept)
            self._memory = []

    def complete(self) -> None:
        """No more batches come."""
        if self._spill is not None:
            self._spill.close()
        else:
            whole = pa.Table.from_batches(self._memory, self.columns)
            self._memory = whole.combine_chunks().to_batches()

    def shards(self) -> Iterator[pa.Table]:
        """The rows, every key in one shard only; can be called again."""
        if self._spill is not None:
            yield from self._spill.shards(self.limit)
        elif self.rows:
            yield pa.Table.from_batches(self._memory, self.columns)


class _Spill:
    """Arrow files on disk, one a shard."""

    def __init__(self, schema: pa.Schema, key: str) -> None:
        self._schema = schema
        self._key = key
        self._directory = Path(tempfile.mkdtemp(prefix="merge-"))
        self._bytes = [0] * SHARDS
        self._paths = [self._directory / f"{number:02d}.arrow" for number in range(SHARDS)]
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writers = [pa.ipc.new_stream(str(p), schema, options=options) for p in self._paths]

    def write(self, batch: pa.RecordBatch) -> None:
        keys = batch.column(self._key).cast(pa.string())
        shard = BucketTransform(SHARDS).pyarrow_transform(StringType())(keys).to_numpy()
        order = np.argsort(shard, kind="stable")
        ordered = batch.take(order)
        bounds = np.searchsorted(shard[order], np.arange(SHARDS + 1))
        for number in np.unique(shard):
            first, end = int(bounds[number]), int(bounds[number + 1])
            part = ordered.slice(first, end - first)
            self._writers[number].write_batch(part)
            self._bytes[number] += batch.nbytes * (end - first) // batch.num_rows

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def shards(self, limit: int) -> Iterator[pa.Table]:
        """Tables of neighbouring shards, together about ``limit`` bytes at most."""
        group: list[int] = []
        for number in sorted(range(SHARDS), key=lambda n: (n % _BUCKETS, n)):
            if group and sum(self._bytes[n] for n in (*group, number)) > limit:
                yield self._load(group)
                group = []
            group.append(number)
        yield self._load(group)

    def remove(self) -> None:
        self.close()
        shutil.rmtree(self._directory)

    def _load(self, numbers: Iterable[int]) -> pa.Table:
        batches: list[pa.RecordBatch] = []
        for number in numbers:
            with pa.OSFile(str(self._paths[number]), "rb") as file, pa.ipc.open_stream(file) as reader:
                batches.extend(reader)
        return pa.Table.from_batches(batches, self._schema).combine_chunks()
