"""A spool: record batches whose columns grow, parked on disk until all columns are known.

Flattening learns the columns of a portion only while reading it, and a merge wants to know them before
the first row. Parking the rows costs a compressed copy on local disk and keeps memory flat.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa


class Spool:
    """Write batches, then read them all with one schema; a context manager that removes its files."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lean-ops-spool-")
        self._files: list[Path] = []
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._current: pa.Schema | None = None
        self._fields: dict[str, pa.Field[Any]] = {}
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._folder.cleanup()

    @property
    def schema(self) -> pa.Schema:
        """All columns seen so far, in order of first appearance."""
        return pa.schema(list(self._fields.values()))

    def write(self, batch: pa.RecordBatch) -> None:
        """Park a batch; a column keeps the type it first had."""
        if self._writer is None or batch.schema != self._current:
            self._open(batch.schema)
        assert self._writer is not None  # noqa: S101 - just opened
        self._writer.write_batch(batch)
        self.rows += batch.num_rows

    def write_table(self, table: pa.Table) -> None:
        """Park a table; an empty one still makes its columns known."""
        for batch in table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]:
            self.write(batch)

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Park batches one after the other."""
        for batch in batches:
            self.write(batch)

    def reader(self) -> pa.RecordBatchReader:
        """All batches in the order written, missing columns null. Write nothing after calling it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        schema = self.schema
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for path in self._files:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    yield _widened(batch, schema)

    def _open(self, schema: pa.Schema) -> None:
        if self._writer is not None:
            self._writer.close()
        path = Path(self._folder.name) / f"{len(self._files)}.arrows"
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(str(path), schema, options=options)
        self._files.append(path)
        self._current = schema
        for column in schema:
            self._fields.setdefault(column.name, column)


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        batch.column(field.name) if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
