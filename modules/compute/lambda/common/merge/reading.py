"""Reading a table's own data files: columns by field id, as the table's current schema has them."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import TableMismatch
from common.merge.livefiles import LiveFile
from common.merge.streams import is_local, open_input
from common.merge.target import Target

_FIELD_ID = b"PARQUET:field_id"


class StoredFile:
    """One data file, open for reading. Used as a context."""

    def __init__(self, target: Target, file: LiveFile) -> None:
        self._target = target
        self._path = file.path
        self._stream = open_input(target.table.io, file.path, file.file.file_size_in_bytes)
        self._parquet = pq.ParquetFile(self._stream, pre_buffer=not is_local(file.path))
        self._names = _names_by_id(target, self._parquet.schema_arrow)
        ends = np.cumsum([self._parquet.metadata.row_group(i).num_rows for i in self._groups()])
        self._ends: npt.NDArray[np.int64] = ends.astype(np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()

    @property
    def rows_total(self) -> int:
        """How many rows the file has, deleted ones included."""
        return int(self._parquet.metadata.num_rows)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Whole columns."""
        return self._typed(self._parquet.read([self._required(n) for n in names], use_threads=False), names)

    def rows(self, names: Sequence[str], positions: npt.NDArray[np.int64]) -> pa.Table:
        """Columns at ascending ``positions``, reading only the row groups they are in."""
        group_of = np.searchsorted(self._ends, positions, side="right")
        groups = np.unique(group_of)
        starts = np.append(0, self._ends[:-1])
        lengths = (self._ends - starts)[groups]
        moved = np.append(0, np.cumsum(lengths)[:-1]) - starts[groups]
        within = positions + moved[np.searchsorted(groups, group_of)]
        columns = [self._required(name) for name in names]
        found = self._parquet.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
        return self._typed(found, names).take(within)

    def live_rows(self, deleted: npt.NDArray[np.int64]) -> pa.Table:
        """All columns of the target that the file has, without the rows at ``deleted``."""
        names = [f.name for f in self._target.schema.fields if f.field_id in self._names]
        found = self._parquet.read([self._required(n) for n in names], use_threads=False)
        table = self._typed(found, names)
        keep = np.ones(table.num_rows, bool)
        keep[deleted] = False
        return table.filter(keep) if len(deleted) else table

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
        """The columns with the target's names and types; files of an older schema may differ in both."""
        kinds = self._target.types
        columns = [(n, kinds[n], table[self._required(n)]) for n in names]
        return pa.table({n: c if c.type == kind else c.cast(kind) for n, kind, c in columns})


def _names_by_id(target: Target, schema: pa.Schema) -> dict[int, str]:
    """Field id → column name in a file; files without ids, written elsewhere, go by name."""
    by_id = {int(f.metadata[_FIELD_ID]): f.name for f in schema if f.metadata and _FIELD_ID in f.metadata}
    return by_id or {f.field_id: f.name for f in target.schema.fields if f.name in schema.names}
