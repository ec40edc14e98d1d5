"""Rows of two rules with no key in common: merged beside each other they leave what two merges would.

Semantic is merged so: rows of Curated by their number, and older versions that stand in by theirs.
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.lake.checkpoints import SourceCheckpoint
from common.lake.history import committed
from common.lake.merge import Beside, MergeOutcome, StagedSource, merge
from common.lake.rule import SOURCE_RULE, VERSION_RULE, MergeRule
from common.runtime.errors import InternalFault

from ....support.generated import cases
from ....support.lake import LocalLake

START = datetime(2026, 1, 15, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "idempotency_key": pa.string(),
    "message_id": pa.string(),
    "period_reference": pa.string(),
    "publish_time": pa.timestamp("us", "UTC"),
    "ingestion_ts": pa.timestamp("us", "UTC"),
    "_source_merge_seq": pa.int64(),
    "_tombstone": pa.bool_(),
}
Row = tuple[str, int, int, int, bool]
"""Key, number, hour of publication, second of ingestion, whether it removes."""


@pytest.fixture
def semantics(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], LocalLake]:
    return lambda: LocalLake(tmp_path_factory.mktemp("lake"), ["semantic"], topic="t")


def staged(rows: Sequence[Row], rule: MergeRule, budget: int = 256) -> StagedSource:
    """A source of rows; with a budget of 0 it goes to disk."""
    found = [
        {
            "idempotency_key": key,
            "message_id": f"m{number}",
            "period_reference": f"{START + timedelta(hours=hour):%Y-%m}",
            "publish_time": START + timedelta(hours=hour),
            "ingestion_ts": START + timedelta(seconds=second),
            "_source_merge_seq": number,
            "_tombstone": removes,
        }
        for key, number, hour, second, removes in rows
    ]
    return StagedSource.of(pa.Table.from_pylist(found, schema=pa.schema(COLUMNS)).to_batches(), rule, budget)


def merged(
    lake: LocalLake,
    source: StagedSource,
    beside: Beside | None = None,
    checkpoint: SourceCheckpoint | None = None,
) -> MergeOutcome:
    with source:
        return merge(
            lake.catalog,
            lake.identifier("semantic"),
            source,
            checkpoint=checkpoint,
            run_id="r",
            evolve=False,
            beside=beside,
        )


def left(lake: LocalLake) -> list[Any]:
    return [{n: v for n, v in row.items() if n != "_merge_seq"} for row in lake.rows("semantic")]


def rows_of(keys: str) -> st.SearchStrategy[list[Row]]:
    return st.lists(
        st.tuples(
            st.sampled_from(keys),
            st.integers(1, 6),
            st.sampled_from([0, 1, 30, 24 * 20]),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=8,
    )


def counts(outcome: Any) -> tuple[int, ...]:
    return outcome.inserted, outcome.updated, outcome.unchanged, outcome.removed


@settings(max_examples=cases(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(
        st.one_of(
            st.tuples(rows_of("abcdef"), rows_of("ghij")), st.tuples(rows_of("ghij"), rows_of("abcdef"))
        ),
        min_size=1,
        max_size=4,
    ),
    budgets=st.tuples(st.sampled_from([0, 256]), st.sampled_from([0, 256])),
)
def test_what_is_merged_beside_is_as_if_merged_after(
    semantics: Callable[[], LocalLake], rounds: Any, budgets: tuple[int, int]
) -> None:
    """Keys change sides from round to round, as a key of Semantic does whose newest version was refused."""
    together, apart = semantics(), semantics()
    for numbered, versions in rounds:
        with staged(versions, VERSION_RULE, budgets[1]) as beside:
            done = merged(together, staged(numbered, SOURCE_RULE, budgets[0]), beside=Beside(beside))
        first = merged(apart, staged(numbered, SOURCE_RULE))
        second = merged(apart, staged(versions, VERSION_RULE))
        assert left(together) == left(apart)
        assert counts(done) == counts(first)
        assert counts(done.beside) == counts(second)
        assert done.committed == (first.committed or second.committed)
    for lake in (together, apart):
        shutil.rmtree(lake.root)


def test_both_sources_are_in_the_one_commit_with_the_checkpoint(semantics: Callable[[], LocalLake]) -> None:
    lake = semantics()
    with staged([("b", 7, 1, 0, False)], VERSION_RULE) as beside:
        done = merged(
            lake,
            staged([("a", 1, 0, 0, False)], SOURCE_RULE),
            beside=Beside(beside),
            checkpoint=SourceCheckpoint(5, 5),
        )
    table = lake.table("semantic")
    [snapshot] = table.metadata.snapshots
    assert snapshot.summary is not None
    entry = committed(table)
    assert entry is not None
    assert entry.token == "5"
    assert (done.inserted, done.beside.inserted) == (1, 1)
    assert snapshot.summary["lean-ops.inserted"] == "2"


def test_a_key_in_both_is_refused_and_nothing_is_written(semantics: Callable[[], LocalLake]) -> None:
    """By two rules it would be decided twice, and stand twice."""
    lake = semantics()
    rows: list[Row] = [("a", 1, 0, 0, False), ("b", 1, 0, 0, False)]
    with staged(rows[:1], VERSION_RULE) as beside, pytest.raises(InternalFault, match="found one in two"):
        merged(lake, staged(rows, SOURCE_RULE), beside=Beside(beside))
    assert left(lake) == []


@pytest.mark.parametrize("budget", [0, 256], ids=["on disk", "in memory"])
def test_both_sources_are_planned_again_when_another_writer_was_first(
    semantics: Callable[[], LocalLake], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    """The other writer has newer rows of a key of each: neither is overcome."""
    lake = semantics()
    commit = lake.catalog.commit_table

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.undo()
        merged(lake, staged([("a", 9, 0, 0, False)], SOURCE_RULE))
        merged(lake, staged([("b", 1, 30, 0, False)], VERSION_RULE))
        return commit(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    numbered: list[Row] = [("a", 1, 0, 0, False), ("c", 1, 0, 0, False)]
    versions: list[Row] = [("b", 7, 1, 0, False), ("d", 7, 1, 0, False)]
    with staged(versions, VERSION_RULE, budget) as beside:
        done = merged(lake, staged(numbered, SOURCE_RULE, budget), beside=Beside(beside))
    assert done.attempts == 2
    assert (done.inserted, done.unchanged, done.beside.inserted, done.beside.unchanged) == (1, 1, 1, 1)
    assert [(row["idempotency_key"], row["_source_merge_seq"]) for row in left(lake)] == [
        ("a", 9), ("b", 1), ("c", 1), ("d", 7),
    ]  # fmt: skip
