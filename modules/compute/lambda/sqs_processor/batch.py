"""One batch of queued messages: parse all, deliver the good, dead-letter the hopeless, report the rest."""

import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.intake import dead_letters
from common.intake.dead_letters import DeadLetter
from common.intake.delivery import deliver
from common.intake.events import EventParser, RejectCode
from common.runtime.errors import RejectedEvent
from common.runtime.logs import logger
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SqsProcessorSettings

if TYPE_CHECKING:
    from types_boto3_firehose.client import FirehoseClient
    from types_boto3_sqs.client import SQSClient


@dataclass
class ParsedBatch:
    """Per topic the records and, in the same order, the ids of the messages they came from.

    ``minutes``, likewise: when the queue took each message, in whole minutes since 1970.
    """

    records: dict[str, list[bytes]] = field(default_factory=dict)
    message_ids: dict[str, list[str]] = field(default_factory=dict)
    minutes: dict[str, list[int]] = field(default_factory=dict)
    rejected: list[DeadLetter] = field(default_factory=list)


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch. ``retry`` holds SQS message ids, each once, for ``batchItemFailures``.

    ``delivered`` counts what Firehose accepted, by topic and minute of ingestion (since 1970).
    """

    received: int
    delivered: Mapping[str, Counter[int]]
    rejected: Mapping[str, int]
    retry: Sequence[str]
    error_codes: Sequence[str]


def parse(parser: EventParser, messages: Sequence[Mapping[str, Any]]) -> ParsedBatch:
    """Sort the SQS records of one Lambda event into records by topic and rejected messages."""
    batch = ParsedBatch()
    to_record = parser.parse
    for message in messages:
        sent_ms = int(message["attributes"]["SentTimestamp"])
        try:
            topic, record = to_record(message["body"], sent_ms * 1000)
        except RejectedEvent as reason:
            batch.rejected.append(DeadLetter(message, reason))
            continue
        except (
            Exception
        ) as error:  # a fault that nobody thought of: its neighbours go on, an operator sees it
            batch.rejected.append(DeadLetter(message, _unprocessable(error, message["messageId"])))
            continue
        try:
            batch.records[topic].append(record)
        except KeyError:
            batch.records[topic], batch.message_ids[topic], batch.minutes[topic] = [record], [], []
        batch.message_ids[topic].append(message["messageId"])
        batch.minutes[topic].append(sent_ms // 60_000)
    return batch


def _unprocessable(error: Exception, message_id: str) -> RejectedEvent:
    """The reason of a message that could not be read; an error's own words may quote the message."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    logger("sqs_processor").error(
        "message could not be read",
        extra={"message_id": message_id, "error": type(error).__name__, "where": where},
    )
    return RejectedEvent(
        RejectCode.UNPROCESSABLE,
        f"expected to read the message, found {type(error).__name__} at {where}: mend the code, then replay",
    )


def process(
    messages: Sequence[Mapping[str, Any]],
    *,
    settings: SqsProcessorSettings,
    parser: EventParser,
    firehose: "FirehoseClient",
    sqs: "SQSClient",
    retry: RetryPolicy,
    time_left_s: Callable[[], float],
) -> BatchOutcome:
    """Process one batch. Every message ends in exactly one of delivered, rejected or retry."""
    batch = parse(parser, messages)
    retry_ids: list[str] = []
    error_codes: set[str] = set()
    delivered: dict[str, Counter[int]] = {}
    for topic, records in batch.records.items():
        outcome = deliver(
            firehose, settings.delivery_stream(topic), records, retry=retry, time_left_s=time_left_s
        )
        delivered[topic] = Counter(batch.minutes[topic])
        delivered[topic].subtract(batch.minutes[topic][i] for i in outcome.failed)
        retry_ids += [batch.message_ids[topic][i] for i in outcome.failed]
        error_codes |= outcome.error_codes

    refused = set(dead_letters.send(sqs, settings.dead_letter_queue_url, batch.rejected))
    rejected = Counter(
        letter.reason.code for letter in batch.rejected if letter.record["messageId"] not in refused
    )
    return BatchOutcome(len(messages), delivered, rejected, [*retry_ids, *refused], sorted(error_codes))


def untouched(messages: Sequence[Mapping[str, Any]], error_code: str) -> BatchOutcome:
    """The outcome of a batch that could not be begun: each of its messages is tried again."""
    return BatchOutcome(len(messages), {}, {}, [message["messageId"] for message in messages], [error_code])
