"""The rows that an engine beside DuckDB gave for a query, all of them: what commands show and write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa


class Rows(Protocol):
    """The rows of one query, whoever gave them. ``columns``: their names, each once."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        ...

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The rows that were not read yet."""
        ...

    def arrow(self) -> pa.RecordBatchReader:
        """The rows that were not read yet, as Arrow batches."""
        ...


@dataclass(frozen=True)
class Fetched:
    """Rows that are here. ``columns``: their names, each once."""

    columns: Sequence[str]
    values: Sequence[tuple[object, ...]]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """All rows."""
        return iter(self.values)

    def arrow(self) -> pa.RecordBatchReader:
        """All rows, with the types that Arrow sees in them."""
        columns = zip(*self.values, strict=True) if self.values else ([] for _ in self.columns)
        arrays = [pa.array(list(column)) for column in columns]
        return pa.Table.from_arrays(arrays, names=list(self.columns)).to_reader()
