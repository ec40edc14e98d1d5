"""Generated histories on real Iceberg tables, against one pass over all events in plain Python.

Read back by pyiceberg and DuckDB, and where it is installed (``make bench-spark``) by Spark.
"""

import importlib.util
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ....support.generated import cases
from ....support.oracle import single_pass
from .conftest import Lake

BENCHMARKS = Path(__file__).parents[3] / "benchmarks" / "merge"
COLUMNS = ("idempotency_key", "message_id", "publish_time", "ingestion_ts", "leaf")


def visible(row: dict[str, Any]) -> Any:
    return tuple(row[column] for column in COLUMNS)


@st.composite
def batches_of_events(draw: st.DrawFn) -> Any:
    """(key, message, publish hour, ingestion second): corrections move between days and months, and tie.

    Few different ids make some of them used again, by another key or at another time.
    """
    ids = draw(st.integers(1, 12))
    keys = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12))
    events = [
        (key, f"m{number % ids}", publish, draw(st.integers(0, 5)))
        for number, key in enumerate(keys)
        for publish in [draw(st.sampled_from([0, 1, 30, 24 * 20]))]
        for _ in range(draw(st.integers(1, 3)))
    ]
    events = draw(st.permutations(events))
    cuts = sorted(draw(st.sets(st.integers(1, len(events)), max_size=3)))
    batches = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    return [*batches, *draw(st.lists(st.sampled_from(batches), max_size=1))]


def apply(lake: Lake, batches: Any, budget: int) -> Any:
    """Merge the batches one after the other; gives the rows that one pass over all of them leaves."""
    seen: list[dict[str, Any]] = []

    def history(keys: Any, publish_times: Any) -> Any:
        wanted = set(zip(keys.to_pylist(), publish_times.to_pylist(), strict=True))
        found = [e for e in seen if (e["idempotency_key"], e["publish_time"]) in wanted]
        return pa.Table.from_batches(lake.reader(found), lake.reader(found).schema)

    for batch in batches:
        events = [lake.event(k, m, publish=p, ingestion=i, leaf=f"{k}-{m}") for k, m, p, i in batch]
        seen += events
        lake.merge(events, history=history, memory_budget_mb=budget)
    expected = single_pass(seen)
    return [visible(expected[k]) for k in sorted(expected)]


@settings(
    max_examples=cases(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=batches_of_events(), budget=st.sampled_from([0, 256]))
def test_any_split_order_and_replay_gives_the_rows_of_a_single_pass(
    lake_factory: Callable[[], Lake], batches: Any, budget: int
) -> None:
    lake = lake_factory()
    expected = apply(lake, batches, budget)
    assert [visible(r) for r in lake.rows()] == expected
    assert [visible(r) for r in lake.duckdb_rows()] == expected
    shutil.rmtree(lake.root)


def random_batches(chance: random.Random) -> Any:
    """Longer histories than hypothesis draws: 40 keys, 6 batches, events out of order, copies and ties."""
    events = []
    for number in range(120):
        key, publish = f"k{chance.randrange(40):02d}", chance.choice([0, 1, 30, 24 * 20])
        copies = chance.choice([1, 1, 1, 2])
        events += [(key, f"m{number % 80:03d}", publish, chance.randrange(6)) for _ in range(copies)]
    chance.shuffle(events)
    return [events[first : first + 25] for first in range(0, len(events), 25)]


def spark_parts() -> Any:
    """Where Spark is, as the benchmarks find it."""
    spec = importlib.util.spec_from_file_location("spark_parts", BENCHMARKS / "spark_parts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_spark_reads_the_same_rows(lake_factory: Callable[[], Lake]) -> None:
    spark = spark_parts()
    if spark.missing():
        pytest.skip(f"reading 40 generated histories back with Spark {spark.missing()}")
    lake, expected = lake_factory(), {}
    lake.catalog.drop_table(lake.identifier)
    for number in range(40):
        lake.identifier = f"lake.history_{number}"
        lake.create()
        expected[lake.identifier] = apply(lake, random_batches(random.Random(number)), 256)
        assert [visible(r) for r in lake.rows()] == expected[lake.identifier]
    found = spark.run(
        "spark_read.py", lake.catalog, lake.root, {"tables": list(expected), "columns": list(COLUMNS)}
    )
    as_text = {t: [[str(v) for v in row] for row in rows] for t, rows in found.items()}
    assert as_text == {t: [[as_spark(v) for v in row] for row in rows] for t, rows in expected.items()}


def as_spark(value: Any) -> Any:
    """A value as ``spark_read.py`` prints it: times in microseconds."""
    return str(value) if isinstance(value, str) else str(round(value.timestamp() * 1_000_000))
