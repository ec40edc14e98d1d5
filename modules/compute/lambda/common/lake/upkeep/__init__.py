"""Keeping tables in shape: compaction, snapshot expiry, removal of orphan files, beside running merges.

Maintenance has one owner, since two undo each other (docs/adr/0013): this package knows the checkpoints that
a snapshot is needed for, the leases, and the rebuilds in progress.

    compaction   small files and delete files    retention   snapshots and orphan files
    keeping_up   all of it, for one table, within a bounded time
"""

from common.lake.upkeep.compaction import CompactionOutcome, CompactionPolicy, compact, compaction_groups
from common.lake.upkeep.keeping_up import Shape, Upkeep, UpkeepPolicy, foresee, keep_up, shape
from common.lake.upkeep.retention import expire_snapshots, referenced_files, remove_orphans

__all__ = [
    "CompactionOutcome",
    "CompactionPolicy",
    "Shape",
    "Upkeep",
    "UpkeepPolicy",
    "compact",
    "compaction_groups",
    "expire_snapshots",
    "foresee",
    "keep_up",
    "referenced_files",
    "remove_orphans",
    "shape",
]
