"""Whatever happened to RAW between two runs, the portions together hold every row."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.expressions.parser import parse
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _OverwriteFiles

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Bounds, Portion, appended, appends_again, new_appends, read
from common.lake.reading import read_files

from ...support.catalog import LocalCatalog

ALL = Bounds(rows=10**9, bytes=10**12)
SCHEMA = pa.schema([("n", pa.int64())])
Portions = Callable[[Table, SourceCheckpoint | None, Bounds], Portion]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    catalog = LocalCatalog(tmp_path)
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


def compact(table: Table, *numbers: int) -> None:
    """Put all files together, or those that begin with these numbers."""
    tasks = [
        task
        for task in table.scan().plan_files()
        if not numbers or read_files(table, [task]).read_all()["n"][0].as_py() in numbers
    ]
    live = [task.file for task in tasks]
    if not live:
        return
    (merged,) = _dataframe_to_data_files(table.metadata, read_files(table, tasks).read_all(), table.io)
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
    table: Table, since: SourceCheckpoint | None, bounds: Bounds = ALL, portions: Portions = new_appends
) -> tuple[list[int], SourceCheckpoint | None, str | None]:
    portion = portions(table, since, bounds)
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


def test_a_full_portion_that_leaves_no_row_passes_by_what_brings_none(table: Table) -> None:
    """The next run would find a snapshot that is new, and nothing in it (seed 72646)."""
    append(table, 1)
    since = take(table, None)[1]
    append(table, 2)
    append(table, 3)
    compact(table)
    current = table.current_snapshot()
    assert current is not None
    rows, since, _ = take(table, since, Bounds(rows=2, bytes=10**12))
    assert sorted(rows) == [2, 3]
    assert since is not None
    assert since.token == str(current.snapshot_id)


def test_a_full_portion_passes_by_files_that_are_gone(table: Table) -> None:
    append(table, 1)
    since = take(table, None)[1]
    append(table, 2)
    append(table, 3)
    table.delete("n = 3")
    portion = new_appends(table, since, Bounds(rows=1, bytes=10**12))
    current = table.current_snapshot()
    assert current is not None
    assert (portion.rows, portion.backlog_rows, portion.gone_rows) == (1, 0, 1)
    assert portion.checkpoint is not None
    assert portion.checkpoint.token == str(current.snapshot_id)


def test_a_file_that_a_compaction_left_alone_is_read_once(table: Table) -> None:
    append(table, 0)
    since = take(table, None)[1]
    append_files(table, 1, 2, 3)
    compact(table, 1, 2)
    append(table, 4)
    portion = new_appends(table, since, ALL)
    assert (portion.rows, len(portion.tasks)) == (4, 4)
    assert sorted(take(table, since)[0]) == [1, 2, 3, 4]


def test_a_checkpoint_in_a_snapshot_says_the_same_when_more_of_its_files_were_compacted(table: Table) -> None:
    append(table, 0)
    since = take(table, None)[1]
    append_files(table, 1, 2, 3, 4)
    compact(table, 1, 2)
    append(table, 5)
    seen, since, _ = take(table, since, Bounds(rows=4, bytes=10**12))
    compact(table)
    seen += take(table, since)[0]
    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_rows_that_were_deleted_before_they_were_read_are_left_out_and_counted(table: Table) -> None:
    append(table, 0)
    since = take(table, None)[1]
    append_files(table, 1, 2, 3)
    append(table, 4)
    table.delete("n == 2")
    append(table, 5)
    portion = new_appends(table, since, ALL)
    assert (portion.rows, portion.gone_rows) == (4, 1)
    assert sorted(take(table, since)[0]) == [1, 3, 4, 5]
    looked_up: list[Any] = read(table, appended(table, since, None)).read_all()["n"].to_pylist()
    assert sorted(looked_up) == [1, 3, 4, 5]


def test_rows_of_a_file_that_was_written_again_come_with_the_file_in_its_place(table: Table) -> None:
    append(table, 0)
    since = take(table, None)[1]
    append(table, 1, 2, 3)
    table.delete("n == 2")
    assert sorted(take(table, since)[0]) == [1, 3]


def test_files_keep_their_numbers_when_others_of_their_snapshot_are_deleted(table: Table) -> None:
    append(table, 0)
    since = take(table, None)[1]
    append_files(table, 1, 2, 3)
    first, since, _ = take(table, since, Bounds(rows=1, bytes=10**12))
    table.delete(f"n == {first[0]}")
    assert sorted(first + take(table, since)[0]) == [1, 2, 3]


def test_a_full_read_in_portions_leaves_out_what_was_deleted_meanwhile(table: Table) -> None:
    append_files(table, 1, 2, 3)
    seen, since, _ = take(table, None, Bounds(rows=1, bytes=10**12))
    (deleted,) = sorted({1, 2, 3} - set(seen))[:1]
    table.delete(f"n == {deleted}")
    seen += take(table, since)[0]
    assert sorted([*seen, deleted]) == [1, 2, 3]


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
def test_any_mix_of_appends_compactions_deletes_expiry_and_bounds_loses_no_row(
    table: Table, seed: int
) -> None:
    draw = random.Random(seed)
    written: set[int] = set()
    deleted: set[int] = set()
    seen: set[int] = set()
    since: SourceCheckpoint | None = None
    for _ in range(25):
        action = draw.choice(["append", "append", "append", "compact", "delete", "expire", "read", "read"])
        if action == "append":
            numbers = [len(written) + i for i in range(draw.randint(1, 4))]
            written |= set(numbers)
            draw.choice([append, append_files])(table, *numbers)
        elif action == "compact" and written - deleted:
            compact(table, *draw.choice([(), sorted(written)[::2]]))
        elif action == "delete" and written - deleted:
            deleted.add(gone := draw.choice(sorted(written - deleted)))
            table.delete(f"n == {gone}")
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
    assert written - deleted <= seen <= written
    current = table.current_snapshot()
    assert current is None or (since is not None and since.token == str(current.snapshot_id))


def again(table: Table) -> Portions:
    """Reading as a rebuild does that leaves out numbers below 0, of what is in the table now."""
    current = table.current_snapshot()
    assert current is not None and current.sequence_number is not None
    return partial(appends_again, read=current.sequence_number, only=parse("n >= 0"))


def take_all(table: Table, portions: Portions, rows: int = 1) -> list[int]:
    seen: list[int] = []
    since: SourceCheckpoint | None = None
    for _ in range(60):
        found, after, _ = take(table, since, Bounds(rows=rows, bytes=10**12), portions)
        seen += found
        if after == since:
            return sorted(seen)
        since = after
    raise AssertionError(f"expected an end of reading, found {since} after 60 portions")


@pytest.mark.parametrize("rows", [1, 3, 10**9])
@pytest.mark.parametrize("forgotten", [False, True])
def test_reading_again_leaves_out_rows_of_what_was_read_and_none_of_what_was_not(
    table: Table, rows: int, forgotten: bool
) -> None:
    append(table, -1, 1)
    append_files(table, -2, 2, 3)
    portions = again(table)
    append(table, -3, 4)
    append(table, -4)
    if forgotten:
        expire_all_but_newest(table)
    assert take_all(table, portions, rows) == [-4, -3, 1, 2, 3, 4]


def test_a_snapshot_that_is_forgotten_while_it_is_read_again_takes_no_row_along(table: Table) -> None:
    append_files(table, -2, -1, 1, 2)
    portions = again(table)
    append_files(table, -4, -3, 3)
    seen, since, _ = take(table, None, Bounds(rows=2, bytes=10**12), portions)
    expire_all_but_newest(table)
    while (found := take(table, since, Bounds(rows=1, bytes=10**12), portions))[1] != since:
        seen += found[0]
        since = found[1]
    assert {-4, -3, 1, 2, 3} == set(seen)


def test_a_file_that_was_compacted_since_its_snapshot_was_forgotten_is_read_whole(table: Table) -> None:
    append(table, -1, 1)
    portions = again(table)
    append(table, -2, 2)
    compact(table)
    assert take_all(table, portions) == [-2, 1, 2]
    expire_all_but_newest(table)
    assert take_all(table, portions) == [-2, -1, 1, 2]


@pytest.mark.parametrize("seed", range(8))
def test_reading_again_ends_with_every_row_that_is_not_known(table: Table, seed: int) -> None:
    draw = random.Random(seed)
    written: set[int] = set()
    changes: list[Callable[[Table], None]] = [
        partial(_write, draw, written),
        compact,
        expire_all_but_newest,
    ]
    for _ in range(draw.randint(1, 4)):
        changes[0](table)
        draw.choices(changes, (5, 2, 0))[0](table)
    portions, known = again(table), set(written)
    seen: set[int] = set()
    since: SourceCheckpoint | None = None
    for turn in range(120):
        if turn < 20:
            draw.choices(changes, (5, 2, 1))[0](table)
        rows, since, _ = take(table, since, Bounds(draw.randint(1, 6), 10**12), portions)
        seen |= set(rows)
    assert {n for n in written if n > 0 or n not in known} <= seen <= written
    current = table.current_snapshot()
    assert current is not None and since is not None and since.token == str(current.snapshot_id)


def _write(draw: random.Random, written: set[int], table: Table) -> None:
    numbers = [draw.choice((-1, 1)) * (len(written) + i + 1) for i in range(draw.randint(1, 4))]
    written.update(numbers)
    draw.choice([append, append_files])(table, *numbers)
