"""Queue → Firehose. Answers with ``batchItemFailures``: the messages that SQS is to deliver again."""

from collections import Counter
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from common.intake.events import EventParser
from common.intake.reading import KnownSources
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.errors import ServiceFailure
from common.runtime.logs import logged, logger
from common.runtime.metrics import LATE_S, emit
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SqsProcessorSettings
from common.runtime.topics import Topics
from sqs_processor.batch import READ, REFUSED, SKIPPED, BatchOutcome, process, untouched

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> SqsProcessorSettings:
    return SqsProcessorSettings.from_environment()


@lru_cache(maxsize=1)
def _parser(topics: frozenset[str]) -> EventParser:
    return EventParser(topics)


@cache
def _topics() -> Topics:
    return Topics(_client("s3"), _settings().lake_bucket)


@cache
def _sources() -> KnownSources:
    return KnownSources(_client("s3"), _settings().lake_bucket)


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("sqs_processor")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, list[dict[str, str]]]:
    """Entry point of the queue's event source mapping (ReportBatchItemFailures).

    Without a registry nobody can say which topics there are: no message is rejected for that.
    """
    try:
        registry = _topics().current()
        parser = _parser(registry.names)
        reader = _sources().current(registry.sources)
    except ServiceFailure as error:
        logger("sqs_processor").error(str(error))
        outcome = untouched(event["Records"], "REGISTRY_UNREAD")
    else:
        outcome = process(
            event["Records"],
            settings=_settings(),
            parser=parser,
            firehose=_client("firehose"),
            sqs=_client("sqs"),
            retry=RetryPolicy(),
            reader=reader,
            time_left_s=lambda: context.get_remaining_time_in_millis() / 1000,
        )
    _report(outcome)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in outcome.retry]}


def _report(outcome: BatchOutcome) -> None:
    settings = _settings()
    failed = len(outcome.retry)
    delivered = {topic: minutes.total() for topic, minutes in outcome.delivered.items()}
    log = logger("sqs_processor")
    (log.error if failed else log.info)(
        "batch processed",
        extra={
            "received": outcome.received,
            "delivered": delivered,
            "rejected": outcome.rejected,
            "readings": {"/".join(filter(None, what)): count for what, count in outcome.readings.items()},
            "retry": failed,
            "error_codes": outcome.error_codes,
        },
    )
    emit(
        settings.project,
        {
            "EventsReceived": outcome.received,
            "EventsDelivered": sum(delivered.values()),
            "EventsRejected": sum(outcome.rejected.values()),
            "EventsFailed": failed,
            # As many samples as batches: the circuit breaker counts good and bad ones by it.
            "FailedBatches": 1 if failed else 0,
        },
        environment=settings.env,
    )
    if _topics().stale or _sources().stale or "REGISTRY_UNREAD" in outcome.error_codes:
        emit(settings.project, {"RegistryUnread": 1}, environment=settings.env)
    now = outside.now()
    for topic, minutes in outcome.delivered.items():
        # By the minute of ingestion, so that they can be held against RAW's ingestion times.
        for minute, count in minutes.items():
            at = datetime.fromtimestamp(minute * 60, UTC)
            emit(settings.project, {"EventsAccepted": count}, at=at, environment=settings.env, topic=topic)
        late = sum(count for minute, count in minutes.items() if minute * 60 < now.timestamp() - LATE_S)
        if late:
            emit(settings.project, {"EventsAcceptedLate": late}, environment=settings.env, topic=topic)
    _report_readings(settings, outcome)
    for code, count in outcome.rejected.items():
        emit(settings.project, {"EventsRejectedByReason": count}, environment=settings.env, reason=code)


def _report_readings(settings: SqsProcessorSettings, outcome: BatchOutcome) -> None:
    """What sources made of messages: in all, and by source and reason."""
    totals: Counter[str] = Counter()
    for (source, fate, reason), count in outcome.readings.items():
        totals[fate] += count
        if fate == READ:
            emit(settings.project, {"ReadingsRead": count}, environment=settings.env, source=source)
        elif fate == SKIPPED:
            emit(
                settings.project,
                {"ReadingsSkipped": count},
                environment=settings.env,
                source=source,
                reason=reason,
            )
        else:
            emit(
                settings.project,
                {"ReadingsRefused": count},
                environment=settings.env,
                source=source,
                reason=reason,
            )
    if totals:
        emit(
            settings.project,
            {"ReadingsRead": totals[READ], "ReadingsRefused": totals[REFUSED]},
            environment=settings.env,
        )
