"""Every call that a function really makes is one that its policy allows, as IAM names it.

A run of the whole pipeline on the local stack is written down at the SDK and at the Iceberg library's files
(tests/support/recorder), and each call is judged as AWS evaluates it. Left out is what the local stack has
not: keys, and what Lambda itself does with a function's role (polling, logs, traces).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lean_ops.accounts import observation
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline

from ..conventions.policy_calls import MADE_BY_LAMBDA, VALUES, Call
from ..conventions.policy_engine import decision, listed, policy

Recorded = dict[str, Any]

RECORDER = Path(__file__).parents[1] / "support" / "recorder"
FUNCTIONS = [entry.name for entry in function_catalogue()]
PREFIX = "lean-ops-local"
LOCAL = VALUES | {
    "env": "local", "name_prefix": PREFIX, "database": PREFIX.replace("-", "_"),
    "lake_bucket": f"{PREFIX}-lake",
}  # fmt: skip
SERVICES = {
    "CloudWatch": "cloudwatch", "DynamoDB": "dynamodb", "Firehose": "firehose", "Glue": "glue",
    "Lambda": "lambda", "S3": "s3", "SFN": "states", "SQS": "sqs", "Secrets Manager": "secretsmanager",
}  # fmt: skip
# Where a call is not called like the right to it (service authorization reference).
RIGHTS = {
    "s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket",
    "sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}  # fmt: skip
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
    "curation": {"sqs:SendMessage"},  # of rows that make the code fail
    "maintenance": {"glue:GetDatabase", "glue:UpdateTable", "s3:PutObject"},  # of tables with many files
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
    others = ["archive_dead_letters", "circuit_breaker", "maintenance", "observation"]
    for name, event in [("notify_missing_schema", missing), *((name, {}) for name in others)]:
        answer = target.client("lambda").invoke(FunctionName=target.function(name), Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()


def judged(recorded: Recorded) -> list[Call]:
    """What IAM is asked about one recorded call."""
    service, request = SERVICES[recorded["service"]], recorded["request"]
    action = f"{service}:{recorded['call']}"
    scope = f"arn:aws:{service}:{LOCAL['region']}:{LOCAL['account']}:"
    resources, context = RESOURCES[service](request, scope)
    return [Call(RIGHTS.get(action, action), resource, context) for resource in resources]


Asked = tuple[list[str], tuple[tuple[str, str], ...]]


def _objects(request: Recorded, _scope: str) -> Asked:
    bucket = f"arn:aws:s3:::{request['Bucket']}"
    if "Key" in request:
        return [f"{bucket}/{request['Key']}"], ()
    return [bucket], (("s3:prefix", request.get("Prefix", "")),)


def _items(request: Recorded, scope: str) -> Asked:
    key = request.get("Key", {}).get("checkpoint_id", {}).get("S")
    return [f"{scope}table/{request['TableName']}"], (("dynamodb:leadingkeys", key),) if key else ()


def _tables(request: Recorded, scope: str) -> Asked:
    """Glue asks for the catalog and the database as well."""
    database = request.get("DatabaseName", request["Name"])
    asked = ["catalog", f"database/{database}"]
    if "DatabaseName" in request:
        asked.append(f"table/{database}/{request['Name']}")
    return [scope + part for part in asked], ()


RESOURCES: dict[str, Callable[[Recorded, str], Asked]] = {
    "cloudwatch": lambda _request, _scope: (["*"], ()),
    "dynamodb": _items,
    "firehose": lambda request, scope: ([f"{scope}deliverystream/{request['DeliveryStreamName']}"], ()),
    "glue": _tables,
    "lambda": lambda _request, _scope: (["*"], ()),
    "s3": _objects,
    "secretsmanager": lambda request, scope: ([f"{scope}secret:{request['SecretId']}-AbCdEf"], ()),
    "sqs": lambda request, scope: ([scope + request["QueueUrl"].rpartition("/")[2]], ()),
    "states": lambda request, _scope: ([request["executionArn"]], ()),
}


SEEN = [name for name in FUNCTIONS if name not in {"alert", "snowflake_latency"}]


@pytest.mark.parametrize("function", SEEN)
def test_what_a_function_calls_is_allowed(function: str, calls: dict[str, list[Recorded]]) -> None:
    document = policy(function.replace("_", "-"), LOCAL)
    asked = {call for recorded in calls[function] for call in judged(recorded)}
    assert asked
    assert [call for call in sorted(asked) if decision(document, call) != "Allow"] == []


@pytest.mark.parametrize("function", SEEN)
def test_what_a_function_may_do_was_done(function: str, calls: dict[str, list[Recorded]]) -> None:
    document = policy(function.replace("_", "-"), LOCAL)
    granted = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    done = {call.action for recorded in calls[function] for call in judged(recorded)}
    assert granted - done - MADE_BY_LAMBDA - HAPPENS_WHEN_IT_GOES_WRONG <= NOT_SEEN.get(function, set())
