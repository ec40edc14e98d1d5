"""Retention: forgetting old snapshots, and removing the files that nothing refers to any more.

Both may run beside merges and readers. They touch only what nobody can still need, given the ages they are
called with: a snapshot that an incremental reader goes on from stays with all later ones, and a file younger
than the longest commit may still be referred to.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow.fs
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, RemoveSnapshotsUpdate

from common.lake.merge.streams import concurrency, remove_files
from common.lake.specifications import existing, open_table
from common.runtime.errors import CommitConflict, TableMismatch

_ATTEMPTS: Final = 6


@dataclass(frozen=True)
class Orphan:
    """A file that nothing refers to, with its size in bytes."""

    path: str
    size: int


def expire_snapshots(
    catalog: Catalog,
    identifier: str,
    *,
    older_than: datetime,
    keep_last: int = 10,
    still_read: Collection[int] = (),
) -> list[int]:
    """Forget old snapshots; gives their ids. Their files go with the next ``remove_orphans``.

    ``still_read``: snapshots that incremental readers continue from; the oldest of them and all later ones
    stay. Raises TableMissing, and CommitConflict where other writers kept committing first.
    """
    return forget_snapshots(
        catalog, identifier, lambda table: expirable(table, older_than, keep_last, still_read)
    )


def forget_snapshots(catalog: Catalog, identifier: str, choose: Callable[[Table], list[int]]) -> list[int]:
    """Forget the snapshots that ``choose`` names of the table as it is then; gives their ids.

    Raises TableMissing, and CommitConflict where other writers kept committing first.
    """
    for _ in range(_ATTEMPTS):
        table = open_table(catalog, identifier)
        ids = choose(table)
        if not ids:
            return []
        try:
            # pyiceberg's own expiry asks for nothing: beside a rollback it would forget the snapshot that has
            # just become current, and the table with it.
            main = table.current_snapshot()
            catalog.commit_table(
                table,
                (
                    AssertTableUUID(uuid=table.metadata.table_uuid),
                    AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=main.snapshot_id if main else None),
                ),
                (RemoveSnapshotsUpdate(snapshot_ids=ids),),
            )
        except CommitFailedException:
            continue  # somebody committed meanwhile: what may expire is decided anew
        return ids
    raise CommitConflict(
        f"table {identifier}: expected to expire snapshots within {_ATTEMPTS} attempts, found other writers "
        "first every time; nothing is lost, the next maintenance does it"
    )


def expirable(
    table: Table, older_than: datetime, keep_last: int, still_read: Collection[int] = ()
) -> list[int]:
    """Ids of the snapshots of ``table`` that may go, oldest first."""
    refs = {ref.snapshot_id for ref in table.metadata.refs.values()}
    return snapshots_to_expire(table.snapshots(), refs, older_than, keep_last, still_read)


def snapshots_to_expire(
    snapshots: Sequence[Snapshot],
    referenced: Collection[int],
    older_than: datetime,
    keep_last: int,
    still_read: Collection[int],
) -> list[int]:
    """Ids of the snapshots that may go: old enough, not referenced, not among the newest, read by nobody."""
    ordered = sorted(snapshots, key=lambda s: s.sequence_number or 0)
    limit = int(older_than.timestamp() * 1000)
    read = [s.sequence_number or 0 for s in ordered if s.snapshot_id in still_read]
    return [
        s.snapshot_id
        for s in ordered[: len(ordered) - keep_last if keep_last else None]
        if s.timestamp_ms < limit
        and s.snapshot_id not in referenced
        and (not read or (s.sequence_number or 0) < min(read))
    ]


def remove_orphans(
    catalog: Catalog, identifier: str, *, older_than: datetime, also_used_by: Collection[str] = ()
) -> list[Orphan]:
    """Remove files under the table's location that no snapshot and no metadata file refers to.

    ``older_than``: last-modified times; it must lie before the start of the longest write that may still
    commit, so hours, better days, ago. ``also_used_by``: names of tables that keep files in this table's
    location, those of them that are there then (a rebuild in progress). Raises TableMissing, and
    TableMismatch where the store cannot be listed.
    """
    table = open_table(catalog, identifier)
    orphans = find_orphans(table, older_than, also_used_by)
    remove_files(table.io, (orphan.path for orphan in orphans))
    return orphans


def find_orphans(table: Table, older_than: datetime, also_used_by: Collection[str] = ()) -> list[Orphan]:
    """The files that ``remove_orphans`` would remove."""
    if not isinstance(table.io, PyArrowFileIO):
        raise TableMismatch(
            f"table {'.'.join(table.name())}: expected a file store read through PyArrowFileIO, found "
            f"{type(table.io).__name__}; set py-io-impl to pyiceberg.io.pyarrow.PyArrowFileIO"
        )
    scheme, host, root = PyArrowFileIO.parse_location(table.location(), table.io.properties)
    # Listed before the references are read: a file that is committed in between is then not taken for one.
    found = table.io.fs_by_scheme(scheme, host).get_file_info(
        pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=True)
    )
    with ThreadPoolExecutor(concurrency(table.location())) as pool:
        beside = [_referenced_if_there(table.catalog, other, pool) for other in also_used_by]
        # The table itself last: what has come from one beside it meanwhile is in it.
        referenced = referenced_now(table.refresh(), pool).union(*beside)
    needed = {PyArrowFileIO.parse_location(path, table.io.properties)[2] for path in referenced}
    prefix = table.location().removesuffix(root)
    return [
        Orphan(prefix + info.path, info.size)
        for info in found
        if info.type == pyarrow.fs.FileType.File
        and info.path not in needed
        and (info.mtime_ns or 0) < older_than.timestamp() * 1e9
    ]


def _referenced_if_there(catalog: Catalog, identifier: str, pool: Executor) -> set[str]:
    """As ``referenced_files``; of a table that is removed while it is read, or has been, nothing."""
    for found in existing(catalog, [identifier]):
        try:
            return referenced_files(found, pool)
        except FileNotFoundError:
            known = found.metadata.table_uuid
            if any(again.metadata.table_uuid == known for again in existing(catalog, [identifier])):
                raise
            return _referenced_if_there(catalog, identifier, pool)  # another one may be there by now
    return set()


def referenced_now(table: Table, pool: Executor) -> set[str]:
    """As ``referenced_files``, of a table that others work on: what expires meanwhile is not looked for.

    ``table`` is refreshed then. Raises FileNotFoundError where a file is gone that the table still needs.
    """
    while True:
        try:
            return referenced_files(table, pool)
        except FileNotFoundError:
            seen = table.metadata_location
            if table.refresh().metadata_location == seen:
                raise


def referenced_files(table: Table, pool: Executor) -> set[str]:
    """Every file that some snapshot of the table, as it was loaded, or its metadata, refers to."""
    metadata = table.metadata
    paths = {table.metadata_location, *(e.metadata_file for e in metadata.metadata_log)}
    paths |= {s.statistics_path for s in (*metadata.statistics, *metadata.partition_statistics)}
    manifests: dict[str, ManifestFile] = {}
    for snapshot, listed in zip(
        table.snapshots(), pool.map(lambda s: s.manifests(table.io), table.snapshots()), strict=True
    ):
        paths.add(snapshot.manifest_list)
        manifests |= {m.manifest_path: m for m in listed}
    paths |= manifests.keys()
    for entries in pool.map(lambda m: m.fetch_manifest_entry(table.io), manifests.values()):
        paths |= {e.data_file.file_path for e in entries}
    return paths
