"""A table's history: its current snapshot and those before it, and what their commits say of themselves.

Whoever asks a table about its past asks here: for its last merge, and for how far that had read its source.
"""

from collections.abc import Iterable, Iterator, Mapping

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import LongType

from common.lake.checkpoints import (
    ERASED_INGESTED,
    MERGE_SEQ,
    MERGE_SEQ_COLUMN,
    NOTHING,
    SOURCE_POSITION,
    SOURCE_SNAPSHOT_ID,
    SOURCE_TOKEN,
    STANDS_FOR,
    START,
    Entry,
)
from common.runtime.errors import TableMismatch

_OF_A_MERGE = (SOURCE_SNAPSHOT_ID, SOURCE_TOKEN, SOURCE_POSITION, MERGE_SEQ)
# So many commits after a merge can expire, and what was recorded of the table after it still counts.
_STOOD_FOR = 100


def lineage(table: Table, start: Snapshot | None = None) -> Iterator[Snapshot]:
    """``start`` (default: the current snapshot) and its ancestors, newest first, as far as they are kept."""
    kept = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}  # pyiceberg searches a list
    snapshot = start or table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else kept.get(parent)


def said_by(snapshot: Snapshot | None) -> Mapping[str, str]:
    """What a commit says of itself, in the summary of its snapshot."""
    return snapshot.summary.additional_properties if snapshot is not None and snapshot.summary else {}


def newest(lineage: Iterable[Snapshot], name: str) -> Snapshot | None:
    """The first snapshot of a lineage whose commit says something under ``name``."""
    return next((snapshot for snapshot in lineage if name in said_by(snapshot)), None)


def last_merge(table: Table, at: int | None = None) -> tuple[Snapshot, int] | None:
    """The newest snapshot that carries a merge sequence, and that number; None before the first merge.

    ``at``: the snapshot to look from, default the current one. Compactions carry the number of the merge
    before them on; snapshots of others (deletes by hand) carry none.
    """
    snapshot = newest(lineage(table, None if at is None else table.snapshot_by_id(at)), MERGE_SEQ)
    if snapshot is not None:
        return snapshot, int(said_by(snapshot)[MERGE_SEQ])
    if MERGE_SEQ in table.properties and (current := table.current_snapshot()) is not None:
        # The merge's own snapshot has expired under later ones; its number is kept as a property.
        return current, int(table.properties[MERGE_SEQ])
    return None


def check_holds(table: Table, snapshot: str) -> None:
    """Raise TableMismatch where the table has gone back behind ``snapshot``, its last when it was looked up.

    What is read on from there would be merged into a table without what lies between, under a checkpoint that
    says it is in it. A snapshot that is no longer kept has expired, or an erasure has made the table forget
    it, unless nothing was ever merged: then it was made anew; or a merge that was counted is not behind the
    current snapshot: then the table may have gone back first. NOTHING: the look-up found none.
    """
    if snapshot == NOTHING:
        return
    back, gone = "that somebody has made an earlier one the current one since", ""
    if table.metadata.snapshot_by_id(int(snapshot)) is None:
        merged = last_merge(table)
        if merged is None:
            gone = "a table into which nothing was ever merged"
        elif merged[1] < int(table.properties.get(MERGE_SEQ, 0)):
            gone = back
    elif not any(str(known.snapshot_id) == snapshot for known in lineage(table)):
        gone = back
    if gone:
        raise TableMismatch(
            f"table {'.'.join(table.name())}: expected what snapshot {snapshot} holds, which this run looked "
            f"up before it began, found {gone}; nothing was committed, and the next run reads on from where "
            "the table is now"
        )


def since_last_merge(lineage: Iterable[Snapshot]) -> list[str]:
    """Ids of the snapshots that hold what the newest merge left, newest first: it, and compactions after it.

    Those that have expired, or that an erasure has made the table forget, are among them. An empty table
    answers NOTHING, its only state.
    """
    ids: list[str] = []
    newest: str | None = None
    for snapshot in lineage:
        number = said_by(snapshot).get(MERGE_SEQ)
        if newest is not None and number != newest:
            break
        newest = newest or number
        ids += [str(snapshot.snapshot_id), *stands_for(snapshot)]
    return list(dict.fromkeys(ids)) or [NOTHING]


def stands_for(snapshot: Snapshot) -> list[str]:
    """Ids of the snapshots that a commit which merges nothing has taken the place of; none for another's."""
    return said_by(snapshot).get(STANDS_FOR, "").split()


def from_lineage(lineage: Iterable[Snapshot]) -> Entry | None:
    """The checkpoint that a table itself carries: the one of its newest merge commit that has one."""
    snapshot = newest(lineage, SOURCE_TOKEN)
    if snapshot is None:
        return None
    summary = said_by(snapshot)
    return Entry(summary[SOURCE_TOKEN], summary[SOURCE_POSITION], str(snapshot.snapshot_id))


def committed(table: Table) -> Entry | None:
    """The checkpoint that a table itself carries: in its history, or else kept beside it.

    Compactions of other writers carry nothing on, and when the merge before them has expired the history
    does not reach it any more (docs/adr/0013).
    """
    found, current = from_lineage(lineage(table)), table.current_snapshot()
    if found is not None or current is None:
        return found
    kept = kept_beside(table)  # reads every manifest
    return Entry(kept[SOURCE_TOKEN], kept[SOURCE_POSITION], str(current.snapshot_id)) if kept else None


def kept_beside(table: Table) -> dict[str, str]:
    """What the table's properties say of its newest merge, as summary entries; empty where it may be untrue.

    Properties do not go back with a rollback. They are true if the table holds rows of the newest merge,
    which statistics of its files tell; every merge writes them.
    """
    kept = {name: table.properties[name] for name in _OF_A_MERGE if name in table.properties}
    if len(kept) < len(_OF_A_MERGE) or kept[SOURCE_TOKEN] == NOTHING:
        return {}
    return kept if _newest_in_files(table) == int(kept[MERGE_SEQ]) else {}


def carried_on(table: Table) -> dict[str, str]:
    """What a commit that merges nothing says of the newest merge, and of how far the source has been read."""
    merged, read = (newest(lineage(table), name) for name in (MERGE_SEQ, SOURCE_TOKEN))
    kept = {name: said_by(read)[name] for name in _OF_A_MERGE if name in said_by(read)} or kept_beside(table)
    if MERGE_SEQ_COLUMN in table.schema().column_names:
        # A run that found nothing to merge has recorded how far it read, by a snapshot that may expire.
        kept = {**kept, STANDS_FOR: " ".join(since_last_merge(lineage(table))[:_STOOD_FOR])}
    # A merge without a checkpoint may be newer.
    return kept if merged is None else {**kept, MERGE_SEQ: said_by(merged)[MERGE_SEQ]}


def kept_without(table: Table) -> dict[str, str]:
    """The checkpoint that a merge without one leaves in the properties: that of the table's own history."""
    entry = committed(table)
    if entry is None:
        return {SOURCE_SNAPSHOT_ID: NOTHING, SOURCE_TOKEN: NOTHING, SOURCE_POSITION: START}
    checkpoint = entry.checkpoint
    return checkpoint.summary() if checkpoint is not None else {}


def erased_by_minute(table: Table) -> dict[int, int]:
    """Rows that erasures took out of RAW lately, by the minute (since 1970) of their ingestion."""
    found: dict[int, int] = {}
    for snapshot in table.snapshots():
        for entry in said_by(snapshot).get(ERASED_INGESTED, "").split():
            minute, _, rows = entry.partition(":")
            found[int(minute)] = found.get(int(minute), 0) + int(rows)
    return found


def _newest_in_files(table: Table) -> int | None:
    """The greatest merge sequence in the statistics of live files; None without."""
    current = table.current_snapshot()
    if current is None or MERGE_SEQ_COLUMN not in table.schema().column_names:
        return None
    field_id = table.schema().find_field(MERGE_SEQ_COLUMN).field_id
    found = [
        int(from_bytes(LongType(), bound))
        for manifest in current.manifests(table.io)
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        if (bound := (entry.data_file.upper_bounds or {}).get(field_id)) is not None
    ]
    return max(found, default=None)
