"""Which partition a row belongs to, computed with Iceberg's own transforms."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.typedef import Record

from common.arrowtypes import Array, Scalar
from common.merge.target import Target


@dataclass(frozen=True)
class PartitionRows:
    """Rows of one partition: positions in the table that was partitioned."""

    partition: Record
    directory: str
    rows: npt.NDArray[np.int64]


def partition_rows(target: Target, table: pa.Table) -> Iterator[PartitionRows]:
    """Group the rows of ``table`` by the target's partition spec; within a partition their order stays.

    ``table`` needs the source columns of the spec. An unpartitioned target is one partition.
    """
    spec = target.table.spec()
    values: list[Array] = []
    group = np.zeros(table.num_rows, dtype=np.int64)
    for field in spec.fields:
        source = target.schema.find_field(field.source_id)
        column = table[source.name].combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        transformed = field.transform.pyarrow_transform(source.field_type)(column)
        encoded = transformed.dictionary_encode(null_encoding="encode")
        values.append(transformed)
        _, group = np.unique(
            group * len(encoded.dictionary) + encoded.indices.to_numpy(), return_inverse=True
        )
    if not table.num_rows:
        return
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    for rows in np.split(order, bounds):
        partition = Record(*(_literal(column[int(rows[0])]) for column in values))
        directory = spec.partition_to_path(partition, target.schema) if spec.fields else ""
        yield PartitionRows(partition, directory, rows)


def source_columns(target: Target) -> tuple[str, ...]:
    """Names of the columns that the partition spec reads."""
    fields = [target.schema.find_field(f.source_id) for f in target.table.spec().fields]
    return tuple(dict.fromkeys(f.name for f in fields))


def _literal(value: Scalar) -> object:
    """A partition value the way manifests store it: dates as days since 1970-01-01."""
    if pa.types.is_date(value.type) or pa.types.is_timestamp(value.type):
        return value.cast(pa.int32() if pa.types.is_date32(value.type) else pa.int64()).as_py()
    return value.as_py()
