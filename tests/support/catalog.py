"""Iceberg's catalog on SQLite without what takes long in it: half the time of a small test was this."""

import os
import sqlite3
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import EMPTY_DICT, Identifier
from sqlalchemy.event import listen

from common.lake.times import InOrder

# What a process that is killed leaves behind is in the operating system's hands, not on a disk.
_UNSYNCED: Final = ("synchronous=OFF", "journal_mode=MEMORY")
_TABLE: Final = "catalog_name = ? AND table_namespace = ? AND table_name = ?"
_FOUND: Final = f"SELECT metadata_location FROM iceberg_tables WHERE {_TABLE}"  # noqa: S608 - constants
_MOVED: Final = (
    "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "  # noqa: S608 - likewise
    f"WHERE {_TABLE} AND metadata_location = ?"
)
_NAMESPACE: Final = "SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ?"


class LocalCatalog(InOrder, SqlCatalog):
    """A catalog of tables in a folder; another one on the same folder is another process's.

    Tables are found and moved on as SqlCatalog does it, by the same statements, which are not built anew from
    objects each time, nor go through a pool of connections. Metadata is parsed once for all who load it:
    Iceberg never writes a metadata file again, and one that a test has damaged is another file by its time
    and size. What reads files is kept by what it was made of.
    """

    def __init__(self, folder: Path, name: str = "test", warehouse: Path | None = None) -> None:
        files = warehouse or folder / "warehouse"
        super().__init__(name, uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{files}")
        for pragma in _UNSYNCED:
            listen(self.engine, "connect", lambda made, _, pragma=pragma: made.execute(f"PRAGMA {pragma}"))
        # Each statement by itself, and one at a time.
        self._direct = sqlite3.connect(
            folder / "catalog.db", timeout=60, isolation_level=None, check_same_thread=False
        )
        for pragma in _UNSYNCED:
            self._direct.execute(f"PRAGMA {pragma}")
        self._one_at_a_time = threading.Lock()
        self._ios: dict[frozenset[tuple[str, Any]], FileIO] = {}

    def close(self) -> None:
        """Give up the connections."""
        self._direct.close()
        super().close()

    def _load_file_io(self, properties: Any = EMPTY_DICT, location: str | None = None) -> FileIO:
        key = frozenset([*properties.items(), ("", (location or "").partition(":")[0])])
        if key not in self._ios:
            self._ios[key] = super()._load_file_io(properties, location)
        return self._ios[key]

    def load_table(self, identifier: str | Identifier) -> Table:
        """The table as its metadata says now."""
        namespace, name = _parts(identifier)
        with self._one_at_a_time:
            row = self._direct.execute(_FOUND, (self.name, namespace, name)).fetchone()
        if row is None:
            raise NoSuchTableError(f"Table does not exist: {namespace}.{name}")
        (place,) = row
        metadata = self._metadata(place)
        io = self._load_file_io(metadata.properties, place)
        return Table((*namespace.split("."), name), metadata, place, io, self)

    def namespace_exists(self, namespace: str | Identifier) -> bool:
        """Whether the namespace, or one in it, is there."""
        asked = Catalog.namespace_to_string(Catalog.identifier_to_tuple(namespace))
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql(_NAMESPACE, (self.name, asked)).first()
        return found is not None or super().namespace_exists(namespace)

    def commit_table(
        self, table: Table, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> CommitTableResponse:
        """Move the table on; raises CommitFailedException where somebody else did so meanwhile."""
        namespace, name = _parts(table.name())
        current = self.load_table(table.name())
        staged = self._update_and_stage_table(current, table.name(), requirements, updates)
        if staged.metadata == current.metadata:
            return CommitTableResponse(metadata=current.metadata, metadata_location=current.metadata_location)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        where = (self.name, namespace, name, current.metadata_location)
        moves = (staged.metadata_location, current.metadata_location, *where)
        with self._one_at_a_time:
            moved = self._direct.execute(_MOVED, moves).rowcount
        if moved < 1:
            raise CommitFailedException(f"table {namespace}.{name}: another was first")
        self._committed(staged.metadata_location, staged.metadata)
        return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)

    def _metadata(self, place: str) -> TableMetadata:
        """What a metadata file says."""
        return metadata_of(place)

    def _committed(self, place: str, metadata: TableMetadata) -> None:
        """A table's metadata was written there, and is the table's now."""


def _parts(identifier: str | Identifier) -> tuple[str, str]:
    *namespace, name = Catalog.identifier_to_tuple(identifier)
    return ".".join(namespace), name


def metadata_of(place: str) -> TableMetadata:
    """What a metadata file says, parsed once."""
    found = os.stat(place.removeprefix("file://"))  # noqa: PTH116 - of every load; a Path takes longer
    return _parsed(place, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=256)
def _parsed(place: str, _inode: int, _written: int, _size: int) -> TableMetadata:
    return FromInputFile.table_metadata(load_file_io(location=place).new_input(place))
