"""Whenever an operator comes in, a run that gets the lease starts from what the tables say by then."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.checkpoints import SourceCheckpoint
from common.lake.specifications import TableSpec
from common.runtime.errors import InvalidInput
from common.runtime.settings import CheckpointsSettings
from common.runtime.topics import Topic, registry_of
from get_all_checkpoints import handler as function
from lean_ops.environment.target import Target

from ...support.lake import merge_rows

ROOT = Path(__file__).parents[3]
TABLE = "look-up-test"
WAITS = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": True}}}
TOPICS = registry_of({"t": Topic()})
SETTINGS = CheckpointsSettings("p", "e", "lake", TABLE, "look-up-test", "off", 1, 1)


class Interrupted:
    """A client during whose ``at``-th call something else happens first; counts its calls."""

    def __init__(self, client: Any, calls: list[str], at: int, happens: Callable[[], None]) -> None:
        self._client, self._calls, self._at, self._happens = client, calls, at, happens

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "exceptions" or not callable(found):
            return found

        def call(**arguments: Any) -> Any:
            self._calls.append(name)
            if len(self._calls) == self._at:
                self._happens()
            return found(**arguments)

        return call


class Place:
    """A topic whose Curated has two merges, and an operator who can roll the second one back."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.catalog = SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")
        self.catalog.create_namespace("lake")
        for layer in ("raw", "curated"):
            TableSpec.load(ROOT / "modules/storage/tables", layer).create(self.catalog, f"lake.{layer}_t")
        for sequence in (1, 2):
            rows = pa.table(
                {
                    "message_id": [f"m{sequence}"],
                    "idempotency_key": [f"k{sequence}"],
                    "publish_time": pa.array([sequence], pa.timestamp("us", "UTC")),
                    "ingestion_ts": pa.array([sequence], pa.timestamp("us", "UTC")),
                }
            )
            checkpoint = SourceCheckpoint(100 + sequence, sequence)
            merge_rows(self.catalog, "lake.curated_t", rows.to_batches(), checkpoint=checkpoint)
        self.rolled_back = False

    def operate(self, execution: str) -> None:
        """Hold, roll back, lift; an operator does so only while no run is in progress."""
        dynamodb, key = self.target.client("dynamodb"), {"checkpoint_id": {"S": "t#lease"}}
        hold = {":why": {"S": "mending"}}
        dynamodb.update_item(
            TableName=TABLE,
            Key=key,
            UpdateExpression="SET on_hold = :why",
            ExpressionAttributeValues=hold,
        )
        item = dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True)["Item"]
        if item.get("execution_arn", {}).get("S") != execution:
            table = self.catalog.load_table("lake.curated_t")
            table.manage_snapshots().rollback_to_snapshot(table.snapshots()[0].snapshot_id).commit()
            self.rolled_back = True
        dynamodb.update_item(TableName=TABLE, Key=key, UpdateExpression="REMOVE on_hold")


# Without what logs and sorts errors.
handler: Any = vars(function.handler)["__wrapped__"]


@pytest.fixture(scope="module")
def execution(target: Target) -> Iterator[str]:
    target.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "checkpoint_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "checkpoint_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    s3 = target.client("s3")
    here: Any = {"LocationConstraint": s3.meta.region_name}
    s3.create_bucket(Bucket=SETTINGS.lake_bucket, CreateBucketConfiguration=here)
    client = target.client("stepfunctions")
    machine = client.create_state_machine(
        name="look-up-test", definition=json.dumps(WAITS), roleArn="arn:aws:iam::000000000000:role/r"
    )["stateMachineArn"]
    started = client.start_execution(stateMachineArn=machine)["executionArn"]
    yield started
    client.stop_execution(executionArn=started)
    client.delete_state_machine(stateMachineArn=machine)
    s3.delete_bucket(Bucket=SETTINGS.lake_bucket)
    target.client("dynamodb").delete_table(TableName=TABLE)


def look_up(
    place: Place, monkeypatch: pytest.MonkeyPatch, execution: str, at: int
) -> tuple[dict[str, Any], int]:
    """The answer where the operator comes before the ``at``-th call, and how many calls there were."""
    calls: list[str] = []
    place.target.client("dynamodb").delete_item(TableName=TABLE, Key={"checkpoint_id": {"S": "t#lease"}})

    def client(service: Any) -> Any:
        return Interrupted(place.target.client(service), calls, at, lambda: place.operate(execution))

    monkeypatch.setattr(function, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(function, "read_registry", lambda *_: TOPICS)
    monkeypatch.setattr(function, "_client", client)
    monkeypatch.setattr(function, "lake_catalog", lambda: place.catalog)
    event = {"topic": "t", "execution_arn": execution, "continued_from": ""}
    return handler(event, None), len(calls)


def test_wherever_a_rollback_comes_in_a_run_with_the_lease_reads_from_where_the_table_is(
    target: Target, execution: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, calls = look_up(Place(target, folder(tmp_path)), monkeypatch, execution, at=0)
    assert (answer["lease"], answer["curated_checkpoint"]) == ("held", "102")
    rolled_back = []
    for at in range(1, calls + 1):
        place = Place(target, folder(tmp_path))
        answer, _ = look_up(place, monkeypatch, execution, at)
        if answer["lease"] == "held":
            assert answer["curated_checkpoint"] == ("101" if place.rolled_back else "102"), at
        rolled_back.append(place.rolled_back)
        place.catalog.close()
    assert True in rolled_back
    assert False in rolled_back, "an operator who comes later than the lease waits for the run"


def test_a_topic_that_does_not_exist_gets_no_lease(
    target: Target, execution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(function, "read_registry", lambda *_: TOPICS)
    monkeypatch.setattr(function, "_client", target.client)
    event = {"topic": "no_such", "execution_arn": execution, "continued_from": ""}
    with pytest.raises(InvalidInput, match="topic: expected one of t, found 'no_such'"):
        handler(event, None)
    key = {"checkpoint_id": {"S": "no_such#lease"}}
    assert "Item" not in target.client("dynamodb").get_item(TableName=TABLE, Key=key)


def folder(root: Path) -> Path:
    """A folder that was not there before."""
    fresh = root / str(len(list(root.iterdir())))
    fresh.mkdir()
    return fresh
