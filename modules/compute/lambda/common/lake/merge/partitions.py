"""Which partition a row belongs to, computed with Iceberg's own transforms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.typedef import Record

from common.lake.merge.source import conform
from common.lake.merge.target import Target
from common.runtime.arrowtypes import Array, Scalar

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SourceRows:
    """Some rows of a table, by place."""

    table: pa.Table
    rows: Places

    def sorted_by(self, column: str) -> Places:
        """Places of these rows in ascending order of one column."""
        order = pc.sort_indices(self.table[column].take(self.rows))
        places: Places = self.rows[order.to_numpy()]
        return places


def sorted_pieces(sources: Sequence[SourceRows], key: str, target: Target, merge_seq: int) -> list[pa.Table]:
    """The rows of each source in ascending order of ``key``, as the target has them.

    Neighbours with a common table are taken from it at once: a take costs as much for its columns as for a
    hundred rows.
    """
    pieces: list[pa.Table] = []
    for _, group in groupby(sources, key=lambda source: id(source.table)):
        neighbours = list(group)
        places = [source.sorted_by(key) for source in neighbours]
        rows = conform(neighbours[0].table.take(np.concatenate(places)), target, merge_seq)
        ends = np.cumsum([len(p) for p in places]).tolist()
        pieces += [rows.slice(end - len(p), len(p)) for p, end in zip(places, ends, strict=True)]
    return pieces


def partition_rows(target: Target, table: pa.Table) -> Iterator[tuple[Record, Places]]:
    """Group the rows of ``table`` by the target's partition spec; within a partition their order stays.

    ``table`` has the target's columns. An unpartitioned target is one partition.
    """
    values: list[Array] = []
    group = np.zeros(table.num_rows, dtype=np.int64)
    for field in target.table.spec().fields:
        source = target.schema.find_field(field.source_id)
        column = table[source.name].combine_chunks()
        transformed = field.transform.pyarrow_transform(source.field_type)(column)
        encoded = transformed.dictionary_encode(null_encoding="encode")
        values.append(transformed)
        codes = group * len(encoded.dictionary) + encoded.indices.to_numpy()
        _, group = np.unique(codes, return_inverse=True)
    if not table.num_rows:
        return
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        yield Record(*(_literal(column[int(rows[0])]) for column in values)), rows


def source_columns(target: Target) -> tuple[str, ...]:
    """Names of the columns that the partition spec reads."""
    fields = [target.schema.find_field(f.source_id) for f in target.table.spec().fields]
    return tuple(dict.fromkeys(f.name for f in fields))


def _literal(value: Scalar) -> object:
    """A partition value the way manifests store it: dates as days since 1970-01-01."""
    if pa.types.is_date(value.type):
        return value.cast(pa.int32()).as_py()
    return value.as_py()
