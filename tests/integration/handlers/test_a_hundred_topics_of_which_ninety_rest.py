"""A hundred topics on the emulator, ninety of them idle: dispatcher, upkeep and observation see ten."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from common.lake.specifications import TableSpec
from common.lake.upkeep import Shape, Upkeep
from common.runtime.settings import DispatcherSettings, LookUpSettings, MaintenanceSettings
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from dispatcher import handler as dispatcher
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from lean_ops.environment.target import Target
from maintenance import handler as maintenance
from observation import handler as observation
from observation import looking

NAMES = ("lean-ops", "many", "many_topics", "many-topics", "many-topics")
DRIFT_LOG = "many-topics-drift-log"
BUSY = [f"busy_{number}" for number in range(10)]
IDLE = [f"idle_{number:02}" for number in range(90)]
CONTEXT: Any = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 300_000)
SHAPE = Shape(1, 0, 1, 1, 1)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE_S = 120  # a pause of the machine, not of the pipeline
# It ends as a run that had the lease and found nothing: nothing else of the pipeline matters here.
MACHINE = {
    "StartAt": "Done",
    "States": {"Done": {"Type": "Pass", "Result": {"checkpoints": {"lease": "held"}}, "End": True}},
}


class Counted:
    """A client that counts its calls."""

    def __init__(self, client: Any, calls: Counter[str]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name in {"exceptions", "get_paginator"} or not callable(found):
            return found

        def call(**arguments: Any) -> Any:
            self._calls[name] += 1
            return found(**arguments)

        return call


class Place:
    """The environment, and what is called of it."""

    def __init__(self, target: Target) -> None:
        self.target, self.calls = target, Counter[str]()
        self.catalog = target.catalog()
        self.machine = ""

    def client(self, service: str) -> Any:
        return Counted(self.target.client(service), self.calls)  # type: ignore[call-overload] # any service

    def runs(self) -> list[Any]:
        steps = self.target.client("stepfunctions")
        return list(steps.list_executions(stateMachineArn=self.machine)["executions"])

    def started(self, minute: int) -> list[str]:
        """The topics that a pass at ``minute`` starts, after all runs of earlier passes have ended.

        Minutes are said to the dispatcher, but runs take their own time: on a busy machine one may still be
        working when the next pass comes, which then rightly asks about it.
        """
        deadline = time.monotonic() + PATIENCE_S
        while any(run["status"] == "RUNNING" for run in self.runs()):
            assert time.monotonic() < deadline, "a run of one state never ended"
            time.sleep(0.05)
        self.calls.clear()
        at = datetime(2026, 3, 1, 13, minute, tzinfo=UTC).isoformat()
        return sorted(dispatcher.handler({"time": at}, CONTEXT)["started"])

    def table(self, name: str) -> Table:
        return self.catalog.load_table(f"{NAMES[2]}.{name}")


def fill(table: Table) -> None:
    row = {"idempotency_key": "k", "period_reference": "2026-03", "publish_time": AT, "ingestion_ts": AT}
    table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))


@pytest.fixture(scope="module")
def environment(target: Target) -> Iterator[Place]:
    place = Place(target)
    target.client("dynamodb").create_table(
        TableName=NAMES[3],
        KeySchema=[{"AttributeName": "checkpoint_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "checkpoint_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    target.client("dynamodb").create_table(
        TableName=DRIFT_LOG,
        KeySchema=[
            {"AttributeName": "topic", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("topic", "entry")],
        BillingMode="PAY_PER_REQUEST",
    )
    s3 = target.client("s3")
    s3.create_bucket(Bucket=NAMES[4], CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    registry = registry_of(dict.fromkeys([*BUSY, *IDLE], Topic()))
    s3.put_object(Bucket=NAMES[4], Key=REGISTRY_KEY, Body=registry.written())
    place.catalog.create_namespace(NAMES[2])
    # What is looked at, every layer has; pyiceberg writes no Bloom filters, which Curated wants.
    real = TableSpec.load(TABLE_SPECIFICATIONS, "raw").create(
        place.catalog, f"{NAMES[2]}.real", f"s3://{NAMES[4]}/real"
    )
    fill(real)
    for topic in [*BUSY, *IDLE]:
        for layer in ("raw", "curated"):
            # Idle ones as Terraform leaves them: nobody has committed, and whoever opens one fails.
            created = f"s3://{NAMES[4]}/{layer}_{topic}/metadata/00000-{topic}.metadata.json"
            pointer = real.metadata_location if topic in BUSY else created
            target.client("glue").create_table(
                DatabaseName=NAMES[2],
                TableInput={
                    "Name": f"{layer}_{topic}",
                    "TableType": "EXTERNAL_TABLE",
                    "Parameters": {"table_type": "ICEBERG", "metadata_location": pointer},
                },
            )
    machine = target.client("stepfunctions").create_state_machine(
        name="many-topics", definition=json.dumps(MACHINE), roleArn="arn:aws:iam::000000000000:role/r"
    )["stateMachineArn"]
    place.machine = machine
    yield place
    target.client("stepfunctions").delete_state_machine(stateMachineArn=machine)


@pytest.fixture
def place(environment: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    settings = {
        dispatcher: DispatcherSettings(*NAMES, environment.machine, 100),
        maintenance: MaintenanceSettings(*NAMES, DRIFT_LOG, "maintenance", 5, 7),
        observation: LookUpSettings(*NAMES),
    }
    for module, own in settings.items():
        monkeypatch.setattr(module, "_settings", lambda own=own: own)
        monkeypatch.setattr(module, "_client", environment.client)
    for module in (maintenance, observation):
        monkeypatch.setattr(module, "lake_catalog", lambda: environment.catalog)
    environment.calls.clear()
    return environment


def test_the_dispatcher_starts_ten_and_then_none(place: Place) -> None:
    assert place.started(0) == sorted(BUSY)
    assert len(place.runs()) == 10
    assert place.started(15) == []
    assert place.started(30) == []
    # Nothing is asked about topics at rest: four items of each, a hundred a call.
    assert place.calls == {"get_object": 1, "batch_get_item": 4}
    fill(place.table("raw_busy_3"))
    assert place.started(45) == ["busy_3"]


def test_two_passes_that_remember_nothing_start_no_run_twice(place: Place) -> None:
    first = set(place.started(50))
    for topic in BUSY:
        key = {"checkpoint_id": {"S": f"{topic}#dispatch"}}
        place.target.client("dynamodb").delete_item(TableName=NAMES[3], Key=key)
    before = len(place.runs())
    place.started(52)
    place.started(54)
    assert len(place.runs()) - before <= len(first) + 1  # busy_3 alone has changed since its first run


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tables that upkeep came to; what it does there others test (tests/drills/test_tables_are_kept_…)."""
    came: list[str] = []

    def maintain(settings: MaintenanceSettings, *_: Any, places: Any, **_options: Any) -> Iterator[Upkeep]:
        for topic, layer in places:
            came.append(f"{layer}_{topic}")
            yield Upkeep(settings.table(layer, topic), SHAPE, SHAPE, 0, 0, 0, 0, 0)

    monkeypatch.setattr(maintenance, "maintain", maintain)
    return came


def test_upkeep_comes_to_twenty_tables_and_then_to_none(place: Place, kept: list[str]) -> None:
    maintenance.handler({"trigger": "schedule"}, CONTEXT)
    assert sorted(kept) == sorted(f"{layer}_{topic}" for topic in BUSY for layer in ("raw", "curated"))
    kept.clear()
    assert maintenance.handler({"trigger": "schedule"}, CONTEXT) == {"tables": [], "unfinished": []}
    assert kept == []
    fill(place.table("raw_busy_7"))
    maintenance.handler({"trigger": "schedule"}, CONTEXT)
    assert kept == ["raw_busy_7"]


def test_upkeep_of_many_is_shared_out(place: Place, kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for topic in BUSY[:4]:
        fill(place.table(f"raw_{topic}"))
    monkeypatch.setattr("maintenance.due.FEW", 2)
    invoked: list[dict[str, Any]] = []
    functions = SimpleNamespace(invoke=lambda **request: invoked.append(request))
    client = place.client
    monkeypatch.setattr(maintenance, "_client", lambda s: functions if s == "lambda" else client(s))
    assert maintenance.handler({"trigger": "schedule"}, CONTEXT)["shared"] == 2
    assert kept == []
    assert {request["InvocationType"] for request in invoked} == {"Event"}
    for request in invoked:
        assert len(maintenance.handler(json.loads(request["Payload"]), CONTEXT)["tables"]) == 2
    assert sorted(kept) == [f"raw_{topic}" for topic in BUSY[:4]]
    # Lambda may do a share twice: there is nothing left to do.
    assert maintenance.handler(json.loads(invoked[0]["Payload"]), CONTEXT)["tables"] == []


def test_observation_opens_ten_and_then_none(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked: list[str] = []
    look = looking.look_at_what_changed

    def counting(one: Any, go_on: Any) -> int:
        left = look(one, go_on)
        looked.extend(sorted(one.looked_at))
        return left

    monkeypatch.setattr(observation, "look_at_what_changed", counting)
    found = observation.handler({"time": "2026-03-01T12:05:00Z"}, CONTEXT)
    assert looked == sorted(BUSY)
    assert {topic for topic, values in found.items() if values} == set(BUSY)
    assert found["busy_1"]["raw_freshness_s"] == 300.0
    place.calls.clear()
    again = observation.handler({"time": "2026-03-01T12:10:00Z"}, CONTEXT)
    assert looked == sorted(BUSY)  # none of them twice
    assert again["busy_1"]["raw_freshness_s"] == 600.0
    assert place.calls == {"get_object": 1, "batch_get_item": 3}  # three items of each topic
    out = capsys.readouterr().out
    assert '"layer":"curated","LagSeconds"' in out.replace(" ", "")
    assert "busy_1" not in out.replace('"looked_at":["busy_0","busy_1"', "")  # no metric of a single topic
