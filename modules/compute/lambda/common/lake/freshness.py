"""How fresh a layer is, from the metadata of its table: no data file is opened.

Two numbers, because a silent device makes data old without anything being wrong:

- *freshness*: how long ago the newest event was ingested that the layer shows;
- *lag*: how long its source has had something that the layer has not read; zero when it has read everything.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.types import LongType

from common.lake.checkpoints import MERGE_SEQ, Entry, SourceCheckpoint
from common.lake.history import lineage, said_by

INGESTED: Final = "ingestion_ts"

_ADDING: Final = frozenset({Operation.APPEND, Operation.OVERWRITE})
_NOW: Final = timedelta(0)


def newest_event(table: Table) -> datetime | None:
    """When the newest event was ingested that the newest commit with rows brought; None for an empty table.

    From the statistics of the data files that this commit added (times are longs of microseconds there): one
    manifest list and its own manifests.
    """
    column = table.schema().find_field(INGESTED).field_id
    for snapshot in lineage(table):
        newest = [
            int(from_bytes(LongType(), bound))
            for manifest in snapshot.manifests(table.io)
            if manifest.added_snapshot_id == snapshot.snapshot_id and manifest.content == ManifestContent.DATA
            for entry in manifest.fetch_manifest_entry(table.io)
            if (bound := (entry.data_file.upper_bounds or {}).get(column)) is not None
        ]
        if newest:
            return datetime.fromtimestamp(max(newest) / 1e6, UTC)
    return None


def raw_lag(raw: Table, checkpoint: Entry | None, now: datetime) -> timedelta:
    """How long RAW has had rows that Curated, which is at ``checkpoint``, has not read."""
    read = _parsed(checkpoint)
    unread: list[Snapshot] = []
    for snapshot in lineage(raw):
        if read is not None and snapshot.snapshot_id == read.snapshot_id:
            if read.files is not None:  # the last run stopped in the middle of it
                unread.append(snapshot)
            break
        if snapshot.summary and snapshot.summary.operation in _ADDING:  # compaction brings nothing new
            unread.append(snapshot)
    return _age_of_oldest(unread, now)


def curated_lag(curated: Table, checkpoint: Entry | None, now: datetime) -> timedelta:
    """How long Curated has had merged rows that Semantic, which is at ``checkpoint``, has not read."""
    read = _parsed(checkpoint)
    done = -1 if read is None else read.sequence
    return _age_of_oldest((s for s in lineage(curated) if _merge_sequence(s) > done), now)


def _age_of_oldest(unread: Iterable[Snapshot], now: datetime) -> timedelta:
    oldest = min((snapshot.timestamp_ms for snapshot in unread), default=None)
    return _NOW if oldest is None else max(_NOW, now - datetime.fromtimestamp(oldest / 1e3, UTC))


def _merge_sequence(snapshot: Snapshot) -> int:
    """The merge that made a snapshot; -1 where none did, or where a later compaction carries its number."""
    if snapshot.summary is None or snapshot.summary.operation is Operation.REPLACE:
        return -1
    return int(said_by(snapshot).get(MERGE_SEQ, -1))


def _parsed(checkpoint: Entry | None) -> SourceCheckpoint | None:
    return None if checkpoint is None else checkpoint.checkpoint
