"""Rolling a merged table back to an earlier snapshot, its checkpoint with it.

Every snapshot of Curated and Semantic carries the checkpoint of the rows it holds, so going back to one needs
no second truth: the table's own word counts again (``common.lake.checkpoints``), and what was read since is
read once more. The merge sequence does not go back (it is a property of the table), so whatever is merged
again is new to the layer that reads it. RAW cannot be rolled back: its rows are nowhere else.

A run or a rebuild may have given a column another type, and with it another field id, under which the rows
of earlier snapshots have no value. So the same commit brings back the columns that the snapshot was written
with, and the partition spec of its files. Columns that came later under names of their own stay.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertRefSnapshotId,
    AssertTableUUID,
    SetCurrentSchemaUpdate,
    SetDefaultSpecUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from common.lake.checkpoints import MERGE_SEQ, NOTHING, RUN_ID, SOURCE_TOKEN
from common.lake.history import from_lineage, lineage, said_by
from common.lake.specifications import open_table
from common.runtime.errors import CommitConflict, InvalidInput
from lean_ops.environment.target import Target
from lean_ops.operate import checkpoints
from lean_ops.operate.checkpoints import MergedLayer, describe_snapshots, time_of
from lean_ops.operate.rebuild import was_swapped_in


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
    """From which snapshot to which; ``checkpoint``: where the next run starts reading.

    ``snapshots_undone``: 0 where the snapshot was current already. ``columns_restored``: columns that are
    again what they were then. ``rebuild_undone``: a rebuild's swap is among what was undone, now or before.
    """

    table: str
    before: str
    after: str
    snapshots_undone: int
    checkpoint: str
    columns_restored: tuple[str, ...] = ()
    rebuild_undone: bool = False


def history(target: Target, topic: str, layer: MergedLayer) -> list[SnapshotState]:
    """The snapshots that a table can be rolled back to, and the current one, newest first."""
    table = open_table(target.catalog(), target.settings.table(layer, topic))
    current = table.current_snapshot()
    return [_state(s, current is not None and s.snapshot_id == current.snapshot_id) for s in lineage(table)]


def roll_back(
    target: Target, topic: str, layer: MergedLayer, snapshot_id: int, changing: Callable[[], None]
) -> RolledBack:
    """Make ``snapshot_id`` the current snapshot again, and let the checkpoints follow.

    To be called while no run of the topic is in progress (``leases.exclusively``): a run that had read
    further would commit on the older rows and skip what lies between. ``changing`` is called before anything
    is changed. Where the snapshot is current, only what an interrupted rollback left undone is done. Raises
    InvalidInput for a snapshot that is not in the table's history, CommitConflict where another writer
    committed meanwhile.
    """
    catalog = target.catalog()
    identifier = target.settings.table(layer, topic)
    table = open_table(catalog, identifier)
    ancestors = list(lineage(table))
    undone = snapshots_undone(identifier, ancestors, snapshot_id)
    then = ancestors[undone]
    schema = schema_of(table, then)
    changing()
    if undone or schema is not None:
        _set_current(catalog, table, ancestors[0], then, schema)
    committed = from_lineage(ancestors[undone:])
    checkpoints.follow_table(target, topic, layer)
    return RolledBack(
        identifier,
        str(ancestors[0].snapshot_id),
        str(snapshot_id),
        undone,
        committed.token if committed else NOTHING,
        tuple(sorted(_differing(table.schema(), schema))) if schema is not None else (),
        was_swapped_in(table, after=then),
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
    return ids.index(snapshot_id)


def schema_of(table: Table, snapshot: Snapshot) -> Schema | None:
    """The schema that ``table`` needs for the rows of ``snapshot``; None where its current one reads them.

    It has the columns of then, by field id, and those of today whose names were not taken then.
    """
    if snapshot.schema_id is None or snapshot.schema_id not in table.schemas():
        return None
    then, today = table.schemas()[snapshot.schema_id], table.schema()
    ids = {field.field_id for field in today.fields}
    if all(field.field_id in ids for field in then.fields):
        return None
    known = {field.field_id for field in then.fields}
    names = {field.name for field in then.fields}
    later = [field for field in today.fields if field.field_id not in known and field.name not in names]
    if not later:
        return then
    return Schema(
        *then.fields,
        *later,
        schema_id=1 + max(table.schemas()),
        identifier_field_ids=then.identifier_field_ids,
    )


def _set_current(
    catalog: Catalog, table: Table, before: Snapshot, after: Snapshot, schema: Schema | None
) -> None:
    metadata = table.metadata
    try:
        catalog.commit_table(
            table,
            (
                AssertTableUUID(uuid=metadata.table_uuid),
                AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=before.snapshot_id),
                AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
                AssertDefaultSpecId(default_spec_id=metadata.default_spec_id),
                AssertLastAssignedFieldId(last_assigned_field_id=metadata.last_column_id),
            ),
            (
                *_schema_updates(table, schema),
                *_spec_updates(table, after),
                SetSnapshotRefUpdate(
                    ref_name=MAIN_BRANCH,
                    type=SnapshotRefType.BRANCH,
                    snapshot_id=after.snapshot_id,
                    max_ref_age_ms=None,
                    max_snapshot_age_ms=None,
                    min_snapshots_to_keep=None,
                ),
            ),
        )
    except CommitFailedException as error:
        # ``table`` stays as it was before: what was undone is told by it.
        if _is_current(catalog.load_table(table.name()), after, schema):
            return  # by this very request, which the SDK made again when it had no answer
        raise CommitConflict(
            f"table {'.'.join(table.name())}: expected snapshot {before.snapshot_id} to be current until the "
            "rollback, found another writer first (a compaction?); look again and repeat the rollback"
        ) from error
    except ValueError as error:
        if table.refresh().snapshot_by_id(after.snapshot_id) is not None:
            raise
        raise InvalidInput(
            f"table {'.'.join(table.name())}: expected snapshot {after.snapshot_id} to be kept until the "
            "rollback, found it expired by a maintenance a moment ago; `lean-ops rollback` without --to "
            "lists those that are left"
        ) from error


def _is_current(table: Table, after: Snapshot, schema: Schema | None) -> bool:
    current = table.current_snapshot()
    columns = table.schema().fields if schema is None else schema.fields
    return (
        current is not None and current.snapshot_id == after.snapshot_id and columns == table.schema().fields
    )


def _schema_updates(table: Table, schema: Schema | None) -> Iterator[TableUpdate]:
    if schema is None:
        return
    if schema.schema_id in table.schemas():
        yield SetCurrentSchemaUpdate(schema_id=schema.schema_id)
    else:
        yield AddSchemaUpdate(schema_=schema)
        yield SetCurrentSchemaUpdate(schema_id=-1)


def _spec_updates(table: Table, snapshot: Snapshot) -> Iterator[TableUpdate]:
    """Files are merged into under the spec that they are in: the default becomes that of ``snapshot``."""
    specs = {manifest.partition_spec_id for manifest in snapshot.manifests(table.io)}
    if len(specs) == 1 and specs != {table.metadata.default_spec_id}:
        yield SetDefaultSpecUpdate(spec_id=specs.pop())


def _differing(today: Schema, restored: Schema) -> set[str]:
    ids = {field.name: field.field_id for field in today.fields}
    return {field.name for field in restored.fields if ids.get(field.name) != field.field_id}


def _state(snapshot: Snapshot, current: bool) -> SnapshotState:
    summary = said_by(snapshot)
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
