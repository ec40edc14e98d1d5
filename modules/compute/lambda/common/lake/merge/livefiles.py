"""The live files of a snapshot: data files, and the position-delete files that apply to each.

Iceberg table spec, "Scan planning": a position-delete file applies to a data file of the same partition
whose data sequence number is not greater than its own, and where its bounds on ``file_path`` name one single
data file, to that file only.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry, ManifestFile
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from common.runtime.errors import TableMismatch

PATH_FIELD_ID = 2147483546  # reserved field ids of position-delete files, Iceberg table spec
POSITION_FIELD_ID = 2147483545

_Bounds = tuple[bytes, bytes]


@dataclass(frozen=True)
class LiveFile:
    """One live data file with the position-delete files that may hold deletes of its rows."""

    entry: ManifestEntry
    deletes: tuple[ManifestEntry, ...]

    @property
    def file(self) -> DataFile:
        """The data file."""
        return self.entry.data_file

    @property
    def path(self) -> str:
        """Location of the data file, as the manifest spells it."""
        return self.entry.data_file.file_path

    @property
    def delete_paths(self) -> list[str]:
        """Locations of the delete files."""
        return [d.data_file.file_path for d in self.deletes]


@dataclass(frozen=True)
class LiveFiles:
    """What one snapshot is made of. ``manifests`` is the snapshot's manifest list, in order."""

    manifests: tuple[ManifestFile, ...]
    entries: dict[str, tuple[ManifestEntry, ...]]
    files: tuple[LiveFile, ...]

    @cached_property
    def by_partition(self) -> dict[Record, list[LiveFile]]:
        """The data files of each partition."""
        found: dict[Record, list[LiveFile]] = defaultdict(list)
        for file in self.files:
            found[file.file.partition].append(file)
        return dict(found)

    @property
    def listed(self) -> list[DataFile]:
        """All live files, of data and of deletes."""
        return [e.data_file for entries in self.entries.values() for e in entries]

    @property
    def delete_paths(self) -> set[str]:
        """All live delete files, also those that apply to no data file any more."""
        return {f.file_path for f in self.listed if f.content == DataFileContent.POSITION_DELETES}

    def needed_deletes(self, without: Collection[str]) -> set[str]:
        """Paths of the delete files that apply to a data file whose path is not in ``without``."""
        return {path for f in self.files if f.path not in without for path in f.delete_paths}


def live_files(table: Table, pool: Executor) -> LiveFiles:
    """Read all manifests of the table's current snapshot; an empty table has no files.

    Raises TableMismatch where files are live that this engine cannot merge into: equality deletes, other
    formats than Parquet, or files of another partition spec than the table's current one.
    """
    snapshot = table.current_snapshot()
    if snapshot is None:
        return LiveFiles((), {}, ())
    manifests = tuple(snapshot.manifests(table.io))
    read = pool.map(lambda m: _entries(m, table.io), manifests)
    entries = {m.manifest_path: e for m, e in zip(manifests, read, strict=True)}
    data: list[ManifestEntry] = []
    deletes: list[ManifestEntry] = []
    for entry in (e for of_manifest in entries.values() for e in of_manifest):
        (data if entry.data_file.content == DataFileContent.DATA else deletes).append(entry)
    _check(table, [*data, *deletes])
    return LiveFiles(manifests, entries, tuple(_assign(data, deletes)))


def _entries(manifest: ManifestFile, io: FileIO) -> tuple[ManifestEntry, ...]:
    return tuple(manifest.fetch_manifest_entry(io, discard_deleted=True))


def _check(table: Table, entries: Sequence[ManifestEntry]) -> None:
    name, spec_id = ".".join(table.name()), table.spec().spec_id
    for file in (e.data_file for e in entries):
        if file.content == DataFileContent.EQUALITY_DELETES:
            raise TableMismatch(
                f"table {name}: expected position deletes only, found equality deletes in {file.file_path}; "
                "compact the table with the engine that wrote them, then run again"
            )
        if file.file_format != "PARQUET":
            raise TableMismatch(
                f"table {name}: expected Parquet files only, found {file.file_format} in {file.file_path}; "
                "rewrite the table's files as Parquet, then run again"
            )
        if file.spec_id != spec_id:
            raise TableMismatch(
                f"table {name}: expected all files in partition spec {spec_id}, found {file.file_path} in "
                f"spec {file.spec_id}; rewrite the table's files into its current spec, then run again"
            )


def _assign(data: list[ManifestEntry], deletes: list[ManifestEntry]) -> list[LiveFile]:
    by_partition: dict[object, list[tuple[ManifestEntry, _Bounds]]] = defaultdict(list)
    for entry in deletes:
        by_partition[entry.data_file.partition].append((entry, _paths_between(entry.data_file)))
    found = []
    for entry in data:
        file = entry.data_file
        candidates = by_partition.get(file.partition, ()) if by_partition else ()
        path = file.file_path.encode()
        applying = tuple(
            delete
            for delete, (least, most) in candidates
            if _sequence(delete) >= _sequence(entry) and least <= path and path[: len(most)] <= most
        )
        found.append(LiveFile(entry, applying))
    return found


def _paths_between(delete: DataFile) -> _Bounds:
    """Between which paths the data files lie that a delete file speaks of, by its bounds.

    A writer may cut bounds off, also without making the upper one greater: it is compared as far as it goes.
    Without bounds nothing is ruled out.
    """
    lower = (delete.lower_bounds or {}).get(PATH_FIELD_ID)
    upper = (delete.upper_bounds or {}).get(PATH_FIELD_ID)
    return lower or b"", upper or b""


def _sequence(entry: ManifestEntry) -> int:
    return entry.sequence_number if entry.sequence_number is not None else 0
