import datetime as dt
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.statistics import PartitionStatisticsFile
from pyiceberg.table.update import SetPartitionStatisticsUpdate

from common.lake.checkpoints import MERGE_SEQ, RUN_ID, SOURCE_TOKEN, SourceCheckpoint
from common.lake.incremental import Bounds, new_appends, read
from common.lake.merge import committing, reading
from common.lake.reading import read_files
from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import (
    CompactionPolicy,
    UpkeepPolicy,
    compact,
    compaction,
    expire_snapshots,
    foresee,
    keep_up,
    referenced_files,
    remove_orphans,
    shape,
)
from common.lake.upkeep.compaction import CompactionOutcome
from common.lake.upkeep.retention import find_orphans
from common.runtime.retrying import RetryPolicy

from ....support.generated import cases
from .conftest import Lake

SPECIFICATIONS = Path(__file__).parents[4] / "modules/storage/tables"

EVERYTHING = CompactionPolicy(files=1)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "RETRY", RetryPolicy(attempts=6, base_s=0.0))


def fill(lake: Lake, merges: int = 6, keys: int = 160) -> None:
    """Merges with corrections that leave small files and position deletes behind."""
    for turn in range(merges):
        lake.merge(
            [
                lake.event(f"k{n:03d}", f"m{turn}-{n}", publish=turn / 10)
                for n in range(keys)
                if turn == 0 or n % 7 == turn
            ],
            checkpoint=SourceCheckpoint(100 + turn, turn + 1),
        )


def compacted(lake: Lake, policy: CompactionPolicy = EVERYTHING) -> CompactionOutcome:
    return compact(lake.catalog, lake.identifier, EVENT_RULE, run_id="tidy", policy=policy)


def test_compaction_leaves_one_file_a_partition_no_deletes_and_the_same_rows(lake: Lake) -> None:
    fill(lake)
    before = lake.rows()
    outcome = compacted(lake)
    assert outcome.files_replaced > outcome.files_written > 0
    assert outcome.delete_files_dropped > 0
    files = list(lake.table.scan().plan_files())
    assert set(Counter(str(t.file.partition) for t in files).values()) == {1}
    assert not any(t.delete_files for t in files)
    assert lake.rows() == before
    assert lake.duckdb_rows() == before


def test_compaction_carries_the_checkpoint_on_and_changes_no_data(lake: Lake) -> None:
    fill(lake, merges=3)
    compacted(lake)
    summary = lake.summary
    assert summary.operation.value == "replace"
    assert (summary[SOURCE_TOKEN], summary[MERGE_SEQ]) == ("102", "3")
    assert summary[RUN_ID] == "tidy"
    assert summary["total-records"] == "160"
    assert "total-position-deletes" not in summary.additional_properties or (
        summary["total-position-deletes"] == "0"
    )


def test_a_tidy_table_is_not_compacted_again(lake: Lake) -> None:
    fill(lake)
    first = compacted(lake)
    again = compacted(lake)
    assert (again.commits, again.snapshot_id) == (0, first.snapshot_id)


def test_portions_are_commits_of_their_own(lake: Lake) -> None:
    fill(lake)
    before = lake.rows()
    assert compacted(lake, CompactionPolicy(files=1, portion_bytes=1)).commits > 1
    assert lake.rows() == before


def test_merges_go_on_after_a_compaction(lake: Lake) -> None:
    fill(lake)
    compacted(lake)
    outcome = lake.merge([lake.event("k000", "last", publish=90), lake.event("k007", "m0-7")])
    assert (outcome.updated, outcome.unchanged) == (1, 1)
    assert {r["idempotency_key"]: r["message_id"] for r in lake.rows()}["k000"] == "last"


def test_a_compaction_that_a_merge_overtakes_is_planned_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            lake.merge([lake.event("k000", "newer", publish=99)], catalog=lake.connect())
        return commit(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    compacted(lake)
    assert {r["idempotency_key"]: r["message_id"] for r in lake.rows()}["k000"] == "newer"
    assert len(lake.rows()) == 160


def test_a_merge_that_a_compaction_overtakes_deletes_in_the_new_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            compact(lake.connect(), lake.identifier, EVENT_RULE, run_id="tidy", policy=EVERYTHING)
        return commit(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    outcome = lake.merge([lake.event(f"k{n:03d}", "newer", publish=99) for n in range(20)])
    assert (outcome.attempts, outcome.updated) == (2, 20)
    rows = lake.rows()
    assert len(rows) == 160
    assert [r["message_id"] for r in rows[:20]] == ["newer"] * 20
    assert lake.duckdb_rows() == rows


def test_expiry_and_orphan_removal_leave_exactly_the_files_in_use(lake: Lake) -> None:
    fill(lake)
    compacted(lake)
    before = lake.rows()
    stray = f"{lake.table.location()}/data/left-by-a-crash.parquet".removeprefix("file://")
    with open(stray, "wb") as file:  # noqa: PTH123 - a stray file
        file.write(b"x")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    expired = expire_snapshots(lake.catalog, lake.identifier, older_than=later, keep_last=1)
    assert len(expired) == 6
    removed = remove_orphans(lake.catalog, lake.identifier, older_than=later)
    assert f"file://{stray}" in {orphan.path for orphan in removed}
    assert {orphan.size for orphan in removed if orphan.path.endswith(stray)} == {1}
    needed = {p.removeprefix("file://") for p in referenced_files(lake.table, _inline())}
    assert lake.files() == needed
    assert lake.rows() == before
    lake.merge([lake.event("k000", "last", publish=90)])
    assert len(lake.rows()) == 160


def test_statistics_of_partitions_are_no_orphans(lake: Lake) -> None:
    fill(lake, merges=1)
    path = f"{lake.table.location()}/metadata/partition-stats.parquet"
    with open(path.removeprefix("file://"), "wb") as file:  # noqa: PTH123 - as another engine writes it
        file.write(b"x")
    snapshot = lake.snapshot.snapshot_id
    statistics = PartitionStatisticsFile.model_validate(
        {"snapshot-id": snapshot, "statistics-path": path, "file-size-in-bytes": 1}
    )
    lake.catalog.commit_table(
        lake.table, (), (SetPartitionStatisticsUpdate.model_validate({"partition-statistics": statistics}),)
    )
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    assert path not in {o.path for o in remove_orphans(lake.catalog, lake.identifier, older_than=later)}
    assert path.removeprefix("file://") in lake.files()


def test_files_of_a_table_beside_are_no_orphans_and_it_may_go_or_be_made_anew_meanwhile(lake: Lake) -> None:
    """A rebuild is discarded, and another begun, while upkeep works on the live table (seed 72794)."""
    fill(lake, merges=1)
    data = f"{lake.table.location()}/data"
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)

    def made() -> str:
        """A table beside, with one file where the live table's lie."""
        properties = {"write.data.path": data}
        beside = lake.catalog.create_table("lake.beside", lake.table.schema(), properties=properties)
        beside.append(lake.table.scan().to_arrow().slice(0, 1))
        (task,) = beside.scan().plan_files()
        return task.file.file_path

    def orphans() -> set[str]:
        found = find_orphans(lake.table, later, ["lake.beside"])
        return {orphan.path.removeprefix("file://") for orphan in found}

    assert orphans() == set()
    first = made().removeprefix("file://")
    assert first in lake.files()
    assert orphans() == set()
    lake.catalog.drop_table("lake.beside")
    second = made().removeprefix("file://")
    assert orphans() == {first}
    assert second in lake.files()


@pytest.mark.parametrize("anew", [False, True])
def test_a_table_beside_that_is_removed_while_its_files_are_read_is_not_there(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    fill(lake, merges=1)
    made = [lake.catalog.create_table("lake.beside", lake.table.schema())]
    made[0].append(lake.table.scan().to_arrow().slice(0, 1))
    manifests = Snapshot.manifests

    def removed_first(snapshot: Snapshot, io: FileIO) -> Any:
        monkeypatch.undo()
        lake.catalog.drop_table("lake.beside")
        Path(snapshot.manifest_list.removeprefix("file://")).unlink()
        if anew:
            made.append(lake.catalog.create_table("lake.beside", lake.table.schema()))
        return manifests(snapshot, io)

    monkeypatch.setattr(Snapshot, "manifests", removed_first)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    assert find_orphans(lake.table, later, ["lake.beside"]) == []
    assert Snapshot.manifests is manifests, "nothing came between"
    assert len(made) == 1 + anew


def test_files_that_a_table_beside_lacks_are_said_and_nothing_is_removed(lake: Lake) -> None:
    fill(lake, merges=1)
    beside = lake.catalog.create_table("lake.beside", lake.table.schema())
    beside.append(lake.table.scan().to_arrow().slice(0, 1))
    snapshot = beside.current_snapshot()
    assert snapshot is not None
    Path(snapshot.manifest_list.removeprefix("file://")).unlink()
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    before = lake.files()
    with pytest.raises(FileNotFoundError):
        remove_orphans(lake.catalog, lake.identifier, older_than=later, also_used_by=["lake.beside"])
    assert lake.files() == before


def test_young_files_are_never_orphans(lake: Lake) -> None:
    fill(lake, merges=1)
    before = lake.files()
    hour_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    assert remove_orphans(lake.catalog, lake.identifier, older_than=hour_ago) == []
    assert lake.files() == before


def test_time_that_is_up_leaves_the_rest_for_the_next_time(lake: Lake) -> None:
    fill(lake)
    turns = iter([True, True, False])
    some = compact(
        lake.catalog,
        lake.identifier,
        EVENT_RULE,
        run_id="tidy",
        policy=CompactionPolicy(files=1, portion_bytes=1),
        go_on=lambda: next(turns),
    )
    assert some.commits == 2
    assert compacted(lake).commits == 1


def test_what_upkeep_foresees_is_what_it_does(lake: Lake) -> None:
    fill(lake)
    before = lake.rows()
    policy = UpkeepPolicy(EVERYTHING, dt.timedelta(0), 1, dt.timedelta(0))
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    foreseen = foresee(lake.catalog, lake.identifier, now=later, policy=policy)
    assert foreseen.after == foreseen.before == shape(lake.table)
    done = keep_up(lake.catalog, lake.identifier, EVENT_RULE, run_id="tidy", now=later, policy=policy)
    assert (done.compacted_files, done.delete_files_dropped) == (
        foreseen.compacted_files,
        foreseen.delete_files_dropped,
    )
    assert done.finished
    assert (done.after.most_in_a_partition, done.after.delete_files, done.after.snapshots) == (1, 0, 1)
    assert done.orphans_removed >= done.before.data_files
    assert lake.rows() == before
    again = foresee(lake.catalog, lake.identifier, now=later, policy=policy)
    assert (again.compacted_files, again.snapshots_expired, again.orphans_removed) == (0, 0, 0)


def test_raw_is_compacted_too_and_read_on_from_the_checkpoint_before(tmp_path: Path) -> None:
    root = tmp_path
    catalog = SqlCatalog("t", uri=f"sqlite:///{root}/c.db", warehouse=f"file://{root}")
    catalog.create_namespace("lake")
    raw = TableSpec.load(SPECIFICATIONS, "raw").create(catalog, "lake.raw_t")
    for turn in range(8):
        rows = {"message_id": f"m{turn}", "publish_time": dt.datetime(2026, 1, 1, turn, tzinfo=dt.UTC)}
        raw.append(pa.Table.from_pylist([rows], schema=raw.schema().as_arrow()))
    third = raw.snapshots()[2]
    since = SourceCheckpoint(third.snapshot_id, third.sequence_number or 0)
    outcome = compact(catalog, "lake.raw_t", EVENT_RULE, run_id="tidy")
    assert (outcome.files_replaced, outcome.files_written) == (8, 1)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    expired = expire_snapshots(
        catalog, "lake.raw_t", older_than=later, keep_last=1, still_read=[third.snapshot_id]
    )
    assert len(expired) == 2
    remove_orphans(catalog, "lake.raw_t", older_than=later)
    raw.refresh()
    portion = new_appends(raw, since, Bounds(10**6, 10**9))
    ids: list[Any] = [i for batch in read(raw, portion) for i in batch["message_id"].to_pylist()]
    assert sorted(ids) == [f"m{turn}" for turn in range(3, 8)]
    assert portion.fallback is None
    assert raw.scan().to_arrow().num_rows == 8
    catalog.close()


def test_an_expiry_that_a_merge_overtakes_is_decided_anew(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise CommitFailedException("somebody was first")
        return commit(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    assert len(expire_snapshots(lake.catalog, lake.identifier, older_than=later, keep_last=1)) == 5
    assert len(calls) == 2


def test_a_snapshot_that_a_reader_continues_from_survives_with_all_later_ones(lake: Lake) -> None:
    fill(lake, merges=5)
    snapshots = [s.snapshot_id for s in lake.table.snapshots()]
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    expired = expire_snapshots(
        lake.catalog,
        lake.identifier,
        older_than=later,
        keep_last=1,
        still_read=[snapshots[3], snapshots[2], 17],
    )
    assert sorted(expired) == sorted(snapshots[:2])


def test_many_merges_leave_few_files_a_partition_and_few_manifests_without_maintenance(lake: Lake) -> None:
    for turn in range(48):
        lake.merge(
            [lake.event(f"new-{turn}-{n}", f"m{turn}-{n}", publish=turn / 4) for n in range(12)]
            + [lake.event(f"new-{turn // 2}-{n}", f"c{turn}-{n}", publish=turn / 4) for n in range(3)]
        )
    files = Counter(str(t.file.partition) for t in lake.table.scan().plan_files())
    assert max(files.values()) <= 8
    assert len(lake.rows()) == 48 * 12
    assert len(lake.snapshot.manifests(lake.table.io)) <= 64


def _inline() -> Any:
    class Inline:
        map = staticmethod(map)

    return Inline()


def alike(lake: Lake, batches: Any, rows: int = 400) -> None:
    """Merges of rows that are almost nothing in Parquet: one long text stands for all of a file."""
    for turn in range(batches):
        keys = range(turn * rows, (turn + 1) * rows)
        lake.merge([lake.event(f"k{n:05d}", f"m{n}", leaf="x" * 2000) for n in keys])


def decoded(table: Table) -> Any:
    """What each live file that a compaction wrote takes in memory, measured."""
    files = [t.file for t in table.scan().plan_files() if ".decoded-" in t.file.file_path]
    return [sum(b.nbytes for b in read_files(table, [FileScanTask(f)])) for f in files]


@pytest.mark.parametrize("target_size", ["536870912", "20000"])
def test_rows_that_parquet_makes_tiny_are_compacted_by_what_they_take_in_memory_and_once(
    lake: Lake, target_size: int
) -> None:
    with lake.table.transaction() as change:
        change.set_properties({"write.target-file-size-bytes": target_size})
    alike(lake, 6)
    before = lake.rows()
    policy = CompactionPolicy(files=1, group_bytes=600_000, held_bytes=1_200_000)
    done = compacted(lake, policy)
    assert done.files_written < done.files_replaced
    assert compacted(lake, policy).commits == 0
    sizes = decoded(lake.table)
    assert max(sizes) <= 2 * policy.group_bytes
    named = [t.file.file_path for t in lake.table.scan().plan_files() if ".decoded-" in t.file.file_path]
    assert [int(path.partition(".decoded-")[2].split(".")[0]) for path in named] == pytest.approx(
        sizes, rel=0.2
    )
    assert lake.rows() == before


def test_a_file_with_deletes_that_is_larger_than_a_group_goes_through_in_pieces(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 1)
    monkeypatch.setattr(reading, "MOST_STEP_ROWS", 64)
    lake.merge([lake.event(f"k{n:05d}", f"m{n}", leaf=str(n)) for n in range(3000)])
    lake.merge([lake.event(f"k{n:05d}", f"c{n}", publish=800) for n in range(0, 3000, 7)])
    before = lake.rows()
    done = compacted(lake, CompactionPolicy(files=100, group_bytes=1))
    assert done.files_written == done.files_replaced > 0
    assert lake.rows() == before
    assert lake.duckdb_rows() == before
    assert not any(t.delete_files for t in lake.table.scan().plan_files())


def test_a_file_that_takes_far_more_than_its_footer_says_stays_as_it_is(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike(lake, 3)
    monkeypatch.setattr(compaction, "decoded_size", lambda _table, _file: 1)
    before = lake.files()
    done = compacted(lake, CompactionPolicy(files=1, group_bytes=10))
    assert (done.commits, done.files_replaced) == (0, 0)
    assert {f for f in lake.files() if f.endswith(".parquet")} == {
        f for f in before if f.endswith(".parquet")
    }


def test_what_a_compaction_wrote_is_not_looked_into_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike(lake, 3)
    compacted(lake)
    looked: list[DataFile] = []

    def decoded_size(_table: Table, file: DataFile) -> int:
        looked.append(file)
        return 1

    monkeypatch.setattr(compaction, "decoded_size", decoded_size)
    compacted(lake, CompactionPolicy(files=0))
    assert looked == []


@settings(
    max_examples=cases(5),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    merges=st.lists(
        st.tuples(st.integers(1, 60), st.integers(0, 3000), st.integers(0, 60)), min_size=1, max_size=5
    ),
    group=st.sampled_from([1, 5_000, 60_000, 10**6]),
    files=st.integers(0, 3),
)
@example(merges=[(49, 132, 57), (49, 181, 28), (5, 3000, 51), (7, 130, 38)], group=1, files=2)
def test_any_table_is_compacted_to_an_end_and_never_into_as_many_files(
    lake_factory: Callable[[], Lake], merges: list[tuple[int, int, int]], group: int, files: int
) -> None:
    lake = lake_factory()
    for turn, (rows, width, first) in enumerate(merges):
        lake.merge(
            [
                lake.event(f"k{first + n}", f"m{turn}", publish=turn, leaf="ab"[turn % 2] * width)
                for n in range(rows)
            ]
        )
    before = lake.rows()
    policy = CompactionPolicy(files=files, group_bytes=group, held_bytes=2 * group, portion_bytes=4 * group)
    while True:
        before_it = work_left(lake.table)
        if not compact(
            lake.catalog, lake.identifier, EVENT_RULE, run_id="t", policy=policy, go_on=Once()
        ).commits:
            break
        assert work_left(lake.table) < before_it
    assert lake.rows() == before
    shutil.rmtree(lake.root)


def work_left(table: Table) -> int:
    """Files, and pairs of a file and a delete file that applies to it."""
    tasks = list(table.scan().plan_files())
    return len(tasks) + sum(len(task.delete_files) for task in tasks)


class Once:
    """Lets one portion be compacted."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        return self.asked == 1
