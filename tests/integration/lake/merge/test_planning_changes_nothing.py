"""A plan is a value: on one snapshot a shard has one, and making it touches neither disk nor catalog.

So shards may be planned and written by anybody, in any order, if one commit takes what all of them wrote.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.lake.checkpoints import SourceCheckpoint
from common.lake.history import committed
from common.lake.merge.engine import to_commit
from common.lake.merge.livefiles import LiveFile, live_files
from common.lake.merge.planning import Basis, Part, plan, plan_deletes
from common.lake.merge.positions import ExistingDeletes
from common.lake.merge.source import widened
from common.lake.merge.target import Target
from common.lake.merge.writing import Written, write
from common.lake.rule import EVENT_RULE

from ....support.generated import cases
from .conftest import Lake


@contextmanager
def basis_of(lake: Lake, *, whole: bool) -> Iterator[Any]:
    """What a merge into the table as it is would be planned on."""
    table = lake.table
    with ThreadPoolExecutor(2) as pool:
        yield Basis(
            live_files(table, pool),
            ExistingDeletes(table.io, pool),
            pool,
            evolve=True,
            whole=whole,
            limit=2**28,
        )


def target_of(lake: Lake, schema: pa.Schema) -> Any:
    return widened(Target.check(lake.table, EVENT_RULE), schema, EVENT_RULE, evolve=True)


def planned(lake: Lake, events: list[dict[str, Any]]) -> Any:
    """The plans of a merge of events, made from nothing but the table as it is."""
    rows = lake.reader(events).read_all()
    with basis_of(lake, whole=True) as basis:
        of_shard = plan(basis, target_of(lake, rows.schema), Part(rows, EVENT_RULE))
        rewritten = frozenset(r.file.path for part in of_shard.partitions for r in part.rewrites)
        return of_shard, plan_deletes(basis, of_shard.deleted, rewritten)


def plain(value: Any) -> Any:
    """A plan as lists and dictionaries, by which two can be compared."""
    found: Any
    match value:
        case Target():
            found = value.table.metadata_location, value.schema, value.added, value.notes
        case LiveFile():
            found = value.path, value.delete_paths
        case pa.Table():
            found = value.to_pylist()
        case np.ndarray():
            found = value.tolist()
        case Mapping():
            found = {name: plain(part) for name, part in value.items()}
        case tuple():
            found = [plain(part) for part in value]
        case _ if is_dataclass(value):
            found = {f.name: plain(getattr(value, f.name)) for f in fields(value)}
        case _:
            found = value
    return found


def state(lake: Lake) -> Any:
    """What readers and writers see: the catalog's pointer, and every file with its content."""
    metadata = lake.connect().load_table(lake.identifier).metadata_location
    return metadata, {path: Path(path).read_bytes() for path in lake.files()}


def merged_often(lake: Lake) -> None:
    """A table that merges left with deletes, and with so many files that the next one takes some along."""
    for number in range(5):
        lake.merge([lake.event(f"k{i}", f"m{number}", publish=number) for i in range(number, 20)])
    lake.merge([lake.event(f"j{i}", publish=72) for i in range(200)])
    lake.merge(corrections(lake, range(0, 200, 9)))


def corrections(lake: Lake, numbers: Iterable[int]) -> Any:
    return [lake.event(f"j{i}", "corrected", publish=73) for i in numbers]


def test_the_same_rows_on_the_same_snapshot_have_the_same_plan_and_nothing_is_touched(lake: Lake) -> None:
    merged_often(lake)
    events = [lake.event(f"k{i}", "new", publish=i % 3 * 4, leaf="x") for i in range(0, 30, 2)]
    events += corrections(lake, range(1, 200, 9))
    before = state(lake)
    first, second = planned(lake, events), planned(lake, events)
    assert plain(first) == plain(second)
    assert state(lake) == before
    of_shard, deletes = first
    assert of_shard.deleted
    assert any(part.rewrites for part in of_shard.partitions)
    assert deletes.files
    assert deletes.replaced


@settings(max_examples=cases(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from([0, 1, 30, 24 * 20])),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_a_plan_counts_is_what_its_merge_does(lake_factory: Callable[[], Lake], batches: Any) -> None:
    """Planned twice beforehand, a merge gives the numbers of the plan."""
    lake = lake_factory()
    for batch in batches:
        events = [lake.event(f"k{key}", f"m{message}", publish=hour) for key, message, hour in batch]
        (of_shard, deletes), again = planned(lake, events), planned(lake, events)
        assert plain((of_shard, deletes)) == plain(again)
        outcome = lake.merge(events)
        [counts] = of_shard.counts
        assert {f.name: getattr(outcome, f.name) for f in fields(counts)} == plain(counts)
        assert outcome.delete_files == len(deletes.files)
        assert outcome.rewritten_files == sum(len(part.rewrites) for part in of_shard.partitions)
    shutil.rmtree(lake.root)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=str)
def test_shards_planned_before_any_is_written_are_one_commit_in_any_order(
    lake: Lake, order: list[int]
) -> None:
    merged_often(lake)
    before = {row["idempotency_key"]: row["message_id"] for row in lake.rows()}
    events = [lake.event(f"k{i}", "new", publish=6 + i % 3, leaf="x") for i in range(30)]
    events += corrections(lake, range(1, 200, 9))
    rows = lake.reader(events).read_all()
    target = target_of(lake, rows.schema)
    with basis_of(lake, whole=False) as basis:
        thirds = [rows.take(list(range(n, rows.num_rows, 3))) for n in range(3)]
        plans = [plan(basis, target, Part(third, EVENT_RULE)) for third in thirds]
        written = Written.together(write(plans[n], basis.pool, basis.limit) for n in order)
        done = to_commit(basis, target, written, SourceCheckpoint(7, 7), {})
        assert done.commit is not None
        done.commit.commit(lake.catalog, done.commit.stage())
    assert {row["idempotency_key"]: row["message_id"] for row in lake.rows()} == before | {
        event["idempotency_key"]: event["message_id"] for event in events
    }
    assert lake.duckdb_rows() == lake.rows()
    assert (done.result.rows_read, done.result.inserted) == (len(events), 10)
    assert done.result.updated == len(events) - 10
    entry = committed(lake.table)
    assert entry is not None
    assert entry.token == "7"
