"""The simulation's models of services keep the promises that the emulator keeps, where both make any.

Each test runs against both. What AWS's documentation says otherwise, or what only one of the two does:

- Standard queues give messages in no order, and seldom one twice (Amazon SQS developer guide, "Standard
  queues"). The emulator does neither; the model does both when it is told to (``Queues.unreliable``).
- A message keeps its time when it is moved to a dead-letter queue, and expires by it (ibid., "Dead-letter
  queue retention"). The emulator gives it a new one; the model does as AWS.
- A message that was removed may be removed again (SQS API reference, DeleteMessage). The emulator says that
  this failed; the model does as AWS.
- A name of an execution is taken for good (Step Functions API reference, StartExecution). Both agree.
- The state of a mapping goes through Enabling and Disabling within a minute (Lambda API reference,
  UpdateEventSourceMapping). Both switch at once.
- GetObject of what is not there is NoSuchKey, HeadObject 404 (S3 API reference). The model says NoSuchKey to
  both; code that asks knows both (``common.contract.store``).
- DynamoDB and the interpreter of states are the emulator's own in the simulation: nothing to compare. Its
  Choice, Retry and Catch are tried on the real definition in
  ``tests/e2e/test_every_path_of_the_state_machine.py``.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from lean_ops.local.target import LocalTarget

from ...simulation.queues import SOURCE
from ...simulation.world import client as model
from ...simulation.world import simulated
from .test_emulator_behaves_like_aws import ROLE, _function


@dataclass
class Services:
    """Clients of either, a queue, and how time passes there."""

    client: Callable[[str], Any]
    queue: str
    wait: Callable[[float], None]
    name: str
    target: LocalTarget | None = None


@pytest.fixture(params=["model", "emulator"])
def services(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Services]:
    if request.param == "model":
        with simulated(tmp_path / "lake", 0) as world:

            def wait(seconds: float) -> None:
                world.clock += seconds

            yield Services(model, SOURCE, wait, "bucket")
        return
    target: LocalTarget = request.getfixturevalue("target")
    name = f"models-{uuid4()}"
    queue = target.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    target.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    clients: Any = target.client
    yield Services(clients, queue, time.sleep, name, target)


def receive(services: Services, hidden_s: int = 300) -> list[dict[str, Any]]:
    answer = services.client("sqs").receive_message(
        QueueUrl=services.queue,
        MaxNumberOfMessages=10,
        VisibilityTimeout=hidden_s,
        WaitTimeSeconds=0,
        MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        MessageAttributeNames=["All"],
    )
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def send(services: Services, *bodies: str) -> None:
    attribute = {"DataType": "String", "StringValue": "why"}
    entries = [
        {"Id": str(i), "MessageBody": body, "MessageAttributes": {"error_code": attribute}}
        for i, body in enumerate(bodies)
    ]
    answer = services.client("sqs").send_message_batch(QueueUrl=services.queue, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == [one["Id"] for one in entries]


def test_a_message_comes_as_it_was_sent(services: Services) -> None:
    send(services, '{"reading": 1.10, "unit": "°C"}', "not json")
    found = receive(services)
    assert sorted(one["Body"] for one in found) == sorted(['{"reading": 1.10, "unit": "°C"}', "not json"])
    for one in found:
        assert one["MessageAttributes"]["error_code"]["StringValue"] == "why"
        assert one["MessageAttributes"]["error_code"]["DataType"] == "String"
        assert int(one["Attributes"]["SentTimestamp"]) > 0


def test_a_message_is_hidden_for_as_long_as_was_asked_and_counts_its_receives(
    services: Services,
) -> None:
    send(services, "once")
    (first,) = receive(services, hidden_s=1)
    assert receive(services) == []
    services.wait(1.5)
    (second,) = receive(services)
    assert second["MessageId"] == first["MessageId"]
    assert second["Attributes"]["SentTimestamp"] == first["Attributes"]["SentTimestamp"]
    counts = [one["Attributes"]["ApproximateReceiveCount"] for one in (first, second)]
    assert counts == ["1", "2"]


def test_what_is_given_back_is_there_again_at_once(services: Services) -> None:
    send(services, "once")
    (found,) = receive(services)
    entry = {"Id": "0", "ReceiptHandle": found["ReceiptHandle"], "VisibilityTimeout": 0}
    services.client("sqs").change_message_visibility_batch(QueueUrl=services.queue, Entries=[entry])
    assert len(receive(services)) == 1


def test_what_is_removed_never_comes_again(services: Services) -> None:
    send(services, "once")
    (found,) = receive(services, hidden_s=1)
    for _ in range(1 if services.target else 2):
        answer = services.client("sqs").delete_message_batch(
            QueueUrl=services.queue, Entries=[{"Id": "0", "ReceiptHandle": found["ReceiptHandle"]}]
        )
        assert [one["Id"] for one in answer["Successful"]] == ["0"]
    services.wait(1.5)
    assert receive(services) == []


def test_objects_are_listed_in_the_order_of_their_keys_from_one_on(services: Services) -> None:
    s3 = services.client("s3")
    for day in ("02", "01", "03"):
        s3.put_object(Bucket=services.name, Key=f"dead-letters/2026-06-{day}/a", Body=b"x\n")
    s3.put_object(Bucket=services.name, Key="other/a", Body=b"x")

    def keys(**options: str) -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=services.name, Prefix="dead-letters/", **options
        )
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    assert keys() == [f"dead-letters/2026-06-0{day}/a" for day in (1, 2, 3)]
    assert keys(StartAfter="dead-letters/2026-06-02") == [f"dead-letters/2026-06-0{d}/a" for d in (2, 3)]
    assert s3.get_object(Bucket=services.name, Key="dead-letters/2026-06-01/a")["Body"].read() == b"x\n"
    s3.delete_object(Bucket=services.name, Key="dead-letters/2026-06-01/a")
    with pytest.raises(ClientError) as missing:
        s3.get_object(Bucket=services.name, Key="dead-letters/2026-06-01/a")
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"
    with pytest.raises(ClientError) as missing:
        s3.head_object(Bucket=services.name, Key="dead-letters/2026-06-01/a")
    assert missing.value.response["Error"]["Code"] in ("404", "NoSuchKey")


def test_an_execution_that_nobody_started_is_not_there(services: Services) -> None:
    stepfunctions = services.client("stepfunctions")
    arn = "arn:aws:states:eu-west-1:000000000000:execution:nobodys:run"
    with pytest.raises(stepfunctions.exceptions.ExecutionDoesNotExist):
        stepfunctions.describe_execution(executionArn=arn)


def test_the_mapping_of_a_queue_is_switched_and_slowed_down(services: Services) -> None:
    functions = services.client("lambda")
    if services.target is not None:
        _function(services.target, services.name, "return {}")
        functions.create_event_source_mapping(
            EventSourceArn=f"arn:aws:sqs:eu-west-1:000000000000:{services.name}",
            FunctionName=services.name,
            BatchSize=100,
            MaximumBatchingWindowInSeconds=5,
        )

    def look() -> dict[str, Any]:
        (found,) = functions.list_event_source_mappings(FunctionName=services.name)["EventSourceMappings"]
        return dict(found)

    assert (look()["State"], look()["BatchSize"], look()["MaximumBatchingWindowInSeconds"]) == (
        "Enabled",
        100,
        5,
    )
    functions.update_event_source_mapping(UUID=look()["UUID"], Enabled=False)
    assert (look()["State"], look()["BatchSize"]) == ("Disabled", 100)
    functions.update_event_source_mapping(
        UUID=look()["UUID"],
        Enabled=True,
        BatchSize=10,
        MaximumBatchingWindowInSeconds=0,
        ScalingConfig={"MaximumConcurrency": 2},
    )
    found = look()
    assert (found["State"], found["BatchSize"]) == ("Enabled", 10)
    assert found["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_the_name_of_an_execution_that_has_ended_is_taken(services: Services) -> None:
    stepfunctions = services.client("stepfunctions")
    machine = "machine"
    if services.target is not None:
        definition = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
        machine = stepfunctions.create_state_machine(
            name=services.name, definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]
    arn = stepfunctions.start_execution(stateMachineArn=machine, name="run", input="{}")["executionArn"]
    assert arn.endswith(":run")
    if services.target is None:
        stepfunctions.known[arn].status = stepfunctions.statuses[arn] = "SUCCEEDED"
    deadline = time.monotonic() + 120
    while stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(stepfunctions.exceptions.ExecutionAlreadyExists):
        stepfunctions.start_execution(stateMachineArn=machine, name="run", input='{"other": 1}')
