"""pyiceberg, DuckDB, Trino (the engine of Athena) and Spark give the same rows of every table.

One history on one stack, in the order of the tests: corrections over months, new columns, a topic of low
volume, deletes, refused rows, more fields than columns, compaction, expiry, rebuilds, an erasure, a rollback,
a repair by SQL. After each, all rows of all tables and views, and of all snapshots, are compared. How Java
reads metadata is tested by the way. Where Spark cannot run, the others are compared, and one test says why.
"""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from lean_ops.accounts import observation
from lean_ops.environment import lake
from lean_ops.local.target import LocalTarget
from lean_ops.local.trino import Trino

from ..support.pipeline import LeanOps
from . import spark as spark_engine
from .spark import Spark

NOW: Final = datetime.now(UTC).replace(microsecond=123456)
KEYS: Final = 24
COMPARED: Final = set[tuple[str, int]]()
"""Snapshots never change: each is read once, after the step that made it."""
VIEWS: Final = ("history_events", "curated_events_current", "semantic_events_current")
Sql = Callable[[str], tuple[list[str], list[tuple[Any, ...]]]]
Rows = Counter[tuple[tuple[str, Any], ...]]


def message(number: int, turn: int, **more: Any) -> str:
    payload = {
        "device": {"id": f"d{number}", "type": more.pop("device_type", "pump")},
        "reading": {"value": number + turn / 8, "unit": "bar", "quality": "good"},
        "käse ☃": "☃",
        **more.pop("payload", {}),
    }
    at = NOW - timedelta(days=3 * number % 80, minutes=-turn)
    event = {"message_id": f"m{number}-{turn}", "idempotency_key": f"k{number}", "topic_name": "events"}
    event |= {"publish_time": at.isoformat(), "period_reference": at.strftime("%Y-%m")}
    return json.dumps(event | ({"operation": "delete"} if more.get("delete") else {"payload": payload}))


def reading(number: int, turn: int) -> str:
    """Of a weather station, an hour later each; ``turn`` is a correction of the same hour."""
    at = NOW - timedelta(days=20 * number)
    payload = {"station": {"id": f"s{number}"}, "temperature_f": 50.5 + turn}
    event = {"message_id": f"w{number}-{turn}", "idempotency_key": f"w{number}", "topic_name": "weather"}
    return json.dumps(
        event | {"publish_time": (at + timedelta(seconds=turn)).isoformat(), "payload": payload}
    )


def deliver(target: LocalTarget, lean_ops: LeanOps, *bodies: str, topic: str = "events") -> None:
    url = target.queue_url(target.source_queue)
    for body in bodies:
        target.client("sqs").send_message(QueueUrl=url, MessageBody=body)
    assert observation.settle(target, timeout_s=300) == 0
    run(lean_ops, "run", "--topic", topic)


def run(lean_ops: LeanOps, *words: str) -> None:
    done = lean_ops(*words)
    assert done.exit_code == 0, done.output


def rows(columns: list[str], values: list[tuple[Any, ...]]) -> Rows:
    """Rows as they can be compared, in whatever order the reader has rows and columns."""
    return Counter(tuple(sorted(zip(columns, row, strict=True))) for row in values)


@dataclass(frozen=True)
class Engine:
    """A reader that is asked by SQL: how it quotes a name, and how it says a snapshot."""

    query: Sql
    quote: str
    at: str

    def rows(self, table: str, snapshot: int | None = None) -> Rows:
        """All rows of a table, now or at a snapshot."""
        named = f"{self.quote}{table}{self.quote}"
        return rows(*self.query(f"SELECT * FROM {named}{f' {self.at} {snapshot}' if snapshot else ''}"))


@pytest.fixture
def engines(trino: Trino, spark: Spark | None) -> dict[str, Engine]:
    """Those that run here, beside DuckDB."""
    found = {"Trino": Engine(trino.query, '"', "FOR VERSION AS OF")}
    return found | ({"Spark": Engine(spark.query, "`", "VERSION AS OF")} if spark else {})


def test_spark_is_among_the_readers(spark: Spark | None) -> None:
    if spark is None:
        pytest.skip(spark_engine.missing() or "Spark could not be fetched")


def by_each(engines: dict[str, Engine], table: str, snapshot: int | None = None) -> dict[str, Rows]:
    """What each gives of a table; they work at the same time."""
    with ThreadPoolExecutor() as pool:
        asked = {name: pool.submit(engine.rows, table, snapshot) for name, engine in engines.items()}
        return {name: answer.result() for name, answer in asked.items()}


def agree(target: LocalTarget, engines: dict[str, Engine]) -> int:
    """Compare all tables, all snapshots and all views; gives how many rows there are in the current ones."""
    compared = 0
    with lake.connect(target) as connection:
        for table in lake.tables(target):
            name = table.name()[-1]
            columns = [field.name for field in table.schema().fields]
            by_pyiceberg = table.scan().to_arrow().to_pylist()
            expected = rows(columns, [tuple(row[c] for c in columns) for row in by_pyiceberg])
            compared += expected.total()
            for reader, found in by_each(engines, name).items():
                assert found == expected, f"{name} by {reader}"
            assert rows(*lake.run(connection, f'SELECT * FROM "{name}"')) == expected, name
            for snapshot in table.snapshots():
                if (name, snapshot.snapshot_id) in COMPARED:
                    continue
                COMPARED.add((name, snapshot.snapshot_id))
                then = table.scan(snapshot_id=snapshot.snapshot_id)
                kept = [field.name for field in then.projection().fields]
                old = rows(kept, [tuple(row[c] for c in kept) for row in then.to_arrow().to_pylist()])
                for reader, found in by_each(engines, name, snapshot.snapshot_id).items():
                    assert found == old, f"{name} at {snapshot.snapshot_id} by {reader}"
    for view in VIEWS:
        # As Athena finds them in Glue; columns that came since upkeep are not among them yet.
        columns, values = engines["Trino"].query(f"SELECT * FROM {view}")
        with lake.query(target, f"SELECT {', '.join(map(quoted, columns))} FROM {view}") as result:
            assert rows(columns, values) == rows(columns, list(result.rows())), view
    return compared


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_after_events_of_three_months(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    deliver(target, lean_ops, *(message(number, 0) for number in range(KEYS)))
    assert agree(target, engines) >= 3 * KEYS  # more, where the queue delivers twice


def test_after_corrections_new_columns_copies_and_refusals(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    more = {"payload": {"new column": 1.5, "nested": {"x": [1, {"y": None}]}}}
    corrected = [message(number, 1, **more) for number in range(0, KEYS, 3)]
    refused = [message(number, 2, device_type="unknown") for number in range(1, KEYS, 8)]
    deliver(target, lean_ops, *corrected, *corrected[:2], *refused)
    assert agree(target, engines) > 3 * KEYS


def test_after_deletes_and_a_key_that_came_back(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    deliver(target, lean_ops, *(message(number, 3, delete=True) for number in (2, 5, 8)))
    deliver(target, lean_ops, message(5, 4))
    agree(target, engines)


def test_after_readings_of_a_topic_of_low_volume(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    for turn in range(2):
        deliver(target, lean_ops, *(reading(number, turn) for number in range(4 - turn)), topic="weather")
    assert agree(target, engines) > 3 * KEYS
    assert len(engines["Trino"].rows("semantic_weather")) == 4


def test_after_more_fields_than_there_may_be_columns(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    many = {f"field {number:03}": number for number in range(600)}
    deliver(target, lean_ops, message(14, 5, payload=many))
    agree(target, engines)
    found = engines["Trino"].query("SELECT _rescued FROM curated_events WHERE idempotency_key = 'k14'")[1]
    assert len(json.loads(found[0][0])) > 100


@pytest.mark.parametrize(
    "words",
    [
        ("maintain",),
        ("maintain", "--snapshot-days", "0"),
        ("rebuild", "--layer", "semantic", "--reason", "readers"),
        ("rebuild", "--layer", "curated", "--reason", "readers"),
        ("erase", "--key", "k7", "--yes", "--reason", "readers"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_after_an_operation(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine], words: tuple[str, ...]
) -> None:
    run(lean_ops, *words)
    agree(target, engines)
    if words == ("maintain",):
        assert {"new_column", "nested__x"} <= set(
            engines["Trino"].query("SELECT * FROM curated_events_current")[0]
        )


def test_after_a_rollback_and_the_next_run(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    deliver(target, lean_ops, message(9, 9))
    shown = json.loads(lean_ops("rollback", "curated", "--json").stdout)
    earlier = next(one for one in shown if not one["current"])
    run(lean_ops, "rollback", "curated", "--to", str(earlier["snapshot_id"]), "--reason", "readers")
    agree(target, engines)
    run(lean_ops, "run")
    agree(target, engines)


def test_after_trino_itself_has_written(
    target: LocalTarget, lean_ops: LeanOps, engines: dict[str, Engine]
) -> None:
    """An analyst's repair by SQL is kept, and the product goes on over it."""
    trino = engines["Trino"]
    trino.query("UPDATE curated_events SET reading__unit = 'kPa' WHERE idempotency_key = 'k11'")
    agree(target, engines)
    deliver(target, lean_ops, message(12, 10))
    agree(target, engines)
    kept = trino.query("SELECT reading__unit FROM curated_events WHERE idempotency_key = 'k11'")[1]
    assert kept == [("kPa",)]
