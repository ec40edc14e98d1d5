"""Every call that driver and workers of jobs really make is one that their role allows, as IAM names it.

As for functions (``tests/drills/test_what_functions_call_is_what_their_roles_allow.py``); left out is what
the local stack has not: keys, the archive, and the log.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lean_ops.accounts import observation
from lean_ops.environment.target import Target
from lean_ops.local import spark
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget, keep_spark
from lean_ops.operate import pipeline
from lean_ops.operate.pipeline import Engine

from ..conventions.policy_engine import decision, listed, policy
from ..support.recorded import LOCAL, RECORDER, Recorded, judged

# Of rows that make the code fail, of alarms and holds, of keys that were erased, of what failed, and of
# columns without a contract that were known on an earlier day.
NOT_SEEN = {
    "sqs:SendMessage", "dynamodb:UpdateItem", "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListBucket",
    # Of the service, which the local stack is not.
    "kms:Decrypt", "kms:GenerateDataKey", "logs:DescribeLogGroups", "logs:CreateLogStream",
    "logs:DescribeLogStreams", "logs:PutLogEvents",
}  # fmt: skip


def message(number: int, turn: int, device_type: str) -> str:
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
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Recorded]]:
    """What jobs called while events, refused ones among them, went all the way."""
    if lacks := spark.missing() or spark.install():
        pytest.skip(lacks)
    folder = tmp_path_factory.mktemp("calls")
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(RECORDER))
        patch.setenv("RECORDED_CALLS", str(folder))
        # By it a job is known, and other tests of this process may have a Spark of their own.
        patch.delenv("SPARK_HOME", raising=False)
        stack.up()
    try:
        keep_spark(stack.folder, wanted=True)
        target = LocalTarget.running(stack.folder)
        provision(target, Tuning(visibility_timeout_s=30, buffer_interval_s=1, batching_window_s=0))
        _go_all_the_way(target)
        found: list[Any] = [
            json.loads(line) for path in folder.glob("*.ndjson") for line in path.read_text().splitlines()
        ]
        yield [call for call in found if call["function"] == "spark-job"]
    finally:
        stack.down(wipe=True)


def _go_all_the_way(target: Target) -> None:
    url = target.queue_url(target.source_queue)
    for kind in ("pump", "unknown"):
        for number in range(3):
            target.client("sqs").send_message(QueueUrl=url, MessageBody=message(number, 1, kind))
    assert observation.settle(target, timeout_s=300) == 0
    arn = pipeline.start(target, "events", engine=Engine.SPARK)
    path = [visit.name for visit in pipeline.follow(target, arn)]
    assert {"RunCurationOnSpark", "RunSemanticOnSpark"} <= set(path), pipeline.outcome(target, arn)


def test_what_jobs_call_is_allowed(calls: list[Recorded]) -> None:
    asked = {call for recorded in calls for call in judged(recorded)}
    assert {"glue:UpdateTable", "s3:PutObject", "s3:GetObject"} <= {call.action for call in asked}
    assert [call for call in sorted(asked) if decision(policy("spark-job", LOCAL), call) != "Allow"] == []


def test_what_jobs_may_do_was_done(calls: list[Recorded]) -> None:
    document = policy("spark-job", LOCAL)
    granted = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    done = {call.action for recorded in calls for call in judged(recorded)}
    assert granted - done - NOT_SEEN == set()
