"""Whatever happened to RAW between two runs, the portions together hold every row."""

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _OverwriteFiles

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Bounds, new_appends, read

ALL = Bounds(rows=10**9, bytes=10**12)
SCHEMA = pa.schema([("n", pa.int64())])


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    yield catalog.create_table("lake.raw_events", SCHEMA, properties={"format-version": "2"})
    catalog.close()


def append(table: Table, *numbers: int) -> None:
    table.append(pa.table({"n": list(numbers)}, schema=SCHEMA))


class _Replace(_OverwriteFiles):
    """A commit as compaction makes it: files exchanged, rows the same, operation ``replace``."""

    def _summary(self, snapshot_properties: Mapping[str, str] = MappingProxyType({})) -> Summary:
        summary = super()._summary(dict(snapshot_properties))
        return Summary(Operation.REPLACE, **summary.additional_properties)


def compact(table: Table) -> None:
    live = [task.file for task in table.scan().plan_files()]
    if not live:
        return
    (merged,) = _dataframe_to_data_files(table.metadata, table.scan().to_arrow(), table.io)
    with table.transaction() as transaction:
        producer = _Replace(Operation.OVERWRITE, transaction, table.io)
        for file in live:
            producer.delete_data_file(file)
        producer.append_data_file(merged)
        producer.commit()


def append_files(table: Table, *contents: int) -> None:
    """One snapshot with a file for each number."""
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as snapshot:
        for n in contents:
            rows = pa.table({"n": [n]}, schema=SCHEMA)
            for file in _dataframe_to_data_files(table.metadata, rows, table.io):
                snapshot.append_data_file(file)


def expire_all_but_newest(table: Table) -> None:
    table.maintenance.expire_snapshots().older_than(datetime.now(UTC) + timedelta(days=1)).commit()


def take(
    table: Table, since: SourceCheckpoint | None, bounds: Bounds = ALL
) -> tuple[list[int], SourceCheckpoint | None, str | None]:
    portion = new_appends(table, since, bounds)
    rows: list[Any] = [n for batch in read(table, portion) for n in batch.column("n").to_pylist()]
    return rows, portion.checkpoint, portion.fallback


def test_an_empty_table_gives_nothing_and_no_checkpoint(table: Table) -> None:
    assert take(table, None) == ([], None, None)


def test_the_first_read_takes_all_and_the_next_only_what_is_new(table: Table) -> None:
    append(table, 1, 2)
    rows, since, _ = take(table, None)
    assert sorted(rows) == [1, 2]
    append(table, 3)
    append(table, 4)
    rows, since, _ = take(table, since)
    assert sorted(rows) == [3, 4]
    assert take(table, since)[0] == []


def test_the_checkpoint_after_everything_is_the_current_snapshot(table: Table) -> None:
    append(table, 1)
    append(table, 2)
    current = table.current_snapshot()
    assert current is not None
    since = take(table, None)[1]
    assert since is not None
    assert since.token == str(current.snapshot_id)


def test_a_bounded_run_stops_inside_a_snapshot_and_the_next_goes_on_there(table: Table) -> None:
    append(table, 0)
    _, since, _ = take(table, None)
    append_files(table, 1, 2, 3)
    seen = []
    tokens = []
    for _ in range(3):
        rows, since, _ = take(table, since, Bounds(rows=1, bytes=10**12))
        assert since is not None
        seen += rows
        tokens.append(since.token)
    current = table.current_snapshot()
    assert current is not None
    sid = current.snapshot_id
    assert sorted(seen) == [1, 2, 3]
    assert tokens == [f"{sid}+1", f"{sid}+2", f"{sid}"]


def test_the_backlog_is_what_is_left_after_the_portion(table: Table) -> None:
    append(table, 0)
    since = take(table, None)[1]
    append(table, 1, 2)
    append(table, 3, 4, 5)
    portion = new_appends(table, since, Bounds(rows=1, bytes=10**12))
    assert (portion.rows, portion.backlog_rows) == (2, 3)


def test_a_compaction_neither_repeats_nor_hides_rows_still_to_be_read(table: Table) -> None:
    append(table, 1)
    since = take(table, None)[1]
    append(table, 2)
    append(table, 3)
    compact(table)
    append(table, 4)
    assert sorted(take(table, since)[0]) == [2, 3, 4]


def test_an_expired_checkpoint_falls_back_to_everything_and_says_so(table: Table) -> None:
    append(table, 1)
    since = take(table, None)[1]
    append(table, 2)
    expire_all_but_newest(table)
    rows, after, fallback = take(table, since)
    assert sorted(rows) == [1, 2]
    assert fallback is not None
    assert "is not in the history" in fallback
    assert take(table, after)[0] == []


def test_a_full_read_in_portions_survives_appends_meanwhile(table: Table) -> None:
    for n in range(5):
        append(table, n)
    seen, since, _ = take(table, None, Bounds(rows=2, bytes=10**12))
    assert since is not None
    assert since.full_scan
    append(table, 5)
    while True:
        rows, after, _ = take(table, since, Bounds(rows=2, bytes=10**12))
        seen += rows
        if after == since:
            break
        since = after
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]


def test_a_checkpoint_from_another_history_falls_back(table: Table) -> None:
    append(table, 1)
    rows, _, fallback = take(table, SourceCheckpoint(snapshot_id=12345, sequence=7))
    assert rows == [1]
    assert fallback


@pytest.mark.parametrize("seed", range(8))
def test_any_mix_of_appends_compactions_expiry_and_bounds_loses_no_row(table: Table, seed: int) -> None:
    draw = random.Random(seed)
    written: set[int] = set()
    seen: set[int] = set()
    since: SourceCheckpoint | None = None
    for _ in range(25):
        action = draw.choice(["append", "append", "append", "compact", "expire", "read", "read"])
        if action == "append":
            numbers = [len(written) + i for i in range(draw.randint(1, 4))]
            written |= set(numbers)
            append(table, *numbers)
        elif action == "compact" and written:
            compact(table)
        elif action == "expire" and draw.random() < 0.3 and written:
            expire_all_but_newest(table)
        elif action == "read":
            rows, after, _ = take(table, since, Bounds(rows=draw.randint(1, 6), bytes=10**12))
            assert after is None or since is None or after.position >= since.position
            seen |= set(rows)
            since = after
    for _ in range(60):
        rows, after, _ = take(table, since, Bounds(rows=3, bytes=10**12))
        seen |= set(rows)
        if after == since:
            break
        since = after
    assert seen == written
    current = table.current_snapshot()
    assert current is None or (since is not None and since.token == str(current.snapshot_id))
