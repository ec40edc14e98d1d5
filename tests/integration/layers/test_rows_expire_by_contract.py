"""Days that are past leave every layer in one commit that writes no data, and nothing of them comes back."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.snapshots import Operation

from common.contract.retention import Retention
from common.lake.closing import CLOSED_BEFORE, closed_before
from common.lake.history import said_by
from common.lake.merge import committing
from common.lake.specifications import LAYERS, TableSpec
from common.lake.upkeep import CompactionPolicy, RowRetention, drop_past
from common.runtime.errors import CommitConflict, TableMismatch
from common.runtime.retrying import RetryPolicy
from lean_ops.environment.repository import TABLE_SPECIFICATIONS

from ...support.contracts import up_to
from ...support.oracle import Event
from ...support.topic import DELETE, TopicLake, event

STRICT = up_to(99)
NEVER = CompactionPolicy(files=10**9, deleted_share=1.0)
DAY = 24 * 60
KEPT = 20
"""Days."""
ALL = Retention(dict.fromkeys(LAYERS, KEPT))


def on(day: int, key: str, message: str = "m", value: object = 1, second: int = 0) -> Event:
    """An event of the afternoon of a day after the first of June."""
    return event(key, message, DAY * day + 16 * 60, value, second)


def evening(day: int) -> datetime:
    """Upkeep's time: so many days after the first of June, when the days before are past."""
    return datetime(2026, 6, 1, 20, tzinfo=UTC) + timedelta(days=day)


def when_past(day: int) -> datetime:
    """The first evening on which a day is past."""
    return evening(day + KEPT + 1)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "RETRY", RetryPolicy(attempts=6, base_s=0.0))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[TopicLake]:
    lake = TopicLake(tmp_path, STRICT)
    lake.retention = ALL
    yield lake
    lake.close()


def keys(lake: TopicLake, layer: str) -> set[str]:
    return {row["idempotency_key"] for row in lake.rows(layer)}


def data_files(lake: TopicLake) -> dict[Path, int]:
    return {p: p.stat().st_size for p in lake.root.rglob("*.parquet")}


def test_a_day_that_is_past_leaves_every_layer_and_no_data_is_written(lake: TopicLake) -> None:
    lake.run(*(on(day, f"k{day}-{n}") for day in range(3) for n in range(4)), on(0, "bad", value="bad"))
    before = data_files(lake)
    done = lake.keep_up(when_past(0), compaction=NEVER)
    assert {layer: one.past.rows for layer, one in done.items()} == {
        "raw": 5,
        "curated": 5,
        "semantic": 4,
        "quarantine": 1,
    }
    assert data_files(lake) == before
    for layer in LAYERS:
        assert not {key for key in keys(lake, layer) if key.startswith("k0") or key == "bad"}, layer
        snapshot = lake.table(layer).current_snapshot()
        assert snapshot is not None
        assert snapshot.summary is not None
        assert snapshot.summary.operation is Operation.DELETE
    assert keys(lake, "semantic") == {f"k{day}-{n}" for day in (1, 2) for n in range(4)}


def test_all_shards_of_a_day_go_in_one_commit(lake: TopicLake) -> None:
    lake.run(*(on(0, f"k{n}") for n in range(40)), on(1, "stays"))
    commits = len(lake.table("curated").snapshots())
    past = lake.keep_up(when_past(0), ["curated"], compaction=NEVER)["curated"].past
    assert (past.partitions > 10, past.rows) == (True, 40)
    assert len(lake.table("curated").snapshots()) == commits + 1


def test_a_day_stays_until_it_is_past_as_a_whole(lake: TopicLake) -> None:
    lake.run(on(0, "k"))
    assert lake.keep_up(evening(KEPT))["curated"].past.rows == 0
    assert lake.keep_up(when_past(0))["curated"].past.rows == 1


def test_upkeep_says_when_more_will_be_past(lake: TopicLake) -> None:
    lake.run(on(0, "a"), on(3, "b"))
    first = datetime(2026, 6, 2, tzinfo=UTC) + timedelta(days=KEPT)
    assert lake.keep_up(evening(1))["curated"].past.next_at_s == first.timestamp()
    assert lake.keep_up(first)["curated"].past.rows == 1
    assert lake.keep_up(when_past(3))["curated"].past.next_at_s == 0


def test_a_dry_run_says_what_would_go_and_changes_nothing(lake: TopicLake) -> None:
    lake.run(on(0, "k"), on(1, "l"))
    before = {layer: lake.table(layer).metadata for layer in LAYERS}
    foreseen = lake.keep_up(when_past(0), dry_run=True)
    assert {layer: lake.table(layer).metadata for layer in LAYERS} == before
    done = lake.keep_up(when_past(0), compaction=NEVER)
    assert {layer: one.past for layer, one in done.items()} == {
        layer: one.past for layer, one in foreseen.items()
    }
    assert foreseen["curated"].past.bytes > 0


def test_without_a_retention_everything_stays(lake: TopicLake) -> None:
    lake.retention = Retention({"raw": KEPT})
    lake.run(on(0, "k"))
    lake.keep_up(when_past(0))
    assert [keys(lake, layer) for layer in ("raw", "curated", "semantic")] == [set(), {"k"}, {"k"}]


def test_checkpoints_outlive_the_drop(lake: TopicLake) -> None:
    lake.run(on(0, "k"), on(1, "l"))
    lake.keep_up(when_past(0))
    lake.append([on(2, "m")])
    read = lake.run_curation(lake.raw_read)
    assert (read.fallback, read.rows_read) == (None, 1)
    lake.settle()
    assert keys(lake, "semantic") == {"l", "m"}


def test_delete_files_of_a_day_go_with_it(lake: TopicLake) -> None:
    lake.run(*(on(0, f"k{n}", "a") for n in range(50)))
    lake.run(*(on(1, f"k{n}", "b", 2) for n in range(0, 50, 7)))
    assert lake.keep_up(evening(2), ["curated"], dry_run=True)["curated"].before.delete_files > 0
    after = lake.keep_up(when_past(0), ["curated"], compaction=NEVER)["curated"].after
    assert after.delete_files == 0
    assert keys(lake, "curated") == {f"k{n}" for n in range(0, 50, 7)}


# Nothing of a dropped day comes back: the newest version of a key is in it, an older one comes by.
NEWEST, OLDER, OLDEST = on(3, "k", "new", 3), on(2, "k", "older", 2), on(1, "k", "oldest", 1)


def late(lake: TopicLake) -> None:
    lake.run(OLDER)


def read_again(lake: TopicLake) -> None:
    lake.raw_read = lake.published = None
    lake.settle()


def rolled_back(lake: TopicLake) -> None:
    for layer in ("curated", "semantic"):
        lake.roll_back(layer, 99)
    lake.run(OLDER)
    lake.keep_up(when_past(3))


def judged_again(lake: TopicLake) -> None:
    lake.run(OLDER, on(1, "k", "bad", "bad"))
    lake.judge_again()
    lake.settle()


def kept_for_longer(lake: TopicLake) -> None:
    lake.retention = Retention(dict.fromkeys(LAYERS, 3 * KEPT))
    lake.run(OLDER)
    lake.keep_up(when_past(3))
    lake.run(OLDEST)


@pytest.mark.parametrize("happens", [late, read_again, rolled_back, judged_again, kept_for_longer])
@pytest.mark.parametrize("first", [[NEWEST], [OLDEST, NEWEST], [on(3, "k", "gone", DELETE)]])
def test_an_older_version_does_not_come_back_when_the_newest_is_past(
    lake: TopicLake, first: list[Event], happens: Callable[[TopicLake], None]
) -> None:
    lake.run(*first, on(9, "other"))
    lake.keep_up(when_past(3))
    assert keys(lake, "curated") == {"other"}
    happens(lake)
    assert [keys(lake, layer) for layer in ("curated", "semantic")] == [{"other"}, {"other"}]


@pytest.mark.parametrize("newest", [NEWEST, on(3, "k", "gone", DELETE)], ids=["upsert", "delete"])
def test_raw_that_kept_an_older_version_longer_brings_nothing_back(lake: TopicLake, newest: Event) -> None:
    lake.retention = Retention({"raw": 3 * KEPT, "curated": KEPT, "semantic": KEPT, "quarantine": KEPT})
    lake.run(OLDEST, newest, on(9, "other"))
    lake.keep_up(when_past(3))
    read_again(lake)
    assert keys(lake, "raw") == {"k", "other"}
    assert [keys(lake, layer) for layer in ("curated", "semantic")] == [{"other"}, {"other"}]


def test_a_tombstone_stays_while_curated_keeps_rows_for_good_whatever_raw_has_dropped(
    lake: TopicLake,
) -> None:
    lake.retention = Retention({"raw": KEPT})
    lake.run(OLDEST, on(3, "k", "gone", DELETE), on(9, "other"))
    lake.keep_up(when_past(3))
    assert keys(lake, "raw") == {"other"}
    lake.run(OLDER)
    read_again(lake)
    assert lake.versions("curated").keys() == {"other"}
    assert keys(lake, "semantic") == {"other"}


def test_a_newer_version_of_a_key_that_was_dropped_is_a_row_like_any_other(lake: TopicLake) -> None:
    lake.run(NEWEST)
    lake.keep_up(when_past(3))
    again = on(9, "k", "again", 9)
    lake.run(again)
    assert lake.semantic() == {"k": ("again", again["publish_time"], 9)}


def test_a_late_row_is_left_out_and_counted(lake: TopicLake) -> None:
    lake.run(on(0, "a"), on(9, "b"))
    lake.keep_up(when_past(0))
    lake.append([on(0, "late"), on(9, "in time")])
    merged = lake.run_curation(lake.raw_read).merge
    assert merged is not None
    assert (merged.rows_read, merged.past, merged.inserted) == (2, 1, 1)
    snapshot = lake.table("curated").current_snapshot()
    assert said_by(snapshot)["lean-ops.past"] == "1"


def test_a_run_of_late_rows_alone_commits_nothing(lake: TopicLake) -> None:
    lake.run(on(0, "a"), on(9, "b"))
    lake.keep_up(when_past(0))
    before = lake.table("curated").current_snapshot()
    lake.run(on(0, "late"))
    assert lake.table("curated").current_snapshot() == before


def test_a_late_event_is_refused_with_its_reason_where_the_contract_says_so(lake: TopicLake) -> None:
    lake.retention = Retention(ALL.days, refuses_late=True)
    late = {**on(0, "late"), "ingestion_ts": when_past(0)}
    lake.run(on(0, "in time"), late, {**on(1, "just in time"), "ingestion_ts": when_past(0)})
    assert keys(lake, "curated") == {"in time", "just in time"}
    (letter,) = lake.letters
    assert letter.row["idempotency_key"].to_pylist() == ["late"]
    assert letter.found == (
        "expected an event of the 20 days that its contract keeps rows for, found an older one"
    )
    # Reading RAW again refuses what was late, and nothing that came in time.
    lake.keep_up(when_past(0), ["curated", "semantic"])
    read_again(lake)
    assert {one.row["idempotency_key"][0].as_py() for one in lake.letters} == {"late"}
    assert keys(lake, "curated") == {"just in time"}


def test_a_merge_that_upkeep_overtakes_is_planned_again_without_what_is_past(
    lake: TopicLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.run(NEWEST, on(9, "other"))
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            rows = RowRetention(KEPT, when_past(3))
            drop_past(lake.connect(), lake.identifier("curated"), rows, run_id="upkeep")
        return commit(*arguments)

    lake.append([OLDER, on(3, "k", "newer", 4, second=9), on(9, "third")])
    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    merged = lake.run_curation(lake.raw_read).merge
    assert merged is not None
    assert (merged.attempts, merged.past) == (2, 2)
    assert keys(lake, "curated") == {"other", "third"}


def test_a_drop_that_a_merge_overtakes_is_planned_again(
    lake: TopicLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.run(on(0, "a"), on(9, "b"))
    commit, calls = lake.catalog.commit_table, []

    def overtaken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            lake.run(on(9, "c"), on(0, "d"))
        return commit(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    rows = RowRetention(KEPT, when_past(0))
    assert drop_past(lake.catalog, lake.identifier("curated"), rows, run_id="upkeep").rows == 2
    assert keys(lake, "curated") == {"b", "c"}


def test_a_drop_that_others_overtake_every_time_drops_nothing_and_is_done_the_next_time(
    lake: TopicLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.run(on(0, "a"), on(9, "b"))
    rows = RowRetention(KEPT, when_past(0))
    with monkeypatch.context() as patch:

        def lost(*_arguments: Any) -> Any:
            raise CommitFailedException

        patch.setattr(lake.catalog, "commit_table", lost)
        with pytest.raises(CommitConflict):
            drop_past(lake.catalog, lake.identifier("curated"), rows, run_id="upkeep")
    assert keys(lake, "curated") == {"a", "b"}
    assert closed_before(lake.table("curated")) is None
    assert drop_past(lake.catalog, lake.identifier("curated"), rows, run_id="upkeep").rows == 1


def test_raw_keeps_what_curated_has_not_read(lake: TopicLake) -> None:
    lake.run(on(0, "read"))
    lake.append([on(0, "unread")])
    done = lake.keep_up(when_past(0), compaction=NEVER)["raw"].past
    assert (done.rows, done.held_back_rows) == (1, 1)
    tomorrow = datetime.combine(when_past(1).date(), datetime.min.time(), UTC)
    assert done.next_at_s == tomorrow.timestamp()
    lake.settle()
    assert lake.keep_up(when_past(0))["raw"].past.rows == 1
    assert keys(lake, "raw") == set()


def test_raw_keeps_what_a_rollback_of_curated_would_read_again(lake: TopicLake) -> None:
    lake.retention = Retention({"raw": KEPT})
    lake.run(on(9, "first"))
    lake.run(on(0, "late, and merged since"))
    assert lake.keep_up(when_past(0), compaction=NEVER)["raw"].past.held_back_rows == 1
    lake.roll_back("curated", 1)
    lake.published = None
    lake.settle()
    assert keys(lake, "curated") == {"first", "late, and merged since"}
    # Once that state can be gone back to no more, nothing holds the row.
    lake.keep_up(when_past(0), snapshots_for=timedelta(days=-9999), snapshots_at_least=1)
    lake.keep_up(when_past(0))
    assert keys(lake, "raw") == {"first"}


def test_what_a_compaction_wrote_after_it_was_read_goes_too(lake: TopicLake) -> None:
    lake.run(on(0, "a"))
    lake.run(on(0, "b"))
    lake.compact_raw()
    lake.keep_up(when_past(0), ["curated", "semantic"], snapshots_for=timedelta(days=-9999))
    assert lake.keep_up(when_past(0))["raw"].past.rows == 2


def test_no_snapshot_keeps_alive_what_was_dropped(lake: TopicLake) -> None:
    lake.run(on(0, "a"))
    lake.run(on(9, "b"))
    lake.keep_up(when_past(0))
    # Quiet tables keep their last ten snapshots, but not for rows that are past.
    gone = timedelta(days=-9999)
    lake.keep_up(when_past(0), snapshots_for=gone, orphans_for=gone)
    assert all(len(lake.table(layer).snapshots()) == 1 for layer in ("curated", "semantic"))
    assert all(b"m" in p.read_bytes() for p in data_files(lake))
    live = {
        task.file.file_path.removeprefix("file://")
        for layer in ("curated", "semantic")
        for task in lake.table(layer).scan().plan_files()
    }
    assert {str(p) for p in data_files(lake) if "raw_t" not in str(p)} == live


def test_a_row_without_a_time_is_never_dropped(lake: TopicLake) -> None:
    timeless = {**on(0, "k"), "publish_time": None}
    lake.append([timeless, on(0, "l")])
    lake.retention = Retention({"raw": KEPT})
    drop_past(lake.catalog, lake.identifier("raw"), RowRetention(KEPT, when_past(0)), run_id="r")
    assert keys(lake, "raw") == {"k"}


def test_a_damaged_mark_is_named_and_nothing_is_merged(lake: TopicLake) -> None:
    lake.run(on(0, "a"))
    with lake.table("curated").transaction() as change:
        change.set_properties({CLOSED_BEFORE: "yesterday"})
    lake.append([on(1, "b")])
    with pytest.raises(TableMismatch, match="closed-before: expected a time with offset"):
        lake.curate()


class QuietLake(TopicLake):
    """The tables of a topic of low volume: partitions are months and periods."""

    def create(self, layer: str, identifier: str = "") -> None:
        spec = TableSpec.load(TABLE_SPECIFICATIONS, layer, low_volume=True)
        if layer == "semantic":
            spec = spec.with_columns(STRICT.semantic_columns())
        spec.create(self.catalog, identifier or self.identifier(layer))


def test_of_a_topic_of_low_volume_a_row_goes_with_the_youngest_of_its_file(tmp_path: Path) -> None:
    lake = QuietLake(tmp_path)
    lake.retention = ALL
    lake.run(on(0, "a"), on(5, "b"))
    lake.run(on(31, "c"))
    assert lake.keep_up(when_past(0), ["curated", "semantic"])["curated"].past.rows == 0
    assert lake.keep_up(when_past(5), ["curated", "semantic"])["curated"].past.rows == 2
    lake.run(on(4, "b", "older"), on(31, "d"))
    assert [keys(lake, layer) for layer in ("curated", "semantic")] == [{"c", "d"}, {"c", "d"}]
    lake.close()
