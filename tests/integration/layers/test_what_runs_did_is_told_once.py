"""What runs did becomes rows of ``ops_runs``, ``ops_rules`` and ``ops_drift``, each once, come what may."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract import drift
from common.lake.history import said_by
from common.lake.reading import read_rows
from common.lake.specifications import OPERATIONS, OPERATIONS_LAYER, TableSpec
from common.lake.upkeep import Upkeep, UpkeepPolicy
from common.layers.operations import Record, Sources, Told, item_of, record, standing
from common.layers.upkeep import OPERATIONS_KEPT_DAYS, maintain
from common.runtime.items import read_items
from common.runtime.settings import LakeSettings
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from lean_ops.environment.target import Target

from ...support.generated import cases
from ...support.topic import TopicLake, event

TOPIC = "t"


class Environment:
    """A topic's lake, the tables of what runs did, and the two tables of DynamoDB."""

    def __init__(self, folder: Path, target: Target) -> None:
        folder.mkdir(exist_ok=True)
        self.lake = TopicLake(folder)
        self.dynamodb = target.client("dynamodb")
        name = uuid.uuid4().hex[:12]
        self.settings = LakeSettings("p", "e", "lake", f"checkpoints-{name}")
        self.drift_log = f"drift-{name}"
        self._create(self.settings.checkpoints_table, "checkpoint_id")
        self._create(self.drift_log, "topic", "entry")
        for table in OPERATIONS:
            spec = TableSpec.load(TABLE_SPECIFICATIONS, f"{OPERATIONS_LAYER}_{table}")
            spec.create(self.lake.catalog, f"lake.{OPERATIONS_LAYER}_{table}")

    def _create(self, name: str, *keys: str) -> None:
        kinds: Any = ("HASH", "RANGE")
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )

    def close(self) -> None:
        self.lake.close()
        for table in (self.settings.checkpoints_table, self.drift_log):
            self.dynamodb.delete_table(TableName=table)

    @property
    def sources(self) -> Sources:
        return Sources(self.settings, self.lake.catalog, self.dynamodb, self.drift_log)

    def places(self) -> dict[str, str]:
        """Pointers as Glue has them; the SQL catalog numbers its files in the same way."""
        layers = ("curated", "semantic", "quarantine")
        return {f"{layer}_{TOPIC}": self.lake.table(layer).metadata_location for layer in layers}

    def known(self) -> Told:
        items = read_items(self.dynamodb, self.settings.checkpoints_table, [item_of(TOPIC)])
        return Told.of(items.get(item_of(TOPIC), {}))

    def tell(self, known: Told | None = None) -> Record:
        told = {TOPIC: self.known() if known is None else known}
        return record(self.sources, pointers=self.places(), told=told, now=datetime.now(UTC), run_id="upkeep")

    def rows(self, name: str) -> list[dict[str, Any]]:
        found = read_rows(self.lake.catalog.load_table(f"lake.ops_{name}")).read_all().to_pylist()
        return sorted(found, key=lambda row: (row["publish_time"], row["entry"]))

    def commits(self, name: str) -> int:
        return len(self.lake.catalog.load_table(f"lake.ops_{name}").snapshots())


@pytest.fixture
def told(tmp_path: Path, target: Target) -> Iterator[Environment]:
    told = Environment(tmp_path / "lake", target)
    yield told
    told.close()


def test_a_run_is_a_row_a_layer_with_what_its_commit_says(told: Environment) -> None:
    told.lake.run(
        event("a", "1", 0, 1), event("b", "2", 0, 5), event("b", "3", 1, 7), event("c", "4", 0, 500)
    )
    done = told.tell()
    assert done.failures == []
    assert done.rows == {"runs": 3, "rules": 1}
    runs = {row["layer"]: row for row in told.rows("runs")}
    assert runs.keys() == {"curated", "semantic", "quarantine"}
    assert runs["quarantine"]["rows_read"] == 1
    curated = runs["curated"]
    assert (curated["rows_read"], curated["inserted"], curated["superseded"]) == (4, 3, 1)
    assert (curated["run_id"], curated["topic"], curated["engine"]) == ("run", TOPIC, "embedded")
    assert curated["data_files"] > 0
    assert curated["bytes"] > 0
    assert curated["seconds"] > 0
    snapshot = told.lake.table("curated").current_snapshot()
    assert snapshot is not None
    assert curated["snapshot_id"] == snapshot.snapshot_id
    assert curated["publish_time"].timestamp() * 1000 == pytest.approx(snapshot.timestamp_ms, abs=1)


def test_rules_that_rows_broke_are_counted_as_they_were_refused(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 500), event("b", "2", 0, 501), event("c", "3", 0, "x"))
    told.lake.run(event("a", "4", 1, 502))  # the row of Quarantine is another now
    told.tell()
    rows = [(row["column_name"], row["rule"], row["rows"]) for row in told.rows("rules")]
    assert sorted(rows) == [("value", "maximum", 1), ("value", "maximum", 2), ("value", "type", 1)]


def test_new_columns_are_counted_where_the_commit_before_is_known(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1))
    more = event("b", "2", 0, 2)
    told.lake.run({**more, "json_payload": '{"value": 2, "x": 1, "y": 2}'})
    told.tell()
    found = [row["new_columns"] for row in told.rows("runs") if row["layer"] == "curated"]
    assert found == [None, 2]


def test_an_entry_of_the_drift_log_is_a_row(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1))
    entry = drift.new_column(TOPIC, "x", "run-1")
    drift.record(told.dynamodb, told.drift_log, [entry, drift.new_column("another", "x", "run-1")])
    told.tell()
    (row,) = told.rows("drift")
    assert (row["topic"], row["kind"], row["subject"], row["run_id"]) == (TOPIC, "new-column", "x", "run-1")


def test_what_is_told_again_is_the_same_row_and_no_commit(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1), event("b", "2", 0, 500))
    told.tell()
    before = {name: (told.rows(name), told.commits(name)) for name in OPERATIONS}
    assert told.tell().topics == []  # nothing has changed
    again = told.tell(Told())  # as after a crash between commit and mark
    assert (again.topics, again.rows.total()) == ([TOPIC], 0)
    assert {name: (told.rows(name), told.commits(name)) for name in OPERATIONS} == before


def test_a_topic_that_cannot_be_read_hides_no_other_and_is_told_later(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1))
    pointers = told.places() | {"curated_gone": "s3://nowhere/00001-x.metadata.json"}
    told.lake.catalog.table_exists = _failing_for("lake.curated_gone", told.lake.catalog.table_exists)  # type: ignore[method-assign]  # this catalog's fails
    done = record(
        told.sources,
        pointers=pointers,
        told={TOPIC: Told(), "gone": Told()},
        now=datetime.now(UTC),
        run_id="upkeep",
    )
    assert done.topics == [TOPIC]
    assert [failure.table for failure in done.failures] == ["lake.*_gone"]
    assert len(told.rows("runs")) == 2


def _failing_for(name: str, exists: Any) -> Any:
    def look(identifier: str) -> bool:
        if identifier == name:
            raise OSError("no answer")
        return bool(exists(identifier))

    return look


def test_where_the_tables_are_missing_nothing_is_marked_as_told(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1))
    told.lake.catalog.drop_table("lake.ops_runs")
    done = told.tell()
    assert [failure.table for failure in done.failures] == ["lake.ops_runs"]
    assert told.known() == Told()


def test_who_has_never_merged_has_nothing_to_tell(told: Environment) -> None:
    places = {
        f"{layer}_{TOPIC}": f"s3://b/{layer}/00000-x.metadata.json" for layer in ("curated", "semantic")
    }
    assert standing(TOPIC, places) == ""
    assert (
        record(told.sources, pointers=places, told={TOPIC: Told()}, now=datetime.now(UTC), run_id="r")
        == Record()
    )


@pytest.mark.parametrize("item", [{}, {"standing": {"S": "x"}}, {"standing": {"S": "x"}, "upto": {"N": "y"}}])
def test_a_damaged_mark_tells_all_again(item: dict[str, Any]) -> None:
    assert Told.of(item) == Told()


def test_after_a_year_rows_go_by_the_month(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1))
    told.tell()
    assert told.rows("runs")

    def keep_up(days: int) -> Upkeep:
        (done,) = maintain(
            told.settings,
            told.lake.catalog,
            told.dynamodb,
            places=[("runs", OPERATIONS_LAYER)],
            policy=UpkeepPolicy(),
            now=datetime.now(UTC) + timedelta(days=days),
            run_id="upkeep",
        )
        assert isinstance(done, Upkeep), done
        return done

    assert keep_up(OPERATIONS_KEPT_DAYS - 1).past.rows == 0
    assert keep_up(OPERATIONS_KEPT_DAYS + 2).past.rows == 2
    assert told.rows("runs") == []


@settings(max_examples=cases(3))
@given(history=st.lists(st.sampled_from(["run", "tell", "again", "crash"]), min_size=2, max_size=6))
def test_whatever_order_of_runs_and_crashes_every_commit_is_one_row(
    tmp_path_factory: pytest.TempPathFactory, target: Target, history: list[str]
) -> None:
    told = Environment(tmp_path_factory.mktemp("history"), target)
    try:
        for number, step in enumerate([*history, "tell"]):
            if step == "run":
                told.lake.run(event(f"k{number}", f"m{number}", number, 500 if number % 2 else 1))
            elif step == "again":
                told.tell(Told())
            elif step == "crash":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(told.dynamodb, "put_item", _killed)
                    try:
                        told.tell()
                    except KeyboardInterrupt:
                        continue
            else:
                told.tell()
        expected = {
            f"{layer}_{TOPIC}/{snapshot.snapshot_id}"
            for layer in ("curated", "semantic", "quarantine")
            for snapshot in told.lake.table(layer).snapshots()
            if "lean-ops.rows-read" in said_by(snapshot)
        }
        entries = [row["entry"] for row in told.rows("runs")]
        assert sorted(entries) == sorted(expected)
    finally:
        told.close()


def _killed(**_request: Any) -> None:
    raise KeyboardInterrupt
