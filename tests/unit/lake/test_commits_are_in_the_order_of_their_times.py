"""Whoever commits, the times of a table are in order, and none is ahead: else Java refuses the table."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table, snapshots, update
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import SetSnapshotRefUpdate

from common.lake.times import in_order
from common.runtime import outside
from common.runtime.outside import Outside

from ...support.catalog import LocalCatalog
from ...support.java_metadata import of_times

RIGHT = datetime.now(UTC) + timedelta(hours=1)  # behind which the table is made
ROWS = pa.table({"n": pa.array([1], pa.int64())})
OFF = [timedelta(minutes=-4), timedelta(minutes=-1), timedelta(seconds=3), timedelta(minutes=4)]


class Machine(Outside):
    """A machine whose clock is off, and that a service has told the time."""

    def __init__(self, off: timedelta, at: timedelta) -> None:
        self._says = RIGHT + at + off
        self.told(RIGHT + at)

    def machine_clock(self) -> datetime:
        return self._says


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[LocalCatalog]:
    found = LocalCatalog(tmp_path)
    found.create_namespace("lake")
    yield found
    found.close()


def by(machine: Machine, change: Callable[[], object]) -> None:
    """Let a machine commit: pyiceberg has its clock, whatever it was told."""
    says = machine.machine_clock()

    class Date(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return says.astimezone(tz)

    with pytest.MonkeyPatch.context() as patch, outside.standing_in(machine):
        patch.setattr(snapshots, "time", SimpleNamespace(time=says.timestamp))
        patch.setattr(update, "datetime", Date)
        change()


def rollback(table: Table) -> None:
    first = table.metadata.snapshots[0].snapshot_id
    change = SetSnapshotRefUpdate(
        ref_name="main",
        type="branch",
        snapshot_id=first,
        max_ref_age_ms=None,
        max_snapshot_age_ms=None,
        min_snapshots_to_keep=None,
    )
    table.catalog.commit_table(table, (), (change,))


CHANGES: list[Callable[[Table], object]] = [
    lambda table: table.append(ROWS),
    lambda table: table.delete("n = 1"),
    rollback,
    lambda table: table.transaction().set_properties(a="b").commit_transaction(),
]


@pytest.mark.parametrize("off", OFF, ids=str)
@pytest.mark.parametrize("change", CHANGES, ids=["append", "delete", "rollback", "properties"])
def test_a_machine_whose_clock_is_off_leaves_a_table_that_java_reads(
    catalog: LocalCatalog, off: timedelta, change: Callable[[Table], object]
) -> None:
    table = made(catalog)
    for number, machine in enumerate([timedelta(0), off, timedelta(0)], 1):
        at = timedelta(seconds=20 * number)
        by(Machine(machine, at), partial(change if number == 2 else CHANGES[0], table))
        table.refresh()
        assert times(table.metadata) == []
        right = (RIGHT + at).timestamp() * 1000
        assert abs(table.metadata.last_updated_ms - right) <= 10_000
        assert table.metadata == table.catalog.load_table(table.name()).metadata


def test_without_it_java_would_refuse_the_table(
    catalog: LocalCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.lake.times.in_order", lambda _before, after, _now_ms: after)
    table = made(catalog)
    with pytest.raises(AssertionError, match=re.escape("not in the order of their times")):
        by(Machine(timedelta(minutes=-4), timedelta(seconds=40)), lambda: table.append(ROWS))


def test_what_is_ahead_already_is_followed(catalog: LocalCatalog) -> None:
    """Another engine's machine may be ahead as well: its commit is not gone behind."""
    table = made(catalog)
    ahead = RIGHT + timedelta(minutes=30)
    before = table.metadata.model_copy(update={"last_updated_ms": round(ahead.timestamp() * 1000)})
    by(Machine(timedelta(0), timedelta(seconds=40)), lambda: table.append(ROWS))
    after = table.refresh().metadata
    found = in_order(before, after, round((RIGHT + timedelta(seconds=40)).timestamp() * 1000))
    assert found.last_updated_ms == before.last_updated_ms
    assert found.snapshots[-1].timestamp_ms == found.snapshot_log[-1].timestamp_ms == before.last_updated_ms
    assert found.snapshots[:-1] == after.snapshots[:-1]


def test_what_is_out_of_order_already_comes_into_it_with_the_next_commit(catalog: LocalCatalog) -> None:
    """A table that Java refuses, since somebody else's clock was off, is read again."""
    table = made(catalog)
    by(Machine(timedelta(0), timedelta(minutes=1)), partial(table.append, ROWS))
    found = table.refresh().metadata
    logs = {
        name: [
            one.model_copy(update={"timestamp_ms": one.timestamp_ms - 240_000 * number})
            for number, one in enumerate(getattr(found, name))
        ]
        for name in ("snapshot_log", "metadata_log")
    }
    broken = found.model_copy(update=logs)
    assert times(broken) != []
    after = in_order(broken, broken.model_copy(update={"last_updated_ms": found.last_updated_ms + 1}), 0)
    assert times(after) == []
    assert [one.snapshot_id for one in after.snapshot_log] == [one.snapshot_id for one in found.snapshot_log]


def times(metadata: TableMetadata) -> list[str]:
    """What Java says of the times of a table."""
    logs = [[e.timestamp_ms for e in log] for log in (metadata.snapshot_log, metadata.metadata_log)]
    return [*of_times(logs, metadata.last_updated_ms)]


def made(catalog: LocalCatalog) -> Table:
    """A table with a row, at the right time."""
    table = catalog.create_table("lake.t", ROWS.schema)
    by(Machine(timedelta(0), timedelta(0)), lambda: table.append(ROWS))
    return table.refresh()
