"""Everything that one table needs from time to time, within a bounded time.

Days that are past are dropped, small files compacted, old snapshots and orphan files removed.
"""

from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.lake.merge.livefiles import live_files
from common.lake.merge.streams import concurrency
from common.lake.rule import MergeRule
from common.lake.specifications import open_table
from common.lake.upkeep.compaction import CompactionOutcome, CompactionPolicy, compact, compaction_groups
from common.lake.upkeep.retention import expirable, expire_snapshots, find_orphans, remove_orphans
from common.lake.upkeep.row_retention import Past, RowRetention, drop_past, foresee_past
from common.runtime import outside

NOTHING_PAST: Final = Past()


@dataclass(frozen=True)
class UpkeepPolicy:
    """What is kept, and for how long.

    ``snapshots_for``: age up to which snapshots stay (time travel, rollback, readers that refresh late);
    ``snapshots_at_least``: so many stay whatever their age, but for tables whose rows are not kept for good:
    what these dropped must not live on in a snapshot. ``orphans_for``: age of a file from which it can no
    longer belong to a commit in progress (a job takes 15 minutes, a rebuild a day at most).
    """

    compaction: CompactionPolicy = field(default_factory=CompactionPolicy)
    snapshots_for: timedelta = timedelta(days=5)
    snapshots_at_least: int = 10
    orphans_for: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Shape:
    """What the current snapshot of a table is made of, from its metadata alone. ``bytes``: of data files."""

    data_files: int
    delete_files: int
    most_in_a_partition: int
    bytes: int
    snapshots: int


@dataclass(frozen=True)
class Upkeep:
    """What was done to one table, or would be (``foresee``, where ``after`` is ``before``).

    ``past``: rows that the contract keeps no longer. ``compacted_files``: files that a compaction replaces;
    ``finished`` is False when time was up first. ``seconds``: how long it took.
    """

    table: str
    before: Shape
    after: Shape
    compacted_files: int
    delete_files_dropped: int
    snapshots_expired: int
    orphans_removed: int
    orphan_bytes: int
    finished: bool = True
    past: Past = NOTHING_PAST
    seconds: float = 0.0


def shape(table: Table) -> Shape:
    """The shape of ``table``; reads its manifests."""
    with ThreadPoolExecutor(concurrency(table.location())) as pool:
        live = live_files(table, pool)
    partitions = Counter(file.file.partition for file in live.files)
    return Shape(
        len(live.files),
        len(live.delete_paths),
        max(partitions.values(), default=0),
        sum(file.file.file_size_in_bytes for file in live.files),
        len(table.snapshots()),
    )


def keep_up(
    catalog: Catalog,
    identifier: str,
    rule: MergeRule,
    *,
    run_id: str,
    now: datetime,
    policy: UpkeepPolicy,
    still_read: Collection[int] = (),
    also_used_by: Collection[str] = (),
    rows: RowRetention | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Upkeep:
    """Drop what is past of one table, compact, expire and clean up.

    ``still_read`` and ``also_used_by``: see ``expire_snapshots`` and ``remove_orphans``. ``rows``: which rows
    are past; None: they are kept for good. ``go_on`` is asked before every portion of work. Raises the errors
    of those functions; what was done before one stays done.
    """
    began = outside.monotonic()
    before = shape(open_table(catalog, identifier))
    compaction = CompactionOutcome()
    expired: list[int] = []
    past = NOTHING_PAST
    if rows is not None and go_on():
        past = drop_past(catalog, identifier, rows, run_id=run_id)
    if go_on():
        compaction = compact(catalog, identifier, rule, run_id=run_id, policy=policy.compaction, go_on=go_on)
    if go_on():
        expired = expire_snapshots(
            catalog,
            identifier,
            older_than=now - policy.snapshots_for,
            keep_last=_at_least(policy, rows),
            still_read=still_read,
        )
    finished = go_on()
    orphans = (
        remove_orphans(catalog, identifier, older_than=now - policy.orphans_for, also_used_by=also_used_by)
        if finished
        else []
    )
    return Upkeep(
        identifier,
        before,
        shape(open_table(catalog, identifier)),
        compaction.files_replaced,
        compaction.delete_files_dropped,
        len(expired),
        len(orphans),
        sum(orphan.size for orphan in orphans),
        finished,
        past,
        outside.monotonic() - began,
    )


def foresee(
    catalog: Catalog,
    identifier: str,
    *,
    now: datetime,
    policy: UpkeepPolicy,
    still_read: Collection[int] = (),
    also_used_by: Collection[str] = (),
    rows: RowRetention | None = None,
) -> Upkeep:
    """What ``keep_up`` would do to one table now; changes nothing."""
    table = open_table(catalog, identifier)
    with ThreadPoolExecutor(concurrency(table.location())) as pool:
        groups = compaction_groups(table, live_files(table, pool).files, policy.compaction, pool)
    orphans = find_orphans(table, now - policy.orphans_for, also_used_by)
    expired = expirable(table, now - policy.snapshots_for, _at_least(policy, rows), still_read)
    found = shape(table)
    return Upkeep(
        identifier,
        found,
        found,
        sum(len(group.files) for group in groups),
        len({d.data_file.file_path for group in groups for f in group.files for d in f.deletes}),
        len(expired),
        len(orphans),
        sum(orphan.size for orphan in orphans),
        past=foresee_past(table, rows) if rows is not None else NOTHING_PAST,
    )


def _at_least(policy: UpkeepPolicy, rows: RowRetention | None) -> int:
    return policy.snapshots_at_least if rows is None else 1
