"""Rolling a merged table back to an earlier snapshot, its checkpoint with it.

Every snapshot of Curated and Semantic carries the checkpoint of the rows it holds, so going back to one needs
no second truth: the table's own word counts again (``common.checkpoints``), and what was read since is read
once more. The merge sequence does not go back (it is a property of the table), so whatever is merged again is
new to the layer that reads it. RAW cannot be rolled back: its rows are nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate

from common.checkpoints import MERGE_SEQ, NOTHING, RUN_ID, SOURCE_TOKEN, from_lineage
from common.errors import CommitConflict, InvalidInput
from common.incremental import lineage
from common.tables import open_table
from lean_ops import checkpoints
from lean_ops.checkpoints import MergedLayer, describe_snapshots, time_of
from lean_ops.target import Target


@dataclass(frozen=True)
class SnapshotState:
    """One snapshot of a table's history, as an operator chooses by it. Ids as text: they have 64 bits."""

    snapshot_id: str
    committed: datetime
    operation: str
    rows: int
    merge_seq: str
    checkpoint: str
    run_id: str
    current: bool


@dataclass(frozen=True)
class RolledBack:
    """From which snapshot to which; ``checkpoint``: where the next run starts reading."""

    table: str
    before: str
    after: str
    snapshots_undone: int
    checkpoint: str


def history(target: Target, topic: str, layer: MergedLayer) -> list[SnapshotState]:
    """The snapshots that a table can be rolled back to, and the current one, newest first."""
    table = open_table(target.catalog(), target.settings.table(layer, topic))
    current = table.current_snapshot()
    return [_state(s, current is not None and s.snapshot_id == current.snapshot_id) for s in lineage(table)]


def roll_back(target: Target, topic: str, layer: MergedLayer, snapshot_id: int) -> RolledBack:
    """Make ``snapshot_id`` the current snapshot again, and let the checkpoint follow.

    To be called while no run of the topic is in progress (``leases.exclusively``): a run that had read
    further would commit on the older rows and skip what lies between. Raises InvalidInput for a snapshot that
    is not in the table's history, CommitConflict where another writer committed meanwhile.
    """
    catalog = target.catalog()
    identifier = target.settings.table(layer, topic)
    table = open_table(catalog, identifier)
    ancestors = list(lineage(table))
    undone = snapshots_undone(identifier, ancestors, snapshot_id)
    _set_current(catalog, table, ancestors[0].snapshot_id, snapshot_id)
    committed = from_lineage(ancestors[undone:])
    checkpoints.record_committed(target, topic, layer, committed)
    return RolledBack(
        identifier,
        str(ancestors[0].snapshot_id),
        str(snapshot_id),
        undone,
        committed.token if committed else NOTHING,
    )


def snapshots_undone(identifier: str, ancestors: Sequence[Snapshot], snapshot_id: int) -> int:
    """How many of ``ancestors`` (newest first) a rollback to ``snapshot_id`` undoes; raises InvalidInput."""
    ids = [s.snapshot_id for s in ancestors]
    if snapshot_id not in ids:
        raise InvalidInput(
            f"table {identifier}: expected snapshot {snapshot_id} in its history, found none (it never was, "
            f"has expired, or was rolled back); {describe_snapshots(ancestors[::-1], snapshot_id)}; "
            "`lean-ops rollback` without --to lists all"
        )
    if snapshot_id == ids[0]:
        raise InvalidInput(
            f"table {identifier}: expected a snapshot before the current one, found the current one itself, "
            f"{snapshot_id}; there is nothing to roll back"
        )
    return ids.index(snapshot_id)


def _set_current(catalog: Catalog, table: Table, before: int, after: int) -> None:
    try:
        catalog.commit_table(
            table,
            (
                AssertTableUUID(uuid=table.metadata.table_uuid),
                AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=before),
            ),
            (
                SetSnapshotRefUpdate(
                    ref_name=MAIN_BRANCH,
                    type=SnapshotRefType.BRANCH,
                    snapshot_id=after,
                    max_ref_age_ms=None,
                    max_snapshot_age_ms=None,
                    min_snapshots_to_keep=None,
                ),
            ),
        )
    except CommitFailedException as error:
        raise CommitConflict(
            f"table {'.'.join(table.name())}: expected snapshot {before} to be current until the rollback, "
            "found another writer first (a compaction?); look again and repeat the rollback"
        ) from error


def _state(snapshot: Snapshot, current: bool) -> SnapshotState:
    summary = snapshot.summary.additional_properties if snapshot.summary else {}
    return SnapshotState(
        str(snapshot.snapshot_id),
        time_of(snapshot),
        snapshot.summary.operation.value if snapshot.summary else "",
        int(summary.get("total-records", 0)) - int(summary.get("total-position-deletes", 0)),
        summary.get(MERGE_SEQ, "-"),
        summary.get(SOURCE_TOKEN, "-"),
        summary.get(RUN_ID, "-"),
        current,
    )
