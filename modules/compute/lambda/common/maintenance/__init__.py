"""Keeping tables in shape: compaction, snapshot expiry, removal of orphan files, beside running merges.

For tables that the Glue optimizers do not reach: the local stack, other catalogs, position deletes that stay
below the optimizers' own thresholds, and snapshots whose need only a checkpoint knows.

    compaction   small files and delete files    retention   snapshots and orphan files
    upkeep       all of it, for one table, within a bounded time
"""

from common.maintenance.compaction import CompactionOutcome, CompactionPolicy, compact, compaction_groups
from common.maintenance.retention import expire_snapshots, referenced_files, remove_orphans
from common.maintenance.upkeep import Shape, Upkeep, UpkeepPolicy, foresee, keep_up, shape

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
