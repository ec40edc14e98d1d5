"""Tasks die, others commit meanwhile: the table is whole, with its checkpoint, and no file is left."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.lake.history import last_merge
from common.lake.merge import committing
from common.lake.rule import EVENT_RULE
from common.lake.upkeep import CompactionPolicy, compact
from common.lake.upkeep.retention import find_orphans
from common.runtime.errors import ServiceFailure, TableMismatch
from common.runtime.retrying import RetryPolicy

from ..support.topic import TopicLake, event
from .dying import Dying, Full, Late


@pytest.fixture
def lake(tmp_path: Path) -> TopicLake:
    """A topic of which Curated has something already, and RAW more."""
    return begun(tmp_path / "lake")


def begun(folder: Path) -> TopicLake:
    folder.mkdir()
    lake = TopicLake(folder)
    lake.append([event(f"k{i}", f"m{i}", i, i, i) for i in range(40)])
    lake.curate()
    lake.append([event(f"k{i}", f"n{i}", i + 1, i, i) for i in range(20, 80)])
    return lake


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "RETRY", RetryPolicy(attempts=6, base_s=0.0))


def unreferenced(lake: TopicLake) -> list[str]:
    """Files of the table that nothing refers to."""
    return [found.path for found in find_orphans(lake.table("curated"), datetime.now(UTC) + timedelta(1))]


def by_function(tmp_path: Path) -> list[dict[str, Any]]:
    """What the same events are in a lake of which functions alone have curated."""
    lake = begun(tmp_path / "other")
    lake.curate()
    return lake.rows("curated")


def as_work(dying: Dying) -> Any:
    """What a merge takes for its work."""
    return dying


def dying(monkeypatch: pytest.MonkeyPatch, folder: Path, times: int) -> None:
    """Let so many tasks of the next merges be killed when their files are written."""
    from spark.cluster import _Shards

    folder.mkdir()
    write = _Shards.write
    monkeypatch.setattr(
        _Shards, "write", lambda self, work, live: write(self, as_work(Dying(work, folder, times)), live)
    )


def test_a_killed_task_is_done_again_and_its_files_are_removed(
    lake: TopicLake, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(monkeypatch, tmp_path / "deaths", 2)
    done = lake.run_curation(lake.raw_read, staging=cluster.flatten)
    assert len(list((tmp_path / "deaths").iterdir())) == 2
    assert done.merge is not None
    assert done.merge.attempts == 1
    assert lake.rows("curated") == by_function(tmp_path)
    assert unreferenced(lake) == []


def test_a_task_that_dies_whenever_it_is_tried_leaves_the_table_as_it_was(
    lake: TopicLake, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lake.table("curated").metadata_location
    with monkeypatch.context() as patch:
        dying(patch, tmp_path / "deaths", 10**6)
        with pytest.raises(ServiceFailure, match="nothing was committed"):
            lake.run_curation(lake.raw_read, staging=cluster.flatten)
    assert lake.table("curated").metadata_location == before
    assert unreferenced(lake) == []
    lake.curate()  # the next run, by a function
    assert lake.rows("curated") == by_function(tmp_path)


def test_a_full_disk_leaves_the_table_as_it_was_and_a_function_goes_on(
    lake: TopicLake, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spark.cluster import _Shards

    before, write = lake.table("curated").metadata_location, _Shards.write
    with monkeypatch.context() as patch:
        full: Any = Full
        patch.setattr(_Shards, "write", lambda self, work, live: write(self, full(work), live))
        with pytest.raises(ServiceFailure, match="nothing was committed"):
            lake.run_curation(lake.raw_read, staging=cluster.flatten)
    assert lake.table("curated").metadata_location == before
    assert unreferenced(lake) == []
    lake.curate()
    assert lake.rows("curated") == by_function(tmp_path)


def test_a_task_that_writes_when_its_job_was_given_up_leaves_no_file(
    lake: TopicLake, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spark.cluster import _Shards

    folder, write = tmp_path / "late", _Shards.write
    folder.mkdir()
    with monkeypatch.context() as patch:
        late: Any = Late
        patch.setattr(_Shards, "write", lambda self, work, live: write(self, late(work, folder, 4), live))
        with pytest.raises(ServiceFailure, match="nothing was committed"):
            lake.run_curation(lake.raw_read, staging=cluster.flatten)
    # Whatever became of that task, and however long it took: nothing comes about any more.
    for _ in range(30):
        assert unreferenced(lake) == []
        time.sleep(0.1)
    lake.curate()
    assert lake.rows("curated") == by_function(tmp_path)


def test_upkeep_that_comes_between_is_planned_upon(
    lake: TopicLake, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the very files anew in which the shards have found the rows that they replace."""
    from spark.cluster import _Shards

    write, times = _Shards.write, list[int]()

    def with_upkeep(self: Any, work: Any, live: Any) -> Any:
        done = write(self, work, live)
        if not times:
            times.append(1)
            policy = CompactionPolicy(files=1)
            compact(lake.catalog, lake.identifier("curated"), EVENT_RULE, run_id="upkeep", policy=policy)
        return done

    # Two files a partition, so that there is something to put together.
    lake.append([event(f"k{i}", f"a{i}", i, i, i) for i in range(80, 120)])
    lake.curate()
    lake.append([event(f"k{i}", f"b{i}", i + 1, i, i) for i in range(100, 140)])
    monkeypatch.setattr(_Shards, "write", with_upkeep)
    done = lake.run_curation(lake.raw_read, staging=cluster.flatten)
    assert done.merge is not None
    assert done.merge.attempts == 2
    assert done.merge.committed
    monkeypatch.undo()
    keys = [row["idempotency_key"] for row in lake.rows("curated")]
    assert sorted(keys) == sorted({f"k{i}" for i in range(140)})
    assert {row["message_id"] for row in lake.rows("curated")} >= {f"b{i}" for i in range(100, 140)}
    assert unreferenced(lake) == []


def test_a_commit_that_a_function_made_meanwhile_is_planned_upon(
    lake: TopicLake, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spark.cluster import _Shards

    write = _Shards.write
    since = lake.raw_read

    def with_another(self: Any, work: Any, live: Any) -> Any:
        done = write(self, work, live)
        if lake.raw_read == since:
            lake.curate()  # the very same portion
        return done

    monkeypatch.setattr(_Shards, "write", with_another)
    done = lake.run_curation(since, staging=cluster.flatten)
    assert done.merge is not None
    assert (done.merge.attempts, done.merge.committed) == (2, False)
    assert lake.rows("curated") == by_function(tmp_path)
    merged = last_merge(lake.table("curated"))
    assert merged is not None
    assert merged[1] == 2
    assert unreferenced(lake) == []


def test_a_table_that_was_rolled_back_meanwhile_gets_nothing_and_the_next_run_everything(
    lake: TopicLake, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spark.cluster import _Shards

    write, since = _Shards.write, lake.raw_read
    merged = last_merge(lake.table("curated"))
    assert merged is not None
    lake.curate()  # so that there is something to go back behind
    lake.append([event(f"k{i}", f"o{i}", i + 2, i, i) for i in range(60, 100)])
    held = last_merge(lake.table("curated"))
    assert held is not None

    def with_rollback(self: Any, work: Any, live: Any) -> Any:
        done = write(self, work, live)
        lake.roll_back("curated", 1)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(_Shards, "write", with_rollback)
        with pytest.raises(TableMismatch, match="an earlier one the current one"):
            lake.run_curation(
                lake.raw_read, staging=cluster.flatten, target_snapshot=str(held[0].snapshot_id)
            )
    assert last_merge(lake.table("curated")) == merged
    assert unreferenced(lake) == []
    assert lake.raw_read == since  # as the table says
    lake.run_curation(lake.raw_read, staging=cluster.flatten, target_snapshot=str(merged[0].snapshot_id))
    assert {row["idempotency_key"] for row in lake.rows("curated")} == {f"k{i}" for i in range(100)}


def test_columns_that_only_a_tie_of_before_brings_are_agreed_upon(tmp_path: Path, cluster: Any) -> None:
    """A row is merged again from RAW that no task has read, with a leaf that the table has not."""

    folders = [tmp_path / name for name in ("plain", "spark")]
    for folder in folders:
        folder.mkdir()
    lakes = [TopicLake(folder) for folder in folders]
    tie = [event("k", message, 5, 1, second) for message, second in (("a", 9), ("b", 8))]
    tie[1] = {**tie[1], "json_payload": '{"value": 1, "late": 2}'}
    for lake in lakes:
        lake.append(tie)
        lake.curate()
        # The column is taken away by hand: its event, which lost, is in RAW alone.
        with lake.table("curated").update_schema(allow_incompatible_changes=True) as update:
            update.delete_column("late")
        # A copy of the winner with an earlier time of receipt hands the tie to the other message.
        lake.append([changed_time(tie[0], -5)])
    lakes[0].curate()
    lakes[1].run_curation(lakes[1].raw_read, staging=cluster.flatten)
    first, second = (lake.rows("curated") for lake in lakes)
    assert first == second
    assert first[0]["late"] == "2"
    assert unreferenced(lakes[1]) == []


def changed_time(one: dict[str, Any], seconds: int) -> dict[str, Any]:
    """The same event, received so much later."""
    return {**one, "ingestion_ts": one["ingestion_ts"] + timedelta(seconds=seconds)}
