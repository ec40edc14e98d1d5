"""Calls that were written down on a local stack (``tests/support/recorder``), as IAM is asked about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..conventions.policy_calls import VALUES, Call

Recorded = dict[str, Any]

RECORDER = Path(__file__).parent / "recorder"
PREFIX = "lean-ops-local"
LOCAL = VALUES | {
    "env": "local", "name_prefix": PREFIX, "database": PREFIX.replace("-", "_"),
    "lake_bucket": f"{PREFIX}-lake",
}  # fmt: skip
SERVICES = {
    "CloudWatch": "cloudwatch", "DynamoDB": "dynamodb", "Firehose": "firehose", "Glue": "glue",
    "Lambda": "lambda", "S3": "s3", "SFN": "states", "SQS": "sqs", "Secrets Manager": "secretsmanager",
    "CloudWatch Logs": "logs", "STS": "sts",
}  # fmt: skip
# Where a call is not called like the right to it (service authorization reference).
RIGHTS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket",
    "sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}  # fmt: skip


def judged(recorded: Recorded) -> list[Call]:
    """What IAM is asked about one recorded call; about each of its items, where it has several."""
    service, request = SERVICES[recorded["service"]], recorded["request"]
    action = f"{service}:{recorded['call']}"
    scope = f"arn:aws:{service}:{LOCAL['region']}:{LOCAL['account']}:"
    requests = [
        {"TableName": table, "Key": key}
        for table, asked in request.get("RequestItems", {}).items()
        for key in asked["Keys"]
    ]
    if action in WITHOUT_RESOURCE:
        return [Call(action, "*")]
    found = []
    for one in requests or [request]:
        resources, context = RESOURCES[service](one, scope)
        found += [Call(RIGHTS.get(action, action), resource, context) for resource in resources]
    return found


# Their filters are no resource.
WITHOUT_RESOURCE = {"lambda:ListEventSourceMappings", "logs:DescribeLogGroups", "cloudwatch:DescribeAlarms"}
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
    database = request["DatabaseName"] if "DatabaseName" in request else request["Name"]
    asked = ["catalog", f"database/{database}"]
    if "DatabaseName" in request:  # of all tables, each of which the caller must be allowed
        asked.append(f"table/{database}/{request.get('Name', 'quarantine_events')}")
    return [scope + part for part in asked], ()


def _executions(request: Recorded, _scope: str) -> Asked:
    """A start is judged on the machine, with its alias beside it; the local stack has none."""
    if "executionArn" in request:
        return [request["executionArn"]], ()
    return [request["stateMachineArn"]], (("states:statemachinequalifier", "live"),)


RESOURCES: dict[str, Callable[[Recorded, str], Asked]] = {
    "cloudwatch": lambda _request, _scope: (["*"], ()),
    "dynamodb": _items,
    "firehose": lambda request, scope: ([f"{scope}deliverystream/{request['DeliveryStreamName']}"], ()),
    "glue": _tables,
    "lambda": lambda request, scope: (
        [f"{scope}function:{request['FunctionName']}"] if "FunctionName" in request else ["*"],
        (),
    ),
    "logs": lambda _request, _scope: (["*"], ()),
    "sts": lambda _request, _scope: (["*"], ()),
    "s3": _objects,
    "secretsmanager": lambda request, scope: ([f"{scope}secret:{request['SecretId']}-AbCdEf"], ()),
    "sqs": lambda request, scope: (
        [scope + request.get("QueueName", request.get("QueueUrl", "").rpartition("/")[2])],
        (),
    ),
    "states": _executions,
}
