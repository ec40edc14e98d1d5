"""One execution at a time works on a topic, and one that no longer runs holds nothing."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.layers.lease import acquire
from lean_ops.environment.target import Target

TABLE = "lease-test"
WAITS = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": True}}}


@pytest.fixture(scope="module")
def machine(target: Target) -> Iterator[str]:
    """A state machine whose executions run until they are stopped."""
    target.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "checkpoint_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "checkpoint_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client = target.client("stepfunctions")
    arn = client.create_state_machine(
        name="lease-test", definition=json.dumps(WAITS), roleArn="arn:aws:iam::000000000000:role/r"
    )["stateMachineArn"]
    yield arn
    for execution in client.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"]:
        client.stop_execution(executionArn=execution["executionArn"])
    client.delete_state_machine(stateMachineArn=arn)
    target.client("dynamodb").delete_table(TableName=TABLE)


_TOPICS = (f"t{n}" for n in itertools.count())


@pytest.fixture
def topic() -> str:
    return next(_TOPICS)


def start(target: Target, machine: str) -> str:
    return target.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]


def stop(target: Target, execution: str) -> None:
    target.client("stepfunctions").stop_execution(executionArn=execution)


def take(target: Target, topic: str, execution: str, continued_from: str = "") -> bool:
    return acquire(
        target.client("dynamodb"),
        target.client("stepfunctions"),
        table=TABLE,
        topic=topic,
        execution_arn=execution,
        continued_from=continued_from,
    )


def test_the_first_takes_it_and_keeps_it_round_after_round(target: Target, machine: str, topic: str) -> None:
    me = start(target, machine)
    assert [take(target, topic, me) for _ in range(3)] == [True, True, True]


def test_a_second_running_execution_is_refused(target: Target, machine: str, topic: str) -> None:
    assert take(target, topic, start(target, machine))
    assert not take(target, topic, start(target, machine))


def test_an_execution_that_was_stopped_has_no_claim(target: Target, machine: str, topic: str) -> None:
    first = start(target, machine)
    assert take(target, topic, first)
    stop(target, first)
    assert take(target, topic, start(target, machine))


def test_an_execution_that_nobody_remembers_has_no_claim(target: Target, machine: str, topic: str) -> None:
    gone = start(target, machine).rpartition(":")[0] + ":forgotten"
    assert take(target, topic, gone)
    assert take(target, topic, start(target, machine))


def test_the_lease_passes_to_the_execution_that_goes_on_with_the_work(
    target: Target, machine: str, topic: str
) -> None:
    first, second = start(target, machine), start(target, machine)
    assert take(target, topic, first)
    assert take(target, topic, second, continued_from=first)
    assert not take(target, topic, first)


def test_a_topic_on_hold_is_refused_to_everybody_until_the_hold_is_lifted(
    target: Target, machine: str, topic: str
) -> None:
    first = start(target, machine)
    assert take(target, topic, first)
    key = {"checkpoint_id": {"S": f"{topic}#lease"}}
    hold: dict[str, Any] = {
        "UpdateExpression": "SET on_hold = :why",
        "ExpressionAttributeValues": {":why": {"S": "mending"}},
    }
    target.client("dynamodb").update_item(TableName=TABLE, Key=key, **hold)
    assert not take(target, topic, first)
    stop(target, first)
    second = start(target, machine)
    assert not take(target, topic, second)
    target.client("dynamodb").update_item(TableName=TABLE, Key=key, UpdateExpression="REMOVE on_hold")
    assert take(target, topic, second)


def test_of_many_that_start_together_exactly_one_works(target: Target, machine: str, topic: str) -> None:
    executions = [start(target, machine) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        taken: list[Any] = list(threads.map(lambda e: take(target, topic, e), executions))
    assert sum(taken) == 1
