"""Somebody makes an earlier snapshot current beside a run, by whatever tool: no row is left out for that.

A portion is read on from a checkpoint. Merged into a table that has gone back behind that checkpoint, it
would leave a gap that no later run closes: the commit says that everything before it is there.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.lake.checkpoints import NOTHING
from common.lake.history import last_merge, lineage
from common.lake.upkeep import CompactionPolicy
from common.lake.upkeep.retention import expire_snapshots
from common.runtime.errors import TableMismatch

from ...support.generated import cases
from ...support.topic import TopicLake, event


class LookedUpLake(TopicLake):
    """A topic whose runs begin with a look-up, as the state machine's do."""

    def look_up(self) -> None:
        """What the state machine hands to both jobs."""
        merged = last_merge(self.table("curated"))
        current = self.table("semantic").current_snapshot()
        self.curated_held = str(merged[0].snapshot_id) if merged else NOTHING
        self.semantic_held = str(current.snapshot_id) if current else NOTHING

    def curation(self) -> None:
        """The job of Curated, and its checkpoint recorded."""
        self.raw_read = self.run_curation(self.raw_read, target_snapshot=self.curated_held).checkpoint

    def publication(self) -> None:
        """The job of Semantic, and its checkpoint recorded."""
        assert self.contract is not None
        self.published = self.run_publication(
            self.contract, self.published, raw_read=self.raw_read, target_snapshot=self.semantic_held
        ).checkpoint

    def catch_up(self) -> None:
        """Runs until nothing is left, each with a look-up."""
        for _ in range(3):
            self.look_up()
            self.curation()
            self.look_up()
            self.publication()

    def keys(self, layer: str) -> set[str]:
        """Keys of a layer."""
        return {row["idempotency_key"] for row in self.rows(layer)}


@pytest.fixture
def lake(tmp_path: Path) -> LookedUpLake:
    """Two portions merged, and a third that waits."""
    return begun(tmp_path)


def begun(folder: Path, merged: int = 2) -> LookedUpLake:
    lake = LookedUpLake(folder)
    for number in range(merged):
        lake.append([event(f"k{number}", f"m{number}", number, number)])
        lake.catch_up()
    lake.append([event("late", "late", 50, 50)])
    lake.look_up()
    return lake


def with_curated(lake: LookedUpLake) -> Callable[[], None]:
    lake.curation()
    lake.look_up()
    return lake.publication


JOBS: dict[str, Callable[[LookedUpLake], Callable[[], None]]] = {
    "curated": lambda lake: lake.curation,
    "semantic": with_curated,
}


@pytest.mark.parametrize("layer", JOBS)
@pytest.mark.parametrize("when", ["before the job opens the table", "between its plan and its commit"])
@pytest.mark.parametrize("expired", [False, True])
def test_a_run_beside_a_rollback_commits_nothing_and_the_next_reads_everything(
    lake: LookedUpLake, layer: str, when: str, *, expired: bool
) -> None:
    job = JOBS[layer](lake)

    def go_back() -> None:
        lake.roll_back(layer, 1)
        if expired:  # by whoever keeps nothing but what is current
            table = lake.table(layer)
            gone = {known.snapshot_id for known in table.snapshots()} - {
                known.snapshot_id for known in lineage(table)
            }
            table.maintenance.expire_snapshots().by_ids(sorted(gone)).commit()

    with pytest.raises(TableMismatch, match="an earlier one the current one"):
        if when.startswith("before"):
            recorded = (lake.raw_read, lake.published)
            go_back()
            lake.raw_read, lake.published = recorded  # what the look-up had said
            job()
        else:
            lake.beside(job, go_back)
    assert "late" not in lake.keys(layer)
    lake.roll_back(layer, 0)  # the next look-up: the table says how far it is
    lake.catch_up()
    assert lake.keys(layer) == {"k0", "k1", "late"}


@pytest.mark.parametrize("layer", JOBS)
def test_a_table_that_is_made_anew_beside_a_run_gets_nothing_of_it(lake: LookedUpLake, layer: str) -> None:
    job = JOBS[layer](lake)

    def make_anew() -> None:
        lake.catalog.drop_table(lake.identifier(layer))
        lake.create(layer)

    with pytest.raises(TableMismatch, match="nothing was ever merged"):
        lake.beside(job, make_anew)
    assert lake.keys(layer) == set()
    if layer == "curated":  # no checkpoint of before speaks of this table
        lake.raw_read = None
    lake.published = None
    lake.catch_up()
    assert lake.keys(layer) == {"k0", "k1", "late"}


@pytest.mark.parametrize("layer", JOBS)
def test_what_only_goes_forward_is_in_nobodys_way(lake: LookedUpLake, layer: str) -> None:
    """Compaction, and expiry of the very snapshot that the look-up named."""
    job = JOBS[layer](lake)

    def keep_up() -> None:
        lake.keep_up(datetime.now(UTC), layers=[layer], compaction=CompactionPolicy(files=1))
        later = datetime(2099, 1, 1, tzinfo=UTC)
        expire_snapshots(lake.catalog, lake.identifier(layer), older_than=later, keep_last=1)

    lake.beside(job, keep_up)
    lake.catch_up()
    assert lake.keys(layer) == {"k0", "k1", "late"}


@settings(max_examples=cases(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    merged=st.integers(1, 3), steps=st.lists(st.sampled_from(["back", "forth", "job", "look"]), max_size=7)
)
def test_whatever_the_order_no_row_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, merged: int, steps: list[str]
) -> None:
    """Rollbacks, jobs of a look-up of whenever, and new events: in the end everything is there."""
    lake = begun(tmp_path_factory.mktemp("steps"), merged)
    keys = {f"k{number}" for number in range(merged)} | {"late"}
    for number, step in enumerate(steps):
        looked_up = lake.raw_read
        if step == "back":
            lake.roll_back("curated", 1)
            lake.raw_read = looked_up
        elif step == "forth":
            lake.append([event(f"new{number}", f"new{number}", 60 + number, number)])
            keys.add(f"new{number}")
        elif step == "look":
            lake.roll_back("curated", 0)
            lake.look_up()
        else:
            try:
                lake.curation()
                lake.look_up()
            except TableMismatch:
                lake.raw_read = looked_up
    lake.roll_back("curated", 0)
    lake.catch_up()
    assert lake.keys("curated") == keys
