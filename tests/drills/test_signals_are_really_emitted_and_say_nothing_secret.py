"""Every metric that an alarm or a panel reads is emitted, and no log line holds a payload value.

One run of everything on a local stack: good, bad and poisonous messages with canaries planted in them, every
function of the catalogue invoked; then its log groups are read.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import pytest

from common.intake.sources.registry import SOURCES_KEY, digest_of, written
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from lean_ops.accounts import observation
from lean_ops.environment.alarm_catalogue import Curve, Metric, curves, load
from lean_ops.environment.repository import CONTRACTS, ROOT, function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.alarms import alarms_of
from lean_ops.local.bridges import embedded_metrics
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline

CANARY = "c4n4ry"

# Metrics that AWS services publish by themselves, as their user guides list them: Amazon SQS "Available
# CloudWatch metrics", AWS Lambda "Types of metrics", AWS Step Functions "Execution metrics", Amazon Data
# Firehose "Monitor with CloudWatch metrics", Amazon DynamoDB "Metrics and dimensions", Amazon EventBridge
# Scheduler "Monitoring with Amazon CloudWatch".
AWS = {
    "AWS/SQS": {
        "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent",
    },
    "AWS/Lambda": {"Errors", "Invocations", "Duration"},
    "AWS/States": {
        "ExecutionsAborted", "ExecutionsFailed", "ExecutionsStarted", "ExecutionsSucceeded",
        "ExecutionsTimedOut",
    },
    "AWS/Firehose": {
        "IncomingRecords", "DeliveryToIceberg.Bytes", "DeliveryToIceberg.DataFreshness",
        "DeliveryToIceberg.FailedRowCount", "DeliveryToIceberg.SuccessfulRowCount",
    },
    "AWS/DynamoDB": {"SuccessfulRequestLatency"},
    "AWS/Scheduler": {"InvocationDroppedCount", "TargetErrorCount"},
}  # fmt: skip
# Emitted where Snowflake is configured: tests/integration/readers/test_snowflake_latencies_are_read.py.
SNOWFLAKE = {"SnowflakeQueryMilliseconds", "SnowflakeRefreshStalled"}
# Of a registry that cannot be read: tests/unit/handlers/test_topics_are_data.py.
UNREAD = {"RegistryUnread"}


class Seen(NamedTuple):
    """A metric's name and the names of its dimensions."""

    name: str
    dimensions: frozenset[str]


METERS: Final = {
    "version": 1,
    "match": {"topic": "meters/{meter}"},
    "each": {
        "in": "readings",
        "skip": [{"reason": "heartbeat", "when": {"of": "beat", "present": True}}],
    },
    "topic": "events",
    "key": ["$meter", "$time"],
    "time": {"at": "ts", "as": "ms"},
}
READINGS: Final = {
    "readings": [{"ts": 1_790_000_000_000, "note": CANARY}, {"beat": CANARY}, {"note": CANARY}]
}
"""One that is read, one that is skipped, and one without a time."""


RULES: Final = """    quality:
      - metric: rowCount
        mustBeGreaterThan: 1000000
"""
"""Of the topic's contract beside its own: rules about all rows, which no contract here has."""


def bodies() -> list[str]:
    """Good, contract-breaking, broken and poisonous messages; each carries the canary wherever it can."""
    now = datetime.now(UTC)

    def event(number: int, **changes: Any) -> dict[str, Any]:
        payload = {
            "device": {"type": CANARY},
            "reading": {"value": f"{CANARY}"},
            "note": f"{CANARY}-{number}",
        }
        return {
            "message_id": f"signals-{number}",
            "idempotency_key": f"signals-{number}",
            "topic_name": "events",
            "publish_time": now.isoformat(),
            "correlation_id": CANARY,
            "payload": payload,
            **changes,
        }

    return [
        json.dumps(event(1)),
        json.dumps(event(2, payload={"reading": {"value": 1, "new": [CANARY]}, "at": CANARY})),
        json.dumps(event(3, topic_name=f"x_{CANARY}")),
        json.dumps(event(4, publish_time=CANARY)),
        json.dumps(event(5, publish_time=(now + timedelta(days=9)).isoformat())),
        json.dumps(event(6, payload=CANARY)),
        json.dumps(event(7, message_id=CANARY * 100)),
        f'{{"{CANARY}": NaN}}',
        f'{{"payload": "{CANARY}',
        f'["{CANARY}"]',
        '{"a":' * 5_000 + f'"{CANARY}"' + "}" * 5_000,
    ]


@pytest.fixture(scope="module")
def stack_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    stack = Stack(tmp_path_factory.mktemp("signals") / "stack", tied_to_parent=True, wait_scale=0.01)
    stack.up()
    target = LocalTarget.running(stack.folder)
    provision(target, Tuning(visibility_timeout_s=5, buffer_interval_s=1, batching_window_s=0))
    described = written({"meters": METERS}, {})
    contract = (
        (CONTRACTS / "events.yaml").read_text().replace("    properties:\n", f"{RULES}    properties:\n", 1)
    )
    topics = {topic: Topic(contract=True, watched=True) for topic in target.topics}
    for key, content in (
        (SOURCES_KEY, described),
        ("contracts/events.yaml", contract.encode()),
        (REGISTRY_KEY, registry_of(topics, digest_of(described)).written()),
    ):
        target.client("s3").put_object(Bucket=target.lake_bucket, Key=key, Body=content)
    url = target.queue_url(target.source_queue)
    for body in bodies():
        target.client("sqs").send_message(QueueUrl=url, MessageBody=body)
    on: Any = {"mqtt_topic": {"DataType": "String", "StringValue": "meters/m-1"}}
    target.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(READINGS), MessageAttributes=on)
    assert observation.settle(target, timeout_s=300) == 0
    assert pipeline_run(target) == "FullPipelineSuccess"
    for entry in function_catalogue():
        event = _event(entry.name)
        if event is not None:
            target.client("lambda").invoke(
                FunctionName=target.function(entry.name), Payload=json.dumps(event)
            )
    yield target
    stack.down(wipe=True)


def _event(function: str) -> dict[str, Any] | None:
    """An event for functions that the run did not invoke, some of them with what they must refuse."""
    late = {"SentTimestamp": "1700000000000", "ApproximateFirstReceiveTimestamp": "1700000000000"}
    body = {
        "message_id": "late", "idempotency_key": "late", "topic_name": "events",
        "publish_time": "2023-11-14T00:00:00Z", "payload": {"note": CANARY},
    }  # fmt: skip
    record = {"messageId": "1", "body": json.dumps(body), "attributes": late, "messageAttributes": {}}
    alarm = {"AlarmName": "x", "AlarmDescription": CANARY}
    events: dict[str, dict[str, Any] | None] = {
        "sqs_processor": {"Records": [record]},
        "alert": {"Records": [{"Sns": {"TopicArn": "a:lean-ops-local-chat", "Message": json.dumps(alarm)}}]},
        "notify_missing_schema": {"topic": "events", "run_id": "r"},
        "curation": None,
        "semantic": None,
        # Every third look counts what arrived.
        "observation": {"time": datetime.now(UTC).replace(minute=0).isoformat()},
        "get_all_checkpoints": {"topic": "nothing", "execution_arn": "a:r", "continued_from": ""},
    }
    return events.get(function, {"trigger": "schedule"})


def pipeline_run(target: Target) -> str:
    arn = pipeline.start(target, "events")
    return [visit.name for visit in pipeline.follow(target, arn)][-1]


def lines(target: Target) -> dict[str, list[str]]:
    """Log lines by function."""
    client = target.client("logs")
    found: dict[str, list[str]] = {}
    for entry in function_catalogue():
        group = f"/aws/lambda/{target.function(entry.name)}"
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=group)
        found[entry.name] = [event["message"] for page in pages for event in page["events"]]
    return found


def test_every_function_has_logged(stack_target: Target) -> None:
    assert not [name for name, logged in lines(stack_target).items() if not logged]


def test_no_log_line_of_any_function_holds_a_payload_value(stack_target: Target) -> None:
    for function, logged in lines(stack_target).items():
        shown = [line for line in logged if CANARY in line]
        assert shown == [], f"{function} logs payload values"


def test_every_json_line_has_one_shape(stack_target: Target) -> None:
    for function, logged in lines(stack_target).items():
        own = [json.loads(line) for line in logged if line.startswith('{"level"')]
        assert own or function == "circuit_breaker"  # silent while nothing changes
        for line in own:
            assert line["service"] == function
            assert {"level", "timestamp", "message", "request_id", "correlation_id"} <= line.keys(), line


def test_every_metric_of_alarms_and_panels_is_emitted(stack_target: Target) -> None:
    emitted = {
        Seen(datum.name, frozenset(datum.dimensions))
        for logged in lines(stack_target).values()
        for datum in embedded_metrics("\n".join(logged))
    }
    wanted: set[Seen] = set()
    drawn = [curve for panel in load().panels for curve in curves(panel)]
    metrics = [metric for alarm in alarms_of(stack_target) for metric in alarm.alarm.metrics]
    for metric in [*metrics, *(curve for curve in drawn if isinstance(curve, Metric))]:
        if metric.namespace.startswith("AWS/"):
            assert metric.name in AWS[metric.namespace], metric
        else:
            wanted.add(Seen(metric.name, frozenset(metric.dimensions)))
    for curve in (curve for curve in drawn if isinstance(curve, Curve)):
        for schema, name in re.findall(
            r"SEARCH\('\{([^}]*\}?[^}]*)\} MetricName=\"([^\"]+)\"", curve.expression
        ):
            namespace, *dimensions = schema.split(",")
            if namespace.startswith("AWS/"):
                assert name in AWS[namespace], curve
            else:
                wanted.add(Seen(name, frozenset(dimensions)))
    missing = {seen for seen in wanted if seen.name not in SNOWFLAKE | UNREAD} - emitted
    assert missing == set()


def test_fields_that_the_queries_read_are_in_the_logs(stack_target: Target) -> None:
    known = {"@timestamp"}
    for logged in lines(stack_target).values():
        for line in (json.loads(text) for text in logged if text.startswith('{"level"')):
            known |= {
                *line,
                *(f"{name}.{inner}" for name in line if isinstance(line[name], dict) for inner in line[name]),
            }
    for path in (ROOT / "modules/monitoring/queries").iterdir():
        for listed in re.findall(r"^(?:\| )?fields (.*)$", path.read_text(), re.M):
            fields = {field.strip() for field in listed.split(",")}
            # Fields of what did not happen here: a breaker that changed, a batch that failed.
            quiet = {
                "before",
                "phase",
                "openings",
                "held",
                "reason",
                "tries_at",
                "error_codes.0",
                "error_codes.1",
            }
            assert fields - known <= quiet, path.name
