"""Keeping tables in shape beside running merges: rows that are past, compaction, old snapshots, orphan files.

Maintenance has one owner, since two undo each other (docs/adr/0013): this package knows the checkpoints that
a snapshot is needed for, the leases, and the rebuilds in progress.

    compaction      small files and delete files
    retention       snapshots and orphan files
    row_retention   rows that are past
    erasing         rows, out of files, snapshots and statistics
    keeping_up      all of it, for one table, within a bounded time
"""

from common.lake.upkeep.compaction import CompactionOutcome, CompactionPolicy, compact, compaction_groups
from common.lake.upkeep.erasing import ERASED_ROWS, Doomed, Showing, TableErased, erase, foresee_erasure
from common.lake.upkeep.keeping_up import Shape, Upkeep, UpkeepPolicy, foresee, keep_up, shape
from common.lake.upkeep.retention import (
    expire_snapshots,
    referenced_files,
    referenced_now,
    remove_orphans,
)
from common.lake.upkeep.row_retention import Past, RowRetention, drop_past

__all__ = [
    "ERASED_ROWS",
    "CompactionOutcome",
    "CompactionPolicy",
    "Doomed",
    "Past",
    "RowRetention",
    "Shape",
    "Showing",
    "TableErased",
    "Upkeep",
    "UpkeepPolicy",
    "compact",
    "compaction_groups",
    "drop_past",
    "erase",
    "expire_snapshots",
    "foresee",
    "foresee_erasure",
    "keep_up",
    "referenced_files",
    "referenced_now",
    "remove_orphans",
    "shape",
]
