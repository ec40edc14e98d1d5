"""Keeping tables in shape: compaction, snapshot expiry, removal of orphan files, beside running merges.

Maintenance has one owner, since two undo each other (docs/adr/0013): this package knows the checkpoints that
a snapshot is needed for, the leases, and the rebuilds in progress.

    compaction   small files and delete files    retention   snapshots and orphan files
    erasing      rows, out of files, snapshots and statistics
    keeping_up   all of it, for one table, within a bounded time
"""

from common.lake.upkeep.compaction import CompactionOutcome, CompactionPolicy, compact, compaction_groups
from common.lake.upkeep.erasing import Doomed, Showing, TableErased, erase, foresee_erasure
from common.lake.upkeep.keeping_up import Shape, Upkeep, UpkeepPolicy, foresee, keep_up, shape
from common.lake.upkeep.retention import expire_snapshots, referenced_files, remove_orphans

__all__ = [
    "CompactionOutcome",
    "CompactionPolicy",
    "Doomed",
    "Shape",
    "Showing",
    "TableErased",
    "Upkeep",
    "UpkeepPolicy",
    "compact",
    "compaction_groups",
    "erase",
    "expire_snapshots",
    "foresee",
    "foresee_erasure",
    "keep_up",
    "referenced_files",
    "remove_orphans",
    "shape",
]
