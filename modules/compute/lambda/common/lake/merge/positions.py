"""Position deletes: reading and writing them (Iceberg table spec, "Position Delete Files")."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from common.lake.merge.livefiles import PATH_FIELD_ID, POSITION_FIELD_ID, LiveFile
from common.lake.merge.streams import open_input, open_output
from common.lake.merge.target import Target
from common.runtime.arrowtypes import Field

Positions = npt.NDArray[np.int64]
"""Row numbers inside one data file, from 0, ascending, without repeats."""

_FIELDS: list[Field] = [
    pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": str(PATH_FIELD_ID)}),
    pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": str(POSITION_FIELD_ID)}),
]
# Small files of which a reader takes everything: what would help it to skip is left out.
_FORMAT: Any = {"compression": "zstd", "use_dictionary": False, "store_schema": False}
NO_POSITIONS: Positions = np.zeros(0, dtype=np.int64)


class ExistingDeletes:
    """The position deletes of a snapshot, each delete file read once and only when asked for."""

    def __init__(self, io: FileIO, pool: Executor) -> None:
        self._io = io
        self._pool = pool
        self._read: dict[str, dict[str, Positions]] = {}

    def load(self, files: Iterable[LiveFile]) -> None:
        """Read the delete files that apply to ``files``, many at once."""
        sizes = {d.data_file.file_path: d.data_file.file_size_in_bytes for f in files for d in f.deletes}
        missing = sorted(sizes.keys() - self._read.keys())
        read = self._pool.map(lambda path: read_deletes(self._io, path, sizes[path]), missing)
        for path, rows in zip(missing, read, strict=True):
            self._read[path] = rows

    def of(self, file: LiveFile, more: Mapping[str, Positions] | None = None) -> Positions:
        """Deleted rows of a data file, after ``load``, and those that ``more`` has of it by its path."""
        found = [self._read[path].get(file.path, NO_POSITIONS) for path in file.delete_paths]
        found += [more[file.path]] if more is not None and file.path in more else []
        return np.unique(np.concatenate(found)) if found else NO_POSITIONS


def read_deletes(io: FileIO, path: str, size: int) -> dict[str, Positions]:
    """What a position-delete file of ``size`` bytes says: deleted rows by path of the data file."""
    with open_input(io, path, size) as stream:
        table = pq.read_table(stream, columns=["file_path", "pos"], use_threads=False)
    paths = table["file_path"].to_numpy()
    positions = table["pos"].to_numpy()
    order = np.argsort(paths, kind="stable")
    groups = np.split(order, np.flatnonzero(paths[order][1:] != paths[order][:-1]) + 1)
    return {paths[group[0]]: positions[group] for group in groups if len(group)}


def write_positions(target: Target, partition: Record, rows: Mapping[str, Positions]) -> DataFile:
    """Write one position-delete file for data files of one partition.

    ``rows``: positions to delete by data file path. Rows are sorted by path, then position, as the
    specification demands. Bounds on ``file_path`` let readers see when one single file is meant.
    """
    path = target.new_path(target.directory(partition), "deletes.parquet")
    paths = sorted(rows)
    counts = [len(rows[p]) for p in paths]
    names = pa.array(paths, pa.string()).take(np.repeat(np.arange(len(paths)), counts))
    positions = pa.array(np.concatenate([rows[p] for p in paths]), pa.int64())
    with open_output(target.table.io, path) as stream:
        pq.write_table(pa.table([names, positions], schema=pa.schema(_FIELDS)), stream, **_FORMAT)
        size = stream.tell()
    return DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=partition,
        record_count=sum(counts),
        file_size_in_bytes=size,
        lower_bounds={PATH_FIELD_ID: paths[0].encode()},
        upper_bounds={PATH_FIELD_ID: paths[-1].encode()},
        sort_order_id=None,
        spec_id=target.table.spec().spec_id,
        equality_ids=None,
        key_metadata=None,
    )
