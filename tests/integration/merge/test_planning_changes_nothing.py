"""A plan is a value: on one snapshot a shard has one, and making it touches neither disk nor catalog."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.lake.merge.livefiles import LiveFile, live_files
from common.lake.merge.planning import Basis, plan, plan_deletes
from common.lake.merge.positions import ExistingDeletes
from common.lake.merge.source import widened
from common.lake.merge.target import Target
from common.lake.rule import EVENT_RULE

from ...support.generated import cases


def planned(lake, events):
    """The plans of a merge of events, made from nothing but the table as it is."""
    table = lake.table
    rows = lake.reader(events).read_all()
    with ThreadPoolExecutor(2) as pool:
        basis = Basis(
            EVENT_RULE,
            live_files(table, pool),
            ExistingDeletes(table.io, pool),
            pool,
            history=None,
            evolve=True,
            whole=True,
            limit=2**28,
        )
        target = widened(Target.check(table, EVENT_RULE), rows.schema, evolve=True)
        of_shard = plan(basis, target, rows)
        rewritten = frozenset(r.file.path for part in of_shard.partitions for r in part.rewrites)
        return of_shard, plan_deletes(basis, of_shard.deleted, rewritten)


def plain(value):
    """A plan as lists and dictionaries, by which two can be compared."""
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


def state(lake):
    """What readers and writers see: the catalog's pointer, and every file with its content."""
    metadata = lake.connect().load_table(lake.identifier).metadata_location
    return metadata, {path: Path(path).read_bytes() for path in lake.files()}


def merged_often(lake):
    """A table that merges left with deletes, and with so many files that the next one takes some along."""
    for number in range(5):
        lake.merge([lake.event(f"k{i}", f"m{number}", publish=number) for i in range(number, 20)])
    lake.merge([lake.event(f"j{i}", publish=72) for i in range(200)])
    lake.merge(corrections(lake, range(0, 200, 9)))


def corrections(lake, numbers):
    return [lake.event(f"j{i}", "corrected", publish=73) for i in numbers]


def test_the_same_rows_on_the_same_snapshot_have_the_same_plan_and_nothing_is_touched(lake):
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
def test_what_a_plan_counts_is_what_its_merge_does(lake_factory, batches):
    """Planned twice beforehand, a merge gives the numbers of the plan."""
    lake = lake_factory()
    for batch in batches:
        events = [lake.event(f"k{key}", f"m{message}", publish=hour) for key, message, hour in batch]
        (of_shard, deletes), again = planned(lake, events), planned(lake, events)
        assert plain((of_shard, deletes)) == plain(again)
        outcome = lake.merge(events)
        counted = {f.name: getattr(outcome, f.name) for f in fields(of_shard.counts)}
        assert counted == plain(of_shard.counts)
        assert outcome.delete_files == len(deletes.files)
        assert outcome.rewritten_files == sum(len(part.rewrites) for part in of_shard.partitions)
    shutil.rmtree(lake.root)
