"""Reading a table's own data files: columns by field id, as the table's current schema has them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from common.lake.files import RangedFile
from common.lake.merge.layout import bytes_to_the_end
from common.lake.merge.streams import open_input
from common.lake.merge.target import Target
from common.runtime.arrowtypes import Column
from common.runtime.errors import TableMismatch

_FIELD_ID = b"PARQUET:field_id"

STEP_BYTES = 8 * 2**20
"""What one step of decoding a file takes in memory, as far as the file's metadata tells."""

PIECE_BYTES = 64 * 2**20
"""What is put together of steps before it is written as a row group."""

LEAST_STEP_ROWS = 64
"""A message is at most 1 MiB, so that so many rows are bounded whatever the metadata tells."""

MOST_STEP_ROWS = 8192
"""More rows a step gain nothing."""

SHARED_OUT_BYTES = 2**20
"""A row group of more bytes, uncompressed, is decoded by several threads.

Of one with 25 columns and 20 rows, handing columns over to threads takes as long as all else of reading it.
"""

TEXT_BYTES = 5
"""What a text takes in Arrow beside its characters, and a null too: where it ends, whether it is there."""

_FIXED_BYTES = 8  # a number or a time


class StoredFile:
    """One data file, open for reading. Used as a context.

    ``first``: columns that are read first, which come with one request where they lie last (``layout``).
    """

    def __init__(self, target: Target, file: DataFile, first: Sequence[str] = ()) -> None:
        self._target = target
        self._path = file.file_path
        last = bytes_to_the_end(file, target.field_ids, first) if first else None
        self._stream = open_input(target.table.io, file.file_path, file.file_size_in_bytes, last)
        # What is in memory, or a RangedFile fetches, is at hand; reading ahead would run in Arrow's threads.
        ahead = not isinstance(self._stream, RangedFile | pa.BufferReader)
        self._parquet = pq.ParquetFile(self._stream, pre_buffer=ahead)
        self._names = _names_by_id(target, self._parquet.schema_arrow)
        ends = np.cumsum([self._parquet.metadata.row_group(i).num_rows for i in self._groups()])
        self._ends: npt.NDArray[np.int64] = ends.astype(np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is open."""
        self._stream.close()

    @property
    def rows_total(self) -> int:
        """How many rows the file has, deleted ones included."""
        return int(self._parquet.metadata.num_rows)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Whole columns."""
        columns = [self._required(name) for name in names]
        with self._fetched(self._groups(), columns):
            return self._typed(self._parquet.read(columns, use_threads=False), names)

    def rows(self, names: Sequence[str], positions: npt.NDArray[np.int64]) -> pa.Table:
        """Columns at ascending ``positions``, reading only the row groups they are in."""
        group_of = np.searchsorted(self._ends, positions, side="right")
        groups = np.unique(group_of)
        starts = np.append(0, self._ends[:-1])
        lengths = (self._ends - starts)[groups]
        moved = np.append(0, np.cumsum(lengths)[:-1]) - starts[groups]
        within = positions + moved[np.searchsorted(groups, group_of)]
        columns = [self._required(name) for name in names]
        with self._fetched(groups.tolist(), columns):
            found = self._parquet.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
        return self._typed(found, names).take(within)

    def steps(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Columns of all rows, null where the file has none, in steps with the position of their first row.

        A step is small in memory by what the file says of itself, see ``rows_at_once``.
        """
        present = [name for name in names if self._target.field_ids[name] in self._names]
        columns = [self._required(name) for name in present]
        first = 0
        for group in self._groups():
            rows = rows_at_once(self._parquet, group)
            large = self._parquet.metadata.row_group(group).total_byte_size > SHARED_OUT_BYTES
            with self._fetched([group], columns):
                for batch in self._parquet.iter_batches(rows, [group], columns, use_threads=large):
                    found = self._typed(pa.Table.from_batches([batch]), present)
                    yield first, self._with_nulls(found, batch.num_rows, names)
                    first += batch.num_rows

    def live_pieces(self, deleted: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
        """What ``live_rows`` gives, in pieces of ``PIECE_BYTES``."""
        names = [f.name for f in self._target.schema.fields if f.field_id in self._names]
        waiting: list[pa.Table] = []
        for first, step in self.steps(names):
            low, high = np.searchsorted(deleted, [first, first + step.num_rows])
            keep = np.ones(step.num_rows, bool)
            keep[deleted[low:high] - first] = False
            waiting.append(step.filter(keep) if high > low else step)
            if sum(t.nbytes for t in waiting) >= PIECE_BYTES:
                yield pa.concat_tables(waiting)
                waiting = []
        if sum(t.num_rows for t in waiting):
            yield pa.concat_tables(waiting)

    def live_rows(self, deleted: npt.NDArray[np.int64]) -> pa.Table:
        """All columns of the target that the file has, without the rows at ``deleted``."""
        names = [f.name for f in self._target.schema.fields if f.field_id in self._names]
        table = self.columns(names)
        keep = np.ones(table.num_rows, bool)
        keep[deleted] = False
        return table.filter(keep) if len(deleted) else table

    def _fetched(self, groups: Iterable[int], columns: Sequence[str]) -> AbstractContextManager[None]:
        """Have columns of row groups at hand, with as few requests as it takes."""
        if not isinstance(self._stream, RangedFile):
            return nullcontext()
        metadata, wanted = self._parquet.metadata, set(columns)
        chunks = (metadata.row_group(g).column(n) for g in groups for n in range(metadata.num_columns))
        return self._stream.fetched(_place(c) for c in chunks if c.path_in_schema.partition(".")[0] in wanted)

    def _groups(self) -> range:
        return range(self._parquet.num_row_groups)

    def _required(self, name: str) -> str:
        """The name that a column of the target has in this file."""
        found = self._names.get(self._target.field_ids[name])
        if found is None:
            raise TableMismatch(
                f"table {self._target.name}: expected column {name} in every data file, found none in "
                f"{self._path}; rewrite that file's partition, then run again"
            )
        return found

    def _typed(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """The columns with the target's names and types.

        Files of an older schema may differ in both, and those of other writers in how Arrow has a type.
        """
        return pa.table({name: self._cast(table[self._required(name)], name) for name in names})

    def _cast(self, column: Column, name: str) -> Column:
        kind = self._target.types[name]
        if column.type == kind:
            return column
        try:
            # Times in nanoseconds lose what Iceberg's microseconds cannot say; everything else stays exact.
            return column.cast(kind, safe=not pa.types.is_timestamp(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableMismatch(
                f"table {self._target.name}, column {name}: expected what Iceberg reads as {kind} in every "
                f"data file, found {column.type} in {self._path}; rewrite that file's partition with the "
                "engine that wrote it, then run again"
            ) from error

    def _with_nulls(self, found: pa.Table, rows: int, names: Sequence[str]) -> pa.Table:
        kinds = self._target.types
        present = set(found.schema.names)
        return pa.table(
            {name: found[name] if name in present else pa.nulls(rows, kinds[name]) for name in names}
        )


def _place(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where a column of a row group begins in the file, and where it ends."""
    begin = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
    return begin, begin + chunk.total_compressed_size


def decoded_size(table: Table, file: DataFile) -> int:
    """What all columns of a data file take in Arrow, in bytes; reads its footer (``decoded_bytes``)."""
    with open_input(table.io, file.file_path, file.file_size_in_bytes) as stream:
        parquet = pq.ParquetFile(stream)
        return sum(decoded_bytes(parquet, group) for group in range(parquet.num_row_groups))


def rows_at_once(parquet: pq.ParquetFile, group: int) -> int:
    """How many rows of a row group to decode in one step, so that a step takes about ``STEP_BYTES``."""
    rows = max(parquet.metadata.row_group(group).num_rows, 1)
    fitting = STEP_BYTES * rows // max(decoded_bytes(parquet, group), 1)
    return max(LEAST_STEP_ROWS, min(MOST_STEP_ROWS, fitting))


def decoded_bytes(parquet: pq.ParquetFile, group: int) -> int:
    """What the columns of a row group take in Arrow, estimated from the file's metadata.

    Of a text its uncompressed size and ``TEXT_BYTES``; where a dictionary stands for it, as much a value as
    the longer one of the two that the statistics name. They name none of more than 4 KiB: then the first
    values are read.
    """
    chunks = parquet.metadata.row_group(group)
    return sum(_decoded_column(parquet, group, chunks.column(n)) for n in range(chunks.num_columns))


def _decoded_column(parquet: pq.ParquetFile, group: int, chunk: pq.ColumnChunkMetaData) -> int:
    size, values, bounds = chunk.total_uncompressed_size, chunk.num_values, chunk.statistics
    if chunk.physical_type != "BYTE_ARRAY":
        return max(size, values * _FIXED_BYTES)
    filled = values - (bounds.null_count or 0) if bounds is not None else values
    if chunk.has_dictionary_page and filled:
        if bounds is not None and bounds.has_min_max:
            longest = max(len(bounds.min_raw or b""), len(bounds.max_raw or b""))  # as text they may be none
        else:
            longest = _first_width(parquet, group, chunk)
        size = max(size, filled * longest)
    return size + values * TEXT_BYTES


def _first_width(parquet: pq.ParquetFile, group: int, chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes a value that a column begins with."""
    first = next(parquet.iter_batches(LEAST_STEP_ROWS, row_groups=[group], columns=[chunk.path_in_schema]))
    column = first.column(0)
    return int(column.nbytes // max(len(column) - column.null_count, 1))


def _names_by_id(target: Target, schema: pa.Schema) -> dict[int, str]:
    """Field id → column name in a file; files without ids, written elsewhere, go by name."""
    by_id = {int(f.metadata[_FIELD_ID]): f.name for f in schema if f.metadata and _FIELD_ID in f.metadata}
    return by_id or {f.field_id: f.name for f in target.schema.fields if f.name in schema.names}
