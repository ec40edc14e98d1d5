"""What Snowflake lacks follows from the file that it has read and the times that the table keeps."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.readers.sql_api import SnowflakeUnreachable
from common.readers.staleness import Behind, behind, seen_by

from ...support.topic import TopicLake, event


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def metadata(files: list[tuple[str, int]], snapshots: list[int]) -> dict[str, Any]:
    return {
        "metadata-log": [{"metadata-file": name, "timestamp-ms": ms} for name, ms in files],
        "snapshot-log": [{"snapshot-id": ms, "timestamp-ms": ms} for ms in snapshots],
    }


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
def test_every_commit_after_the_file_that_was_read_is_lacking(
    commits: list[bool], data: st.DataObject
) -> None:
    """``commits``: whether each new metadata file came with a snapshot; one a second, file n at n seconds."""
    files = [(f"s3://lake/t/{n}.metadata.json", n * 1000) for n in range(len(commits))]
    snapshots = [n * 1000 for n, one in enumerate(commits) if one]
    read = data.draw(st.integers(0, len(commits) - 1))
    found = behind(files[-1][0], metadata(files[:-1], snapshots), files[read][0].replace("s3://", "s3gov://"))
    lacking = [ms for ms in snapshots if ms > read * 1000]
    assert found == Behind(len(lacking), at(lacking[0]) if lacking else None)


def test_a_file_that_the_table_has_forgotten_is_older_than_all_that_it_remembers() -> None:
    found = behind("s3://l/9", metadata([("s3://l/7", 7000), ("s3://l/8", 8000)], [7500, 8500]), "s3://l/1")
    assert found == Behind(2, at(7000), at_least=True)


def test_a_table_without_snapshots_lacks_nothing() -> None:
    assert behind("s3://l/1", metadata([], []), "s3://l/0") == Behind(0, None)


def test_it_reads_the_metadata_that_is_really_written(tmp_path: Path) -> None:
    lake = TopicLake(tmp_path)
    lake.run(event("a", "m1", 0, 1))
    read = lake.table("semantic").metadata_location
    lake.run(event("b", "m2", 0, 1))
    table = lake.table("semantic")
    written = table.metadata.model_dump(mode="json", by_alias=True)
    found = behind(table.metadata_location, written, read)
    assert found.snapshots == 1
    assert found.since == at(table.snapshots()[-1].timestamp_ms)
    assert behind(table.metadata_location, written, table.metadata_location) == Behind(0, None)
    lake.close()


class Api:
    def __init__(self, *rows: dict[str, str | None]) -> None:
        self.rows = rows

    def run(self, statement: str, bindings: dict[str, str]) -> list[dict[str, str | None]]:
        assert "SYSTEM$GET_ICEBERG_TABLE_INFORMATION(?)" in statement
        assert bindings == {"1": "lean_ops.semantic.semantic_events"}
        return list(self.rows)


def test_snowflakes_answer_is_the_example_of_its_page() -> None:
    """``{"metadataLocation":"s3://…","status":"success"}``."""
    api = cast("Any", Api({"information": '{"metadataLocation":"s3://l/m.json","status":"success"}'}))
    assert seen_by(api, "lean_ops.semantic.semantic_events") == "s3://l/m.json"


@pytest.mark.parametrize("rows", [(), ({"information": None},), ({"information": "[]"},), ({"other": "{}"},)])
def test_another_answer_is_nobody_knows(rows: tuple[dict[str, str | None], ...]) -> None:
    with pytest.raises(SnowflakeUnreachable, match="expected the metadata file"):
        seen_by(cast("Any", Api(*rows)), "lean_ops.semantic.semantic_events")
