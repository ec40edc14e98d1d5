"""After ``kill -9`` of the emulator: no commit is gone, and what was saved of the rest is there."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget

PATIENCE_S = 60
BUCKET: Any = {"Bucket": "lake", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("killed") / "stack", tied_to_parent=True)
    stack.up()
    yield stack
    stack.down(wipe=True)


def kill(stack: Stack) -> None:
    record = stack.status().record
    assert record is not None
    os.kill(record.emulator.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while record.emulator.running():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_saved(stack: Stack, service: str, text: str) -> None:
    path = stack.folder / "emulator" / f"{service}.json"
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{text} never came into {path.name}"
        time.sleep(0.05)


def test_a_confirmed_commit_is_there_after_a_kill_at_once(stack: Stack) -> None:
    target = LocalTarget.running(stack.folder)
    target.client("s3").create_bucket(**BUCKET)
    catalog = target.catalog()
    catalog.create_namespace("lake")
    table = catalog.create_table(
        "lake.raw", Schema(NestedField(1, "n", LongType(), required=False)), location="s3://lake/raw"
    )
    for number in range(3):
        table.append(pa.table({"n": pa.array([number], pa.int64())}))
    kill(stack)

    stack.up()
    assert stack.crashed
    found = LocalTarget.running(stack.folder).catalog().load_table("lake.raw")
    numbers: list[Any] = found.scan().to_arrow()["n"].to_pylist()
    assert sorted(numbers) == [0, 1, 2]
    assert len(found.snapshots()) == 3


def test_what_was_saved_of_queue_and_checkpoints_is_there(stack: Stack) -> None:
    target = LocalTarget.running(stack.folder)
    url = target.client("sqs").create_queue(QueueName="source")["QueueUrl"]
    target.client("sqs").send_message(QueueUrl=url, MessageBody="kept message")
    dynamodb = target.client("dynamodb")
    dynamodb.create_table(
        TableName="checkpoints",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    dynamodb.put_item(TableName="checkpoints", Item={"id": {"S": "kept item"}})
    wait_until_saved(stack, "sqs", "kept message")
    wait_until_saved(stack, "dynamodb", "kept item")
    kill(stack)

    stack.up()
    target = LocalTarget.running(stack.folder)
    (message,) = target.client("sqs").receive_message(QueueUrl=target.queue_url("source"))["Messages"]
    assert message["Body"] == "kept message"
    assert target.client("dynamodb").scan(TableName="checkpoints")["Count"] == 1


def test_an_orderly_stop_is_no_crash_and_saves_everything(stack: Stack) -> None:
    target = LocalTarget.running(stack.folder)
    target.client("sqs").send_message(QueueUrl=target.queue_url("source"), MessageBody="the last one")
    stack.down()
    assert "the last one" in (stack.folder / "emulator" / "sqs.json").read_text()
    again = Stack(stack.folder, tied_to_parent=True)
    again.up()
    assert not again.crashed
    again.down()
    stack.up()
    assert not stack.crashed


def test_a_state_file_is_never_half_written(stack: Stack) -> None:
    """Killed at any moment: a save replaces the file in one step."""
    for number in range(3):
        target = LocalTarget.running(stack.folder)
        url = target.queue_url("source")
        for _ in range(20):
            target.client("sqs").send_message(QueueUrl=url, MessageBody="x" * 50_000)
        wait_until_saved(stack, "sqs", "x" * 100)
        kill(stack)
        for path in (stack.folder / "emulator").glob("*.json"):
            json.loads(path.read_text())
        stack.up()
        assert stack.crashed, number


def test_only_its_owner_may_enter_the_folder_and_read_its_files(stack: Stack) -> None:
    assert stack.folder.stat().st_mode & 0o777 == 0o700
    written: list[Path] = [path for path in (stack.folder / "emulator").iterdir() if path.is_file()]
    assert written
    assert all(path.stat().st_mode & 0o077 == 0 for path in written)
