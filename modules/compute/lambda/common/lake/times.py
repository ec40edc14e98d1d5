"""Times that commits give a table: of one clock, and in the order in which they were made.

A commit has the time of the machine that makes it, and machines differ: AWS takes requests of a laptop whose
clock is minutes off. pyiceberg does not mind, but Iceberg's Java library does, and with it Athena, Spark,
Trino, Snowflake and Firehose (``TableMetadata``: "Expected sorted snapshot log entries", "Invalid update
timestamp"). It refuses a table whose logs go back by more than a minute, and makes no commit to one whose
newest entry is more than a minute ahead of its own clock. So what is new in a commit has the time that
services say (``outside.now``), and never an earlier one than what the table has already.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, TypeVar

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry

from common.runtime import outside

Entry = TypeVar("Entry", Snapshot, SnapshotLogEntry, MetadataLogEntry)

# A time that differs by less from the services' is left as pyiceberg has it.
_NEAR: Final = timedelta(seconds=20)


class InOrder(MetastoreCatalog):
    """A catalog that writes metadata itself, whose commits have such times; to be named before the other."""

    def _update_and_stage_table(self, current_table: Table | None, *change: Any) -> StagedTable:
        staged = super()._update_and_stage_table(current_table, *change)
        if current_table is not None and staged.metadata != current_table.metadata:
            now_ms = round(outside.now().timestamp() * 1000)
            staged.metadata = in_order(current_table.metadata, staged.metadata, now_ms)
        return staged


def in_order(before: TableMetadata, after: TableMetadata, now_ms: int) -> TableMetadata:
    """The state ``after`` a commit, with times that follow those of ``before``.

    ``now_ms``: the services' time in milliseconds since 1970, which the commit has where its own differs.
    Entries of before that are not in order, as other writers may leave them, come into it with this commit.
    """
    logged = [one.timestamp_ms for log in (before.snapshot_log, before.metadata_log) for one in log]
    own = after.last_updated_ms
    near = abs(own - now_ms) <= _NEAR / timedelta(milliseconds=1)
    at = max([own if near else now_ms, before.last_updated_ms, *logged])
    known = {snapshot.snapshot_id for snapshot in before.snapshots}
    entries = {(one.snapshot_id, one.timestamp_ms) for one in before.snapshot_log}
    changed = {
        "last_updated_ms": at,
        "snapshots": [one if one.snapshot_id in known else _timed(one, at) for one in after.snapshots],
        "snapshot_log": _ascending(
            one if (one.snapshot_id, one.timestamp_ms) in entries else _timed(one, at)
            for one in after.snapshot_log
        ),
        "metadata_log": _ascending(after.metadata_log),
    }
    return after.model_copy(update=changed)


def _ascending(log: Iterable[Entry]) -> list[Entry]:
    """The entries of a log, none of which is before the one that it follows."""
    found, newest = list[Entry](), 0
    for one in log:
        newest = max(newest, one.timestamp_ms)
        found.append(_timed(one, newest))
    return found


def _timed(one: Entry, at_ms: int) -> Entry:
    return one if one.timestamp_ms == at_ms else one.model_copy(update={"timestamp_ms": at_ms})
