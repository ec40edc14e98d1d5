from typing import Any

import pyarrow.parquet as pq

from common.lake.checkpoints import MERGE_SEQ, RUN_ID, SOURCE_SNAPSHOT_ID, SourceCheckpoint

from .conftest import Lake


def test_new_rows_corrections_and_new_columns_arrive_in_one_snapshot(lake: Lake) -> None:
    first = lake.merge([lake.event("a", "m1"), lake.event("b", "m2")])
    second = lake.merge(
        [lake.event("b", "m3", publish=30, color="red"), lake.event("c", "m4", color="blue")],
        checkpoint=SourceCheckpoint(2**62 + 1, 7),
        run_id="run-2",
    )
    assert len(lake.table.history()) == 2
    assert (first.inserted, second.inserted, second.updated) == (2, 1, 1)
    assert second.new_columns == ("color",)
    assert [(r["idempotency_key"], r["message_id"], r["color"], r["_merge_seq"]) for r in lake.rows()] == [
        ("a", "m1", None, 1),
        ("b", "m3", "red", 2),
        ("c", "m4", "blue", 2),
    ]
    summary = lake.summary
    assert lake.snapshot.snapshot_id == second.snapshot_id
    assert summary[SOURCE_SNAPSHOT_ID] == str(2**62 + 1)
    assert (summary[RUN_ID], summary[MERGE_SEQ]) == ("run-2", "2")
    assert summary["total-records"] == "3"


def test_a_correction_that_changes_partition_leaves_its_old_partition(lake: Lake) -> None:
    lake.merge([lake.event("a", "m1", publish=0)])
    lake.merge([lake.event("a", "m2", publish=24 * 40)])
    assert [(r["message_id"], r["period_reference"]) for r in lake.rows()] == [("m2", "2026-02")]


def test_an_older_event_never_overwrites_a_newer_row(lake: Lake) -> None:
    lake.merge([lake.event("a", "m2", publish=5)])
    outcome = lake.merge([lake.event("a", "m1", publish=1, ingestion=9)])
    assert (outcome.committed, outcome.unchanged) == (False, 1)
    assert [r["message_id"] for r in lake.rows()] == ["m2"]


def test_a_replay_commits_nothing_and_writes_no_file(lake: Lake) -> None:
    events = [lake.event("a", "m1"), lake.event("b", "m2", publish=3)]
    first = lake.merge(events)
    before = lake.files()
    again = lake.merge(events)
    assert not again.committed
    assert (again.snapshot_id, again.merge_seq, again.unchanged) == (first.snapshot_id, 1, 2)
    assert lake.files() == before


def test_an_empty_source_changes_nothing_in_an_empty_table(lake: Lake) -> None:
    outcome = lake.merge([])
    assert (outcome.committed, outcome.snapshot_id, outcome.merge_seq) == (False, None, 0)


def test_pyiceberg_and_duckdb_read_the_same_rows_after_deletes_on_deletes(lake: Lake) -> None:
    lake.merge([lake.event(f"k{i}", f"m{i}", publish=i % 2) for i in range(40)])
    lake.merge([lake.event(f"k{i}", f"n{i}", publish=i % 2 + 1) for i in range(0, 40, 2)])
    lake.merge([lake.event(f"k{i}", f"o{i}", publish=i + 50) for i in range(0, 40, 3)])
    assert int(lake.summary["total-position-deletes"] or 0) > 0
    rows = lake.rows()
    assert len(rows) == 40
    assert lake.duckdb_rows() == rows
    expected = {f"k{i}": f"o{i}" if i % 3 == 0 else f"n{i}" if i % 2 == 0 else f"m{i}" for i in range(40)}
    assert {r["idempotency_key"]: r["message_id"] for r in rows} == expected


def test_data_files_are_sorted_by_key_and_carry_bloom_filters_and_exact_sizes(lake: Lake) -> None:
    lake.merge([lake.event(f"k{i % 997}", f"m{i}", publish=0, ingestion=i) for i in range(2000)])
    for task in lake.table.scan().plan_files():
        path = task.file.file_path.removeprefix("file://")
        keys: list[Any] = pq.read_table(path, partitioning=None)["idempotency_key"].to_pylist()
        assert keys == sorted(keys)
        with open(path, "rb") as file:  # noqa: PTH123 - the length of what is on disk
            assert len(file.read()) == task.file.file_size_in_bytes
        chunks = pq.ParquetFile(path).metadata.row_group(0)
        column: Any = chunks.column(chunks.num_columns - 1)
        assert column.path_in_schema == "idempotency_key", "what decides lies last"
        assert column.bloom_filter_offset is not None
        assert column.compression == "ZSTD"
