"""Checks of the way in: queues, the mapping between queue and function, the breaker, Firehose."""

import json
from collections.abc import Iterator
from typing import Final

from common.intake.breaker.mapping import TRIAL, MappingMissing
from common.intake.breaker.rules import Phase
from lean_ops.environment.repository import function_catalogue
from lean_ops.environment.target import Target
from lean_ops.operate.breaker import status
from lean_ops.operate.doctor import stored
from lean_ops.operate.doctor.findings import Finding, Severity
from lean_ops.operate.replay.deliveries import ErrorObject

_DAY_S: Final = 86_400
_DEAD_LETTER_RETENTION_S: Final = 14 * _DAY_S
_SOURCE_RETENTION_S: Final = 4 * _DAY_S
_FEWEST_RECEIVES: Final = 5  # AWS Lambda guide, "Using Lambda with Amazon SQS"
_VISIBILITY_FACTOR: Final = 6  # the same: visibility timeout of at least six times the function's timeout
_ERRORS: Final = "delivery-errors/"
_PROCESSOR: Final = "sqs_processor"


def queues(target: Target) -> Iterator[Finding]:
    """The source queue redrives into the dead-letter queue, and both keep messages long enough."""
    source, dead = _attributes(target, target.source_queue), _attributes(target, target.dead_letter_queue)
    mend = target.deploy_advice
    redrive = json.loads(source.get("RedrivePolicy", "{}"))
    if redrive.get("deadLetterTargetArn") != dead["QueueArn"]:
        found = redrive.get("deadLetterTargetArn", "none")
        yield Finding(target.source_queue, f"expected redrive into {dead['QueueArn']}, found {found}", mend)
    elif int(redrive["maxReceiveCount"]) < _FEWEST_RECEIVES:
        found = redrive["maxReceiveCount"]
        yield Finding(target.source_queue, f"expected {_FEWEST_RECEIVES} tries, found {found}", mend)
    yield from _retention(target.dead_letter_queue, dead, _DEAD_LETTER_RETENTION_S, mend)
    if int(source["MessageRetentionPeriod"]) > _SOURCE_RETENTION_S:
        yield Finding(
            target.source_queue,
            f"expected retention of at most {_SOURCE_RETENTION_S // _DAY_S} days (what it waits here it "
            f"lacks in the dead-letter queue), found {int(source['MessageRetentionPeriod']) // _DAY_S}",
            mend,
        )
    timeout = next(entry.timeout_s for entry in function_catalogue() if entry.name == _PROCESSOR)
    if target.has_production_timings and int(source["VisibilityTimeout"]) < _VISIBILITY_FACTOR * timeout:
        found = f"expected a visibility timeout of {_VISIBILITY_FACTOR * timeout} s, found "
        yield Finding(target.source_queue, found + source["VisibilityTimeout"], mend)


def dead_letters(target: Target) -> Iterator[Finding]:
    """Nothing waits in the dead-letter queue or among Firehose's error objects."""
    count = int(_attributes(target, target.dead_letter_queue)["ApproximateNumberOfMessages"])
    if count:
        yield Finding(
            target.dead_letter_queue,
            f"{count} dead letters",
            "look at them with `lean-ops dlq show`, then mend and `lean-ops replay dlq`",
            Severity.NOTE,
        )
    yield from stored.archive(target)
    listed = target.client("s3").list_objects_v2(Bucket=target.lake_bucket, Prefix=_ERRORS)
    waiting = [
        ErrorObject(entry["Key"], entry["LastModified"], entry["Size"])
        for entry in listed.get("Contents", [])
        if "/_" not in entry["Key"] and entry["Size"]
    ]
    if waiting:
        found = f"{len(waiting)} objects of failed deliveries" + (" or more" if listed["IsTruncated"] else "")
        advice = "`lean-ops replay delivery` puts their records back"
        if malformed := stored.malformed_lines(target, waiting):
            found += f"; {len(malformed)} of their lines cannot be replayed, the first: {malformed[0]}"
            advice += "; mend or remove what it names and leaves"
        yield Finding(f"s3://{target.lake_bucket}/{_ERRORS}", found, advice)


def mapping(target: Target) -> Iterator[Finding]:
    """The queue's function is invoked by the queue, answers record by record, and is not switched off."""
    arn = _attributes(target, target.source_queue)["QueueArn"]
    found = target.client("lambda").list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    if not found:
        yield Finding(
            target.source_queue, "expected a mapping to its function, found none", target.deploy_advice
        )
        return
    one = found[0]
    if f":function:{target.function(_PROCESSOR)}" not in one["FunctionArn"]:
        wrong = f"expected it to invoke {target.function(_PROCESSOR)}, found {one['FunctionArn']}"
        yield Finding(target.source_queue, wrong, target.deploy_advice)
    if "ReportBatchItemFailures" not in one.get("FunctionResponseTypes", []):
        wrong = "expected ReportBatchItemFailures, found none: one bad message repeats its whole batch"
        yield Finding(target.source_queue, wrong, target.deploy_advice)
    if one["State"] not in {"Enabled", "Enabling", "Updating", "Creating"}:
        yield Finding(
            target.source_queue,
            f"expected its mapping enabled, found {one['State']}: messages wait",
            "see why with `lean-ops breaker show`; `lean-ops breaker auto` lets the breaker decide again",
        )


def breaker(target: Target) -> Iterator[Finding]:
    """The circuit breaker is closed, nobody holds it, and the queue is read at its own pace."""
    try:
        found = status(target)
    except MappingMissing:
        return  # the check of the mapping says so
    record = found.record
    if found.damage:
        yield Finding(
            "circuit breaker",
            found.damage,
            "see the log of its function if this stays; `lean-ops breaker show`",
        )
        return
    state = record.breaker
    if state.phase is Phase.CLOSED and found.pace == TRIAL and record.enforced:
        yield Finding(
            target.source_queue,
            "its mapping takes messages at the pace of a trial while the breaker is closed: the pace of "
            "before was lost with a damaged record, or set so",
            f"{target.deploy_advice}, which sets the pace that is configured",
            Severity.NOTE,
        )
    if state.phase is not Phase.CLOSED:
        yield Finding(
            "circuit breaker",
            f"expected closed, found {state.phase} since {state.since:%Y-%m-%d %H:%M}: {state.reason}",
            "it tries again by itself; `lean-ops breaker show` says when, docs/runbook.md what to look at",
        )
    if state.held:
        yield Finding(
            "circuit breaker",
            f"held by an operator since {state.since:%Y-%m-%d %H:%M}: {state.reason}",
            "`lean-ops breaker auto` lets it decide again",
        )
    if not record.enforced:
        yield Finding(
            "circuit breaker",
            "its last decision is not in force yet",
            "it is enforced within a minute by the schedule; if not, see the log of the function",
            Severity.NOTE,
        )


def streams(target: Target) -> Iterator[Finding]:
    """Every topic has an active stream that delivers into its RAW table."""
    client = target.client("firehose")
    for topic in target.topics:
        name = target.settings.delivery_stream(topic)
        try:
            stream = client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
        except client.exceptions.ResourceNotFoundException:
            yield Finding(
                name, f"expected a delivery stream for topic {topic}, found none", target.deploy_advice
            )
            continue
        if stream["DeliveryStreamStatus"] != "ACTIVE":
            wrong = f"expected ACTIVE, found {stream['DeliveryStreamStatus']}"
            yield Finding(name, wrong, "see its error log in CloudWatch; then " + target.deploy_advice)
        destination = stream["Destinations"][0].get("IcebergDestinationDescription", {})
        listed = destination.get("DestinationTableConfigurationList", [])
        names = [(t["DestinationDatabaseName"], t["DestinationTableName"]) for t in listed]
        if names != [(target.database, f"raw_{topic}")]:
            wrong = f"expected to deliver into {target.database}.raw_{topic}, found {names or 'nowhere'}"
            yield Finding(name, wrong, target.deploy_advice)


def _attributes(target: Target, queue: str) -> dict[str, str]:
    found = target.client("sqs").get_queue_attributes(
        QueueUrl=target.queue_url(queue), AttributeNames=["All"]
    )
    return {str(name): value for name, value in found["Attributes"].items()}


def _retention(queue: str, attributes: dict[str, str], least: int, advice: str) -> Iterator[Finding]:
    kept = int(attributes["MessageRetentionPeriod"])
    if kept < least:
        wrong = f"expected to keep messages {least // _DAY_S} days, found {kept / _DAY_S:g}"
        yield Finding(queue, wrong, advice)
