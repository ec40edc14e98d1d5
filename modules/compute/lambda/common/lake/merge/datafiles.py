"""Writing data files: one partition a file, sorted by key, with statistics and Bloom filters.

The columns that decide lie last (``layout``).

pyiceberg writes no Bloom filters (it warns "not implemented" on their table properties); pyarrow does. So the
files are written with pyarrow here, after the same table properties that other engines read.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from common.lake.merge.bounds import correct_pyiceberg
from common.lake.merge.layout import ENDING, ROW_GROUP_ROWS, in_file
from common.lake.merge.streams import open_output
from common.lake.merge.target import Target
from common.lake.rule import MergeRule

_BLOOM_ENABLED = "write.parquet.bloom-filter-enabled.column."
_BLOOM_FPP = "write.parquet.bloom-filter-fpp.column."
_DEFAULT_FPP = "0.01"
_BLOOM_MAX_BYTES = "write.parquet.bloom-filter-max-bytes"
_DEFAULT_BLOOM_MAX_BYTES = 2**20  # Iceberg's own default
_CODEC = "write.parquet.compression-codec"
_DEFAULT_CODEC = "zstd"
_TARGET_SIZE = "write.target-file-size-bytes"
_DEFAULT_TARGET_SIZE = 512 * 2**20


DICTIONARY_ROWS = 2048
"""Files of fewer rows have no dictionaries: zstd finds the repeats, and every dictionary is a page of its own
to compress. Measured: a file of 200 rows takes a fifth less time without."""

_PAGE_BYTES = 2**20
_PAGE_ROWS = 1024  # Arrow's default
_SHRINKAGE = 3  # Arrow bytes a Parquet byte: measured on text-heavy rows, docs/benchmarks.md


class DataFileWriter:
    """Writes the data files of one merge attempt into the target table."""

    def __init__(self, target: Target, rule: MergeRule) -> None:
        correct_pyiceberg()
        self._target = target
        # What tells events apart hardly repeats in a file: a dictionary of it costs and gains nothing.
        distinct = rule.columns if rule.message is not None else (rule.key,)
        self._names = in_file(target.arrow_schema.names)
        self._schema = pa.schema([target.arrow_schema.field(name) for name in self._names])
        self._dictionary: Any = [name for name in target.arrow_schema.names if name not in distinct]
        self._statistics_plan = compute_statistics_plan(target.schema, dict(target.properties))
        self._paths_to_ids = parquet_path_to_id_mapping(target.schema)
        self._codec: Any = target.properties.get(_CODEC, _DEFAULT_CODEC)
        self._target_size = int(target.properties.get(_TARGET_SIZE, _DEFAULT_TARGET_SIZE))
        self._bloom = bloom_filter_columns(target.properties, target.arrow_schema.names)
        self._bloom_bytes = int(target.properties.get(_BLOOM_MAX_BYTES, _DEFAULT_BLOOM_MAX_BYTES))

    def _bloom_options(self, rows: int) -> Any:
        """Filters for the values of a row group, none larger than the table allows; None without filters."""
        values = min(rows, ROW_GROUP_ROWS)
        return {
            column: {"ndv": min(values, most_values(self._bloom_bytes, fpp)), "fpp": fpp}
            for column, fpp in self._bloom.items()
        } or None

    def write_partition(
        self, partition: Record, rows: pa.Table, new_path: Callable[[str, str], str]
    ) -> list[DataFile]:
        """Write the rows of one partition, in the order given: one file, or several of the target size.

        ``new_path(directory, ending)`` names each file.
        """
        directory = self._target.directory(partition)
        per_file = rows_per_file(rows.nbytes, rows.num_rows, self._target_size)
        return [
            self.write(new_path(directory, ENDING), partition, rows.slice(first, per_file))
            for first in range(0, rows.num_rows, per_file)
        ]

    def write(self, path: str, partition: Record, rows: pa.Table, more: Iterable[pa.Table] = ()) -> DataFile:
        """Write ``rows``, and ``more`` piece by piece, to ``path``; all have the target's Arrow schema.

        The name ends in ``layout.ENDING``.
        """
        with open_output(self._target.table.io, path) as stream:
            with pq.ParquetWriter(
                stream,
                self._schema,
                compression=self._codec,
                bloom_filter_options=self._bloom_options(rows.num_rows),
                write_batch_size=_rows_of_a_page(rows),
                use_dictionary=self._dictionary if rows.num_rows >= DICTIONARY_ROWS else False,
                write_page_index=True,
                store_schema=False,
            ) as writer:
                for piece in chain([rows], more):
                    writer.write_table(piece.select(self._names), row_group_size=ROW_GROUP_ROWS)
            size = stream.tell()
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=writer.writer.metadata,
            stats_columns=self._statistics_plan,
            parquet_column_mapping=self._paths_to_ids,
        )
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=path,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=size,
            sort_order_id=None,
            spec_id=self._target.table.spec().spec_id,
            equality_ids=None,
            key_metadata=None,
            **_statistics(statistics),
        )


def most_values(max_bytes: int, fpp: float) -> int:
    """How many different values a Bloom filter of so many bytes holds at this share of false positives.

    Parquet's split-block filter sets eight bits a value, and its size is a power of two (Parquet's
    specification, "Sizing an SBBF").
    """
    largest = 1 << (max(max_bytes, 32).bit_length() - 1)
    return max(1, int(-largest * math.log1p(-(fpp ** (1 / 8)))))


def _rows_of_a_page(rows: pa.Table) -> int:
    """Rows after which the writer looks whether a page is full: a reader decodes whole pages, so no more."""
    return max(1, min(_PAGE_ROWS, _PAGE_BYTES * rows.num_rows // max(rows.nbytes, 1)))


def rows_per_file(arrow_bytes: int, rows: int, target_size: int) -> int:
    """How many rows of this width make a Parquet file of about ``target_size`` bytes, at least one."""
    return max(1, target_size * _SHRINKAGE * max(rows, 1) // max(arrow_bytes, 1))


def bloom_filter_columns(properties: Mapping[str, str], columns: Sequence[str]) -> dict[str, float]:
    """Columns that get a Bloom filter, with the share of false positives the table asks for."""
    return {
        column: float(properties.get(_BLOOM_FPP + column, _DEFAULT_FPP))
        for column in columns
        if properties.get(_BLOOM_ENABLED + column, "false").lower() == "true"
    }


def _statistics(statistics: Any) -> dict[str, Any]:
    serialized: dict[str, Any] = statistics.to_serialized_dict()
    return serialized
