"""Position deletes: reading and writing them (Iceberg table spec, "Position Delete Files")."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from common.arrowtypes import Field
from common.merge.livefiles import PATH_FIELD_ID, POSITION_FIELD_ID, LiveFile
from common.merge.streams import open_input, open_output
from common.merge.target import Target

Positions = npt.NDArray[np.int64]
"""Row numbers inside one data file, from 0, ascending, without repeats."""

_FIELDS: list[Field] = [
    pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": str(PATH_FIELD_ID)}),
    pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": str(POSITION_FIELD_ID)}),
]


def deleted_positions(io: FileIO, files: Iterable[LiveFile], pool: Executor) -> dict[str, Positions]:
    """Rows of ``files`` that are already deleted, by data file path; files without deletes are left out."""
    wanted = {f.path for f in files if f.deletes}
    paths = sorted({d.data_file.file_path for f in files for d in f.deletes})
    found: dict[str, list[Positions]] = {}
    for table in pool.map(lambda path: _read(io, path), paths):
        for path, positions in _by_path(table):
            if path in wanted:
                found.setdefault(path, []).append(positions)
    return {path: np.unique(np.concatenate(parts)) for path, parts in found.items()}


def write_deletes(target: Target, path: str, partition: Record, rows: Mapping[str, Positions]) -> DataFile:
    """Write one position-delete file at ``path`` for data files of one partition.

    ``rows``: positions to delete by data file path. Rows are sorted by path, then position, as the
    specification demands. Bounds on ``file_path`` let readers see when one single file is meant.
    """
    paths = sorted(rows)
    counts = [len(rows[p]) for p in paths]
    names = pa.array(paths, pa.string()).take(np.repeat(np.arange(len(paths)), counts))
    positions = pa.array(np.concatenate([rows[p] for p in paths]), pa.int64())
    with open_output(target.table.io, path) as stream:
        pq.write_table(pa.table([names, positions], schema=pa.schema(_FIELDS)), stream, compression="zstd")
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


def _read(io: FileIO, path: str) -> pa.Table:
    with open_input(io, path) as stream:
        return pq.read_table(stream, columns=["file_path", "pos"], use_threads=False)


def _by_path(table: pa.Table) -> Iterable[tuple[str, Positions]]:
    paths = table["file_path"].to_numpy()
    positions = table["pos"].to_numpy()
    order = np.argsort(paths, kind="stable")
    for group in np.split(order, np.flatnonzero(paths[order][1:] != paths[order][:-1]) + 1):
        if len(group):
            yield paths[group[0]], positions[group]
