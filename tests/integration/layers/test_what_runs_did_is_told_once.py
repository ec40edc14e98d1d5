"""What was done becomes rows of ``ops_runs`` and its siblings, each once, come what may."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract import drift
from common.lake.files import Traffic
from common.lake.history import said_by
from common.lake.merge import snapshot
from common.lake.reading import read_rows
from common.lake.specifications import OPERATIONS, OPERATIONS_LAYER, TableSpec
from common.lake.upkeep import Past, Shape, Upkeep, UpkeepPolicy
from common.layers import reports
from common.layers.operations import Record, Sources, Told, item_of, record, standing
from common.layers.reconciling import Fault, Hour, Reconciled
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
        return record(
            self.sources,
            pointers=self.places(),
            told=told,
            waiting={TOPIC: self.waiting()},
            now=datetime.now(UTC),
            run_id="upkeep",
        )

    def waiting(self) -> reports.Waiting:
        key = reports.item_of(TOPIC)
        items = read_items(self.dynamodb, self.settings.checkpoints_table, [key])
        return reports.Waiting.of(items.get(key, {}))

    def leave(self, *some: reports.Pass | reports.Look | None) -> None:
        reports.leave(self.dynamodb, self.settings.checkpoints_table, TOPIC, some)

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
    assert curated["gets"] is None, "on a local disk nobody counts requests"
    assert curated["seconds"] > 0
    current = told.lake.table("curated").current_snapshot()
    assert current is not None
    assert curated["snapshot_id"] == current.snapshot_id
    assert curated["publish_time"].timestamp() * 1000 == pytest.approx(current.timestamp_ms, abs=1)


def test_requests_are_told_where_they_were_counted(
    told: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "traffic_of", lambda _io: Traffic(5, 4, 300, 200))
    told.lake.run(event("a", "1", 0, 1))
    told.tell()
    (curated,) = (row for row in told.rows("runs") if row["layer"] == "curated")
    assert [curated[n] for n in ("gets", "puts", "bytes_read", "bytes_written")] == [5, 4, 300, 200]


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


NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BEFORE, AFTER = Shape(9, 2, 9, 900, 30), Shape(1, 0, 1, 700, 20)


def kept_up(**more: Any) -> Upkeep:
    done: dict[str, Any] = {"compacted_files": 9, "delete_files_dropped": 2, "snapshots_expired": 10}
    done |= {"orphans_removed": 3, "orphan_bytes": 33, "past": Past(1, 2, 50, 5), "seconds": 1.5}
    return Upkeep("lake.curated_t", BEFORE, AFTER, **done | more)


def resting() -> Upkeep:
    return Upkeep("lake.raw_t", AFTER, AFTER, 0, 0, 0, 0, 0)


def test_a_pass_of_upkeep_is_a_row_and_one_that_did_nothing_is_none(told: Environment) -> None:
    told.leave(
        reports.Pass.of(kept_up(), "curated", "m-1", NOW), reports.Pass.of(resting(), "raw", "m-1", NOW)
    )
    assert told.tell().rows == {"upkeep": 1}
    (row,) = told.rows("upkeep")
    assert row.pop("_merge_seq") == 1
    assert row == {
        "entry": f"curated_t/{NOW.timestamp():.6f}", "publish_time": NOW, "topic": TOPIC, "layer": "curated",
        "run_id": "m-1", "rows_past": 50, "files_past": 2, "files_compacted": 9, "delete_files_dropped": 2,
        "snapshots_expired": 10, "orphans_removed": 3, "orphan_bytes": 33, "data_files_before": 9,
        "data_files_after": 1, "delete_files_before": 2, "delete_files_after": 0, "bytes_before": 900,
        "bytes_after": 700, "snapshots_after": 20, "finished": True, "seconds": 1.5,
    }  # fmt: skip
    assert told.waiting().texts == ()
    unfinished = Upkeep("lake.raw_t", AFTER, AFTER, 0, 0, 0, 0, 0, finished=False)
    assert reports.Pass.of(unfinished, "raw", "m-1", NOW) is not None


def test_a_look_is_a_row_an_hour_with_what_was_counted_where(told: Environment) -> None:
    sick = Hour(7, 1, 2, 3, 4, 5)
    sick.faults[("curated", Fault.MISSING)] = 2
    sick.faults[("semantic", Fault.MISSING)] = 1
    sick.faults[("semantic", Fault.DOUBLED)] = 1
    hours = {NOW: sick, NOW - timedelta(hours=1): Hour(5)}
    found = Reconciled(TOPIC, NOW - timedelta(hours=1), NOW, hours)
    told.leave(reports.Look.of(found, NOW), reports.Look.of(Reconciled(TOPIC, NOW, NOW), NOW))
    assert told.tell().rows == {"reconciliation": 2}
    well, ill = sorted(told.rows("reconciliation"), key=lambda row: row["received_hour"])
    nothing = dict.fromkeys(("outdated", "unsent", "undeleted", "doubled", "missing", "wrong"), 0)
    assert well.items() >= {**nothing, "events": 5, "received_hour": NOW - timedelta(hours=1)}.items()
    counted = {"events": 7, "copies": 1, "waiting": 2, "unpublished": 3, "refused": 4, "set_aside": 5}
    assert ill.items() >= {**nothing, **counted, "missing": 3, "doubled": 1, "wrong": 4}.items()


def test_a_report_that_comes_while_others_are_told_is_told_the_next_time(told: Environment) -> None:
    def leave(seconds: int) -> None:
        told.leave(reports.Pass.of(kept_up(), "curated", "m", NOW + timedelta(seconds=seconds)))

    leave(0)
    before = told.waiting()
    leave(1)
    for _ in range(2):  # as by two that tell at once: the second takes nothing of what came
        reports.take_away(told.dynamodb, told.settings.checkpoints_table, TOPIC, before)
    assert len(told.waiting().texts) == 1
    assert told.tell().rows == {"upkeep": 1}


def test_reports_that_nobody_tells_are_no_more_than_an_item_holds(
    told: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds in range(reports.MOST + 2):
        told.leave(reports.Pass.of(kept_up(), "curated", "m", NOW + timedelta(seconds=seconds)))
    assert len(told.waiting().texts) == reports.MOST
    assert "a report was not kept" in capsys.readouterr().out
    week = {NOW + timedelta(hours=n): Hour(10**6, 10**6, 10**6, 10**6, 10**6, 10**6) for n in range(168)}
    look = reports.Look.of(Reconciled(TOPIC, NOW, NOW, week), NOW)
    assert look is not None
    assert len(msgspec.json.encode(look)) * reports.MOST < 400_000


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"type": "else"}', '{"type":"reconciliation","at":1e30,"hours":[[1,[1]]]}']
)
def test_a_damaged_report_hides_no_other(told: Environment, text: str) -> None:
    told.leave(reports.Pass.of(kept_up(), "curated", "m", NOW))
    whole = told.waiting().texts
    item = {"checkpoint_id": {"S": reports.item_of(TOPIC)}}
    texts: Any = {"SS": [text, *whole]}
    told.dynamodb.put_item(TableName=told.settings.checkpoints_table, Item={**item, "reports": texts})
    assert told.tell().rows == {"upkeep": 1}
    assert told.waiting().texts == ()


def test_a_topic_that_cannot_be_read_hides_no_other_and_is_told_later(told: Environment) -> None:
    told.lake.run(event("a", "1", 0, 1))
    pointers = told.places() | {"curated_gone": "s3://nowhere/00001-x.metadata.json"}
    told.lake.catalog.table_exists = _failing_for("lake.curated_gone", told.lake.catalog.table_exists)  # type: ignore[method-assign]  # this catalog's fails
    done = record(
        told.sources,
        pointers=pointers,
        told={TOPIC: Told(), "gone": Told()},
        waiting={},
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
    now = datetime.now(UTC)
    done = record(told.sources, pointers=places, told={TOPIC: Told()}, waiting={}, now=now, run_id="r")
    assert done == Record()


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
