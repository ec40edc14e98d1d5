"""Every call that a function really makes is one that its policy allows, as IAM names it.

A run of the whole pipeline on the local stack is written down at the SDK and at the Iceberg library's files
(tests/support/recorder), and each call is judged as AWS evaluates it. Left out is what the local stack has
not: keys, and what Lambda itself does with a function's role (polling, logs, traces).
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from typer.testing import CliRunner

from lean_ops.accounts import observation
from lean_ops.cli import app
from lean_ops.commands import options
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline

from ..conventions.policy_calls import MADE_BY_LAMBDA
from ..conventions.policy_engine import decision, listed, policy
from ..support.recorded import LOCAL, RECORDER, Recorded, judged

FUNCTIONS = [entry.name for entry in function_catalogue()]
# Rights that a run which goes well does not use: to tell an absent object from a forbidden one, to give up an
# upload half-way, to remove what failed or is a week old.
HAPPENS_WHEN_IT_GOES_WRONG = {"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListBucket"}
NOT_SEEN = {
    "archive_dead_letters": {"s3:GetObject"},  # of letters that an earlier pass has archived
    # Of a breaker that has something to do.
    "circuit_breaker": {
        "cloudwatch:GetMetricData", "dynamodb:PutItem", "dynamodb:UpdateItem",
        "lambda:UpdateEventSourceMapping",
    },
    # Of rows that make the code fail, of topics that an alarm is about, and of keys that were erased.
    "curation": {"sqs:SendMessage", "dynamodb:UpdateItem", "secretsmanager:GetSecretValue"},
    "semantic": {"dynamodb:UpdateItem"},
    "observation": {"dynamodb:UpdateItem"},
    # Of rows that are missing, of topics with a fault, and of keys that were erased.
    "reconciliation": {
        "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "dynamodb:UpdateItem",
        "secretsmanager:GetSecretValue",
    },
    # Of a topic without contract that was known on an earlier day.
    "notify_missing_schema": {"dynamodb:UpdateItem"},
    # Of many tables, and of a view that is missing.
    "maintenance": {"lambda:InvokeFunction", "glue:CreateTable"},
}  # fmt: skip


def message(number: int, turn: int, *, device_type: str = "pump") -> str:
    payload = {
        "device": {"id": f"d{number}", "type": device_type},
        "reading": {"value": turn, "unit": "bar", "quality": "good"},
        f"new_{turn}": "x",
    }
    event = {
        "message_id": f"m{number}-{turn}", "idempotency_key": f"k{number}", "topic_name": "events",
        "publish_time": datetime.now(UTC).isoformat(), "payload": payload,
    }  # fmt: skip
    return json.dumps(event)


SMOKE = "the smoke run"


def _try_it(folder: Path) -> list[Recorded]:
    """What `make smoke` calls: doctor, and a run."""
    found: list[Recorded] = []
    make = BaseClient._make_api_call  # type: ignore[attr-defined] # what every call goes through

    def made(self: Any, operation: str, request: Recorded) -> Any:
        found.append({"service": self.meta.service_model.service_id, "call": operation, "request": request})
        return make(self, operation, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", made)
        patch.setattr(options, "STACKS", folder)
        for words in (["doctor"], ["run"]):
            done = CliRunner().invoke(app, [*words, "--stack", "stack"])
            assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return found


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Recorded]]]:
    """What each function called while events went all the way, and upkeep and archive did their work."""
    folder = tmp_path_factory.mktemp("calls")
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(RECORDER))
        patch.setenv("RECORDED_CALLS", str(folder))
        stack.up()
    target = LocalTarget.running(stack.folder)
    try:
        _go_all_the_way(target)
        found: defaultdict[str, list[Recorded]] = defaultdict(list)
        for path in folder.glob("*.ndjson"):
            for line in path.read_text().splitlines():
                call = json.loads(line)
                found[call["function"].removeprefix(f"{target.name_prefix}-").replace("-", "_")].append(call)
        found[SMOKE] = _try_it(folder)
        yield dict(found)
    finally:
        stack.down(wipe=True)


def _go_all_the_way(target: Target) -> None:
    provision(target, Tuning(visibility_timeout_s=30, buffer_interval_s=1, batching_window_s=0))
    url = target.queue_url(target.source_queue)
    for turn in range(2):
        bodies = [message(1, turn), message(2, turn), message(3, turn, device_type="unknown"), "no event"]
        for text in bodies:
            target.client("sqs").send_message(QueueUrl=url, MessageBody=text)
        assert observation.settle(target, timeout_s=300) == 0
        execution = pipeline.start(target, "events")
        assert [visit.name for visit in pipeline.follow(target, execution)][-1] == "FullPipelineSuccess"
    missing = {"topic": "events", "run_id": "r"}
    others = [
        "archive_dead_letters",
        "circuit_breaker",
        "dispatcher",
        "observation",
        "reconciliation",
        "maintenance",  # takes away what the others have reported
    ]
    # Every third look of observation counts what arrived.
    special = {"observation": {"time": datetime.now(UTC).replace(minute=0).isoformat()}}
    asked = [(name, special.get(name, {})) for name in others]
    for name, event in [("notify_missing_schema", missing), *asked]:
        answer = target.client("lambda").invoke(FunctionName=target.function(name), Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()


SEEN = [name for name in FUNCTIONS if name not in {"alert", "snowflake_latency"}]


@pytest.mark.parametrize("function", SEEN)
def test_what_a_function_calls_is_allowed(function: str, calls: dict[str, list[Recorded]]) -> None:
    document = policy(function.replace("_", "-"), LOCAL)
    asked = {call for recorded in calls[function] for call in judged(recorded)}
    assert asked
    assert [call for call in sorted(asked) if decision(document, call) != "Allow"] == []


# What the library behind a command calls beside what the command does.
_OF_THE_EMULATOR = {"sts:GetCallerIdentity", "sts:AssumeRole"}


def test_what_the_smoke_run_calls_is_allowed_and_nothing_else_is(calls: dict[str, list[Recorded]]) -> None:
    document = policy("ci-smoke", LOCAL)
    asked = {call for recorded in calls[SMOKE] for call in judged(recorded)}
    # Who asks who he is needs no right to it.
    asked = {call for call in asked if call.action not in _OF_THE_EMULATOR}
    assert [call for call in sorted(asked) if decision(document, call) != "Allow"] == []
    granted = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    assert granted - {call.action for call in asked} - {"kms:Decrypt"} == set()


@pytest.mark.parametrize("function", SEEN)
def test_what_a_function_may_do_was_done(function: str, calls: dict[str, list[Recorded]]) -> None:
    document = policy(function.replace("_", "-"), LOCAL)
    granted = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    done = {call.action for recorded in calls[function] for call in judged(recorded)}
    assert granted - done - MADE_BY_LAMBDA - HAPPENS_WHEN_IT_GOES_WRONG <= NOT_SEEN.get(function, set())
