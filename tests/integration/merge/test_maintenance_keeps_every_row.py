import datetime as dt
from collections import Counter

import pytest

from common.checkpoints import MERGE_SEQ, RUN_ID, SOURCE_TOKEN, SourceCheckpoint
from common.deduplication import EVENT_RULE
from common.maintenance import CompactionPolicy, compact, expire_snapshots, referenced_files, remove_orphans
from common.merge import committing

EVERYTHING = CompactionPolicy(files=1)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(committing, "FIRST_WAIT_S", 0.0)


def fill(lake, merges=6, keys=160):
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


def compacted(lake, policy=EVERYTHING):
    return compact(lake.catalog, lake.identifier, EVENT_RULE, run_id="tidy", policy=policy)


def test_compaction_leaves_one_file_a_partition_no_deletes_and_the_same_rows(lake):
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


def test_compaction_carries_the_checkpoint_on_and_changes_no_data(lake):
    fill(lake, merges=3)
    compacted(lake)
    snapshot = lake.table.current_snapshot()
    assert snapshot.summary.operation.value == "replace"
    assert (snapshot.summary[SOURCE_TOKEN], snapshot.summary[MERGE_SEQ]) == ("102", "3")
    assert snapshot.summary[RUN_ID] == "tidy"
    assert snapshot.summary["total-records"] == "160"
    assert "total-position-deletes" not in snapshot.summary.additional_properties or (
        snapshot.summary["total-position-deletes"] == "0"
    )


def test_a_tidy_table_is_not_compacted_again(lake):
    fill(lake)
    first = compacted(lake)
    again = compacted(lake)
    assert (again.commits, again.snapshot_id) == (0, first.snapshot_id)


def test_portions_are_commits_of_their_own(lake):
    fill(lake)
    before = lake.rows()
    assert compacted(lake, CompactionPolicy(files=1, portion_bytes=1)).commits > 1
    assert lake.rows() == before


def test_merges_go_on_after_a_compaction(lake):
    fill(lake)
    compacted(lake)
    outcome = lake.merge([lake.event("k000", "last", publish=90), lake.event("k007", "m0-7")])
    assert (outcome.updated, outcome.unchanged) == (1, 1)
    assert {r["idempotency_key"]: r["message_id"] for r in lake.rows()}["k000"] == "last"


def test_a_compaction_that_a_merge_overtakes_is_planned_again(lake, monkeypatch):
    fill(lake)
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments):
        calls.append(1)
        if len(calls) == 1:
            lake.merge([lake.event("k000", "newer", publish=99)], catalog=lake.connect())
        return commit(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    compacted(lake)
    assert {r["idempotency_key"]: r["message_id"] for r in lake.rows()}["k000"] == "newer"
    assert len(lake.rows()) == 160


def test_a_merge_that_a_compaction_overtakes_deletes_in_the_new_files(lake, monkeypatch):
    fill(lake)
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments):
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


def test_expiry_and_orphan_removal_leave_exactly_the_files_in_use(lake):
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
    assert f"file://{stray}" in removed
    needed = {p.removeprefix("file://") for p in referenced_files(lake.table, _inline())}
    assert lake.files() == needed
    assert lake.rows() == before
    lake.merge([lake.event("k000", "last", publish=90)])
    assert len(lake.rows()) == 160


def test_young_files_are_never_orphans(lake):
    fill(lake, merges=1)
    before = lake.files()
    hour_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    assert remove_orphans(lake.catalog, lake.identifier, older_than=hour_ago) == []
    assert lake.files() == before


def test_a_snapshot_that_a_reader_continues_from_survives_with_all_later_ones(lake):
    fill(lake, merges=5)
    snapshots = [s.snapshot_id for s in lake.table.snapshots()]
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    expired = expire_snapshots(
        lake.catalog, lake.identifier, older_than=later, keep_last=1, still_read=snapshots[2]
    )
    assert sorted(expired) == sorted(snapshots[:2])


def test_many_merges_leave_few_files_a_partition_and_few_manifests_without_maintenance(lake):
    for turn in range(48):
        lake.merge(
            [lake.event(f"new-{turn}-{n}", f"m{turn}-{n}", publish=turn / 4) for n in range(12)]
            + [lake.event(f"new-{turn // 2}-{n}", f"c{turn}-{n}", publish=turn / 4) for n in range(3)]
        )
    files = Counter(str(t.file.partition) for t in lake.table.scan().plan_files())
    assert max(files.values()) <= 8
    assert len(lake.rows()) == 48 * 12
    assert len(lake.table.current_snapshot().manifests(lake.table.io)) <= 64


def _inline():
    class Inline:
        map = staticmethod(map)

    return Inline()
