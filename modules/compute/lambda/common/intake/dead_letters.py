"""Dead letters: messages that can never succeed go to the dead-letter queue unchanged, with the reason.

The body is sent as it was received, byte for byte; the reason travels in message attributes, next to the
sender's own. What the dead-letter queue does not accept stays in the source queue, whose redrive policy
brings it to the same dead-letter queue in the end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.runtime.batching import SEND_MESSAGES, batches
from common.runtime.errors import RejectedEvent

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

MAX_ATTRIBUTES: Final = 10
MAX_DETAIL_CHARS: Final = 500
# The attributes that a dead letter has beside its sender's.
WHY_DEAD: Final = ("error_code", "error_detail", "first_seen", "source_message_id")
# The replay that sent a message last; it stays with the message when that is dead again.
REPLAYED_BY: Final = "replayed_by"
# When a queue first took a message whose readings may take their time from that, in milliseconds since 1970:
# a replay has another time of its own and is to make the same events. It stays with the message as well.
ARRIVED_MS: Final = "arrived_ms"


@dataclass(frozen=True)
class DeadLetter:
    """A rejected message: the SQS record of the Lambda event, and why it was rejected."""

    record: Mapping[str, Any]
    reason: RejectedEvent
    keeps_arrival: bool = False

    @property
    def attributes(self) -> dict[str, dict[str, str]]:
        """Why and when, plus as many of the sender's own text attributes as fit (ten in all).

        Of a message that sources were asked about, the arrival too (``keeps_arrival``), and the sender's own
        before when it was first seen and which it was: a source may go by them when it is replayed.
        """
        first_seen_ms = int(self.record["attributes"]["ApproximateFirstReceiveTimestamp"])
        ours = (
            self.reason.code,
            self.reason.detail[:MAX_DETAIL_CHARS],
            datetime.fromtimestamp(first_seen_ms / 1000, UTC).isoformat(),
            self.record["messageId"],
        )
        entries = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in zip(WHY_DEAD, ours, strict=True)
        }
        senders = {
            name: {"DataType": attribute["dataType"], "StringValue": attribute["stringValue"]}
            for name, attribute in self.record.get("messageAttributes", {}).items()
            if name not in entries and attribute.get("stringValue")
        }
        if self.keeps_arrival:
            arrived = {"DataType": "String", "StringValue": self.record["attributes"]["SentTimestamp"]}
            senders = {ARRIVED_MS: arrived, **senders}
            first, last = dict(islice(entries.items(), 2)), dict(islice(entries.items(), 2, None))
            return dict(islice({**first, **senders, **last}.items(), MAX_ATTRIBUTES))
        by_weight = sorted(senders.items(), key=lambda entry: entry[0] != REPLAYED_BY)
        return dict(islice({**entries, **dict(by_weight)}.items(), MAX_ATTRIBUTES))


def send(client: "SQSClient", queue_url: str, letters: Iterable[DeadLetter]) -> list[str]:
    """Send the letters; return the message ids (of the source queue) that were not accepted."""
    refused: list[str] = []
    for call in batches(letters, _size, SEND_MESSAGES):
        entries: list[Any] = [
            {"Id": str(i), "MessageBody": letter.record["body"], "MessageAttributes": letter.attributes}
            for i, letter in enumerate(call)
        ]
        try:
            answer = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
            # Only what the answer names was taken: one that is cut or foreign names nothing.
            taken = {entry["Id"] for entry in answer.get("Successful", [])}
        except (ClientError, BotoCoreError, ResponseParserError):
            # Nobody loses by it: the caller reports these messages as failed and counts them.
            taken = set()
        refused += [letter.record["messageId"] for i, letter in enumerate(call) if str(i) not in taken]
    return refused


def _size(letter: DeadLetter) -> int:
    return len(letter.record["body"].encode("utf-8", "surrogatepass")) + sum(
        len(name) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in letter.attributes.items()
    )
