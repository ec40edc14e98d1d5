"""Freshness, lag and missing records are what the tables really hold, on real Iceberg files."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from common.lake.checkpoints import MERGE_SEQ, Entry, SourceCheckpoint
from common.lake.freshness import curated_lag, newest_event, raw_lag
from common.lake.specifications import TableSpec
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from observation.arrival import SETTLED, Window, missing, rows

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Table]:
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    yield TableSpec.load(TABLE_SPECIFICATIONS, "raw").create(catalog, "lake.raw_events")
    catalog.close()


def append(table: Table, *ingested: datetime, **summary: str) -> None:
    """A commit of rows that were ingested at these times; published over two days, so in several files."""
    events = [
        {
            "message_id": f"m{number}",
            "idempotency_key": f"k{number}",
            "topic_name": "events",
            "period_reference": "2026-03",
            "publish_time": time - timedelta(days=number % 2),
            "ingestion_ts": time,
            "json_payload": "{}",
        }
        for number, time in enumerate(ingested)
    ]
    table.append(pa.Table.from_pylist(events, schema=table.schema().as_arrow()), snapshot_properties=summary)


def read_up_to(table: Table, files: int | None = None) -> Entry:
    current = table.current_snapshot()
    assert current is not None
    assert current.sequence_number is not None
    checkpoint = SourceCheckpoint(current.snapshot_id, current.sequence_number, files)
    return Entry(checkpoint.token, checkpoint.position, "1")


def committed(table: Table, number: int) -> datetime:
    """When the snapshot of that number (0 the oldest) was committed."""
    return datetime.fromtimestamp(table.snapshots()[number].timestamp_ms / 1e3, UTC)


def test_an_empty_table_has_no_newest_event_and_no_lag(raw: Table) -> None:
    assert newest_event(raw) is None
    assert raw_lag(raw, None, START) == timedelta(0)
    assert curated_lag(raw, None, START) == timedelta(0)


def test_the_newest_event_is_the_newest_of_the_last_commit_to_the_microsecond(raw: Table) -> None:
    append(raw, START, START - MINUTE)
    newest = START + timedelta(microseconds=123_457)
    append(raw, START - MINUTE, newest, START)
    assert newest_event(raw) == newest


def test_a_commit_without_rows_does_not_hide_the_newest_event(raw: Table) -> None:
    append(raw, START, START - MINUTE)
    raw.delete(f"publish_time < '{(START - timedelta(hours=12)).isoformat()}'")
    assert newest_event(raw) == START


def test_nothing_is_behind_once_everything_is_read(raw: Table) -> None:
    append(raw, START)
    assert raw_lag(raw, read_up_to(raw), datetime.now(UTC) + MINUTE) == timedelta(0)


def test_lag_is_the_age_of_the_oldest_commit_that_is_not_read(raw: Table) -> None:
    append(raw, START)
    since = read_up_to(raw)
    append(raw, START + MINUTE)
    append(raw, START + 2 * MINUTE)
    now = datetime.now(UTC) + 7 * MINUTE
    assert raw_lag(raw, since, now) == now - committed(raw, 1)


def test_a_topic_that_was_never_read_is_behind_since_its_first_commit(raw: Table) -> None:
    append(raw, START)
    append(raw, START)
    now = datetime.now(UTC) + MINUTE
    assert raw_lag(raw, None, now) == now - committed(raw, 0)


def test_a_commit_that_was_read_in_part_still_counts(raw: Table) -> None:
    append(raw, START, START)
    now = datetime.now(UTC) + MINUTE
    assert raw_lag(raw, read_up_to(raw, files=1), now) == now - committed(raw, 0)


def test_a_checkpoint_whose_snapshot_is_gone_leaves_all_that_is_kept_to_read(raw: Table) -> None:
    append(raw, START)
    gone = Entry("1", f"{1:015d}.999999", "1")
    now = datetime.now(UTC) + MINUTE
    assert raw_lag(raw, gone, now) == now - committed(raw, 0)


def test_semantic_is_behind_by_merges_and_not_by_what_maintenance_committed(raw: Table) -> None:
    append(raw, START, **{MERGE_SEQ: "1"})
    done = read_up_to(raw)
    append(raw, START)  # no merge
    now = datetime.now(UTC) + MINUTE
    assert curated_lag(raw, done, now) == timedelta(0)
    append(raw, START, **{MERGE_SEQ: "2"})
    append(raw, START, **{MERGE_SEQ: "3"})
    assert curated_lag(raw, done, now) == now - committed(raw, 2)
    assert curated_lag(raw, None, now) == now - committed(raw, 0)


@pytest.mark.parametrize("bounds", ["full", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_rows_of_a_window_are_counted_exactly_whatever_files_they_are_in(
    raw: Table, seed: int, bounds: str
) -> None:
    draw = random.Random(seed)
    with raw.transaction() as change:
        change.set_properties({"write.metadata.metrics.column.ingestion_ts": bounds})
    times: list[datetime] = []
    for _ in range(6):
        begin = START + timedelta(seconds=draw.randint(0, 7200))
        batch = [begin + timedelta(seconds=draw.randint(0, 900)) for _ in range(draw.randint(1, 40))]
        append(raw, *batch)
        times += batch
    for _ in range(8):
        since = START + timedelta(minutes=draw.randint(-30, 120))
        window = Window(since, since + timedelta(minutes=draw.choice([5, 60])))
        assert rows(raw, window) == sum(window.since <= time < window.until for time in times)


def test_an_edge_belongs_to_the_window_that_it_begins(raw: Table) -> None:
    append(raw, START, START + MINUTE)
    assert rows(raw, Window(START, START + MINUTE)) == 1
    assert rows(raw, Window(START + MINUTE, START + 2 * MINUTE)) == 1


def test_commits_from_before_the_window_are_not_opened(raw: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    append(raw, START)
    after = datetime.now(UTC) + timedelta(hours=1)

    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a manifest of an old commit was opened")

    monkeypatch.setattr("pyiceberg.manifest.ManifestFile.fetch_manifest_entry", never)
    assert rows(raw, Window(after, after + MINUTE)) == 0


def test_the_window_ends_once_everything_must_have_arrived() -> None:
    window = Window.settled(START + timedelta(seconds=42))
    assert window.until == START - SETTLED
    assert window.until - window.since == timedelta(hours=1)


@pytest.mark.parametrize(
    ("accepted", "in_raw", "refused", "late", "said"),
    [
        (100, 100, 0, 0, 0),
        (100, 97, 0, 0, 3),
        (100, 90, 10, 0, 0),  # in the error prefix, not lost
        (100, 80, 0, 20, 0),  # from the queue's backlog, perhaps still buffered
        (100, 101, 0, 0, 0),  # a repetition
    ],
)
def test_missing_is_what_nothing_else_explains(
    accepted: int, in_raw: int, refused: int, late: int, said: int
) -> None:
    assert missing(accepted, in_raw, refused, late) == said
