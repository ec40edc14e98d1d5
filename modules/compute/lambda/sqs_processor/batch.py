"""One batch of queued messages: parse all, deliver the good, dead-letter the hopeless, report the rest."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common import dead_letters
from common.dead_letters import DeadLetter
from common.delivery import RetryPolicy, deliver
from common.errors import RejectedEvent
from common.events import EventParser
from common.settings import Settings

if TYPE_CHECKING:
    from types_boto3_firehose.client import FirehoseClient
    from types_boto3_sqs.client import SQSClient


@dataclass
class ParsedBatch:
    """Per topic the records and, in the same order, the ids of the messages they came from."""

    records: dict[str, list[bytes]] = field(default_factory=dict)
    message_ids: dict[str, list[str]] = field(default_factory=dict)
    rejected: list[DeadLetter] = field(default_factory=list)


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch. ``retry`` holds SQS message ids, each once, for ``batchItemFailures``."""

    received: int
    delivered: Mapping[str, int]
    rejected: Mapping[str, int]
    retry: Sequence[str]
    error_codes: Sequence[str]


def parse(parser: EventParser, messages: Sequence[Mapping[str, Any]]) -> ParsedBatch:
    """Sort the SQS records of one Lambda event into records by topic and rejected messages."""
    batch = ParsedBatch()
    to_record = parser.parse
    for message in messages:
        try:
            topic, record = to_record(message["body"], int(message["attributes"]["SentTimestamp"]) * 1000)
        except RejectedEvent as reason:
            batch.rejected.append(DeadLetter(message, reason))
            continue
        try:
            batch.records[topic].append(record)
        except KeyError:
            batch.records[topic], batch.message_ids[topic] = [record], []
        batch.message_ids[topic].append(message["messageId"])
    return batch


def process(
    messages: Sequence[Mapping[str, Any]],
    *,
    settings: Settings,
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
    delivered: dict[str, int] = {}
    for topic, records in batch.records.items():
        outcome = deliver(
            firehose, settings.delivery_stream(topic), records, retry=retry, time_left_s=time_left_s
        )
        delivered[topic] = len(records) - len(outcome.failed)
        retry_ids += [batch.message_ids[topic][i] for i in outcome.failed]
        error_codes |= outcome.error_codes

    refused = set(dead_letters.send(sqs, settings.dead_letter_queue_url, batch.rejected))
    rejected = Counter(
        letter.reason.code for letter in batch.rejected if letter.record["messageId"] not in refused
    )
    return BatchOutcome(len(messages), delivered, rejected, [*retry_ids, *refused], sorted(error_codes))
