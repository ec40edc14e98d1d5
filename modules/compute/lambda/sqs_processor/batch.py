"""One batch of queued messages: read all, deliver the good, dead-letter the hopeless, report the rest."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from common.intake import dead_letters
from common.intake.dead_letters import DeadLetter
from common.intake.delivery import deliver
from common.intake.events import EventParser, RejectCode, unprocessable
from common.intake.reading import MessageReader
from common.runtime.errors import RejectedEvent, ServiceFailure
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SqsProcessorSettings

if TYPE_CHECKING:
    from types_boto3_firehose.client import FirehoseClient
    from types_boto3_sqs.client import SQSClient

    from common.intake.sources.outcome import Outcome

# A message may become far more bytes than it has: what is held is delivered before more is read.
MAX_HELD_BYTES: Final = 32 * 1024 * 1024
# No message is unpacked any more so many seconds before the function's end; the queue gives it out again.
_LAST_READ_S: Final = 20
# What may become of a reading, as metrics count it.
READ: Final = "read"
SKIPPED: Final = "skipped"
REFUSED: Final = "refused"
OUT_OF_TIME: Final = "OUT_OF_TIME"
SOURCES_UNREAD: Final = "SOURCES_UNREAD"
_OF_NO_SOURCE: Final = frozenset({RejectCode.NO_SOURCE, RejectCode.TWO_SOURCES})


@dataclass
class ReadBatch:
    """Per topic the records and, in the same order, the ids of the messages they came from.

    ``minutes``, likewise: when the queue took each message, in whole minutes since 1970. ``unread``: ids of
    messages that could not be looked at now, with the reason's code. ``readings``: what sources found, by
    source, fate (read, skipped, refused) and rule or code; ``short``: by source, those that were plain.
    """

    records: dict[str, list[bytes]] = field(default_factory=dict)
    message_ids: dict[str, list[str]] = field(default_factory=dict)
    minutes: dict[str, list[int]] = field(default_factory=dict)
    rejected: list[DeadLetter] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    readings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    short: dict[str, int] = field(default_factory=dict)
    held_bytes: int = 0

    def add(self, topic: str, record: bytes, message_id: str, minute: int) -> None:
        """Keep one record of a message."""
        try:
            self.records[topic].append(record)
        except KeyError:
            self.records[topic], self.message_ids[topic], self.minutes[topic] = [record], [], []
        self.message_ids[topic].append(message_id)
        self.minutes[topic].append(minute)

    def add_outcome(self, message: Mapping[str, Any], outcome: "Outcome", minute: int) -> None:
        """Keep what a message became by its source."""
        for made in outcome.events:
            self.add(made.topic, made.record, message["messageId"], minute)
            self.held_bytes += len(made.record)
        if (reason := outcome.reason) is not None:
            self.rejected.append(DeadLetter(message, reason, keeps_arrival=True))
        if outcome.source:
            self.readings[outcome.source, READ, ""] += len(outcome.events)
            for rule, count in outcome.skipped.items():
                self.readings[outcome.source, SKIPPED, rule] += count
            for refusal in outcome.refused:
                self.readings[outcome.source, REFUSED, str(refusal.code)] += 1

    def reject(self, message: Mapping[str, Any], reason: RejectedEvent, *, by_source: bool) -> None:
        """Keep the reason of a message that becomes nothing; ``by_source``: sources were asked about it."""
        self.rejected.append(DeadLetter(message, reason, keeps_arrival=by_source))
        source = getattr(reason, "source", "")
        if source or reason.code in _OF_NO_SOURCE:
            self.readings[source or "none", REFUSED, str(reason.code)] += 1


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch. ``retry`` holds SQS message ids, each once, for ``batchItemFailures``.

    ``delivered`` counts what Firehose accepted, by topic and minute of ingestion (since 1970); ``readings``
    what sources found: by source, fate (read, skipped, refused) and rule or code.
    """

    received: int
    delivered: Mapping[str, Counter[int]]
    rejected: Mapping[str, int]
    retry: Sequence[str]
    error_codes: Sequence[str]
    readings: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


def read(
    parser: EventParser,
    reader: MessageReader,
    messages: Sequence[Mapping[str, Any]],
    time_left_s: Callable[[], float],
) -> Iterator[ReadBatch]:
    """Sort the SQS records of one Lambda event into records by topic and rejected messages.

    In portions: what messages of sources become is bounded before more is read.
    """
    batch = ReadBatch()
    to_record = parser.parse
    for position, message in enumerate(messages):
        sent_ms = int(message["attributes"]["SentTimestamp"])
        plain = reader.is_plain(message)
        try:
            if plain:
                topic, record = to_record(message["body"], sent_ms * 1000)
                batch.add(topic, record, message["messageId"], sent_ms // 60_000)
                continue
            short = reader.read_short(message, parser, sent_ms * 1000)
            if short is not None:
                (topic, record), source = short
                batch.add(topic, record, message["messageId"], sent_ms // 60_000)
                batch.short[source] = batch.short.get(source, 0) + 1
                continue
            if time_left_s() < _LAST_READ_S:
                batch.unread |= {later["messageId"]: OUT_OF_TIME for later in messages[position:]}
                break
            batch.add_outcome(message, reader.read(message, parser), sent_ms // 60_000)
        except RejectedEvent as reason:
            batch.reject(message, reason, by_source=not plain)
        except ServiceFailure:
            batch.unread[message["messageId"]] = SOURCES_UNREAD
        except (
            Exception
        ) as error:  # a fault that nobody thought of: its neighbours go on, an operator sees it
            batch.reject(message, unprocessable(error, message["messageId"]), by_source=not plain)
        if batch.held_bytes > MAX_HELD_BYTES:
            yield batch
            batch = ReadBatch()
    yield batch


def process(
    messages: Sequence[Mapping[str, Any]],
    *,
    settings: SqsProcessorSettings,
    parser: EventParser,
    firehose: "FirehoseClient",
    sqs: "SQSClient",
    retry: RetryPolicy,
    time_left_s: Callable[[], float],
    reader: MessageReader | None = None,
) -> BatchOutcome:
    """Process one batch. Every message ends in delivered, rejected or retry.

    A message of many readings may be delivered and rejected, each in part. One of which Firehose refused
    anything is only retried: its dead letter, if there is to be one, is sent when the rest of it is through.
    """
    retry_ids: dict[str, None] = {}
    error_codes: set[str] = set()
    delivered: dict[str, Counter[int]] = {}
    readings: Counter[tuple[str, str, str]] = Counter()
    rejected: list[DeadLetter] = []
    for batch in read(parser, reader or MessageReader(), messages, time_left_s):
        for topic, records in batch.records.items():
            outcome = deliver(
                firehose, settings.delivery_stream(topic), records, retry=retry, time_left_s=time_left_s
            )
            counts = delivered.setdefault(topic, Counter())
            counts.update(batch.minutes[topic])
            counts.subtract(batch.minutes[topic][i] for i in outcome.failed)
            retry_ids |= dict.fromkeys(batch.message_ids[topic][i] for i in outcome.failed)
            error_codes |= outcome.error_codes
        retry_ids |= dict.fromkeys(batch.unread)
        error_codes |= set(batch.unread.values())
        rejected += batch.rejected
        readings += batch.readings
        readings.update({(source, READ, ""): count for source, count in batch.short.items()})

    letters = [letter for letter in rejected if letter.record["messageId"] not in retry_ids]
    refused = set(dead_letters.send(sqs, settings.dead_letter_queue_url, letters))
    retry_ids |= dict.fromkeys(refused)
    counted = Counter(letter.reason.code for letter in letters if letter.record["messageId"] not in refused)
    return BatchOutcome(len(messages), delivered, counted, list(retry_ids), sorted(error_codes), readings)


def untouched(messages: Sequence[Mapping[str, Any]], error_code: str) -> BatchOutcome:
    """The outcome of a batch that could not be begun: each of its messages is tried again."""
    return BatchOutcome(len(messages), {}, {}, [message["messageId"] for message in messages], [error_code])
