"""Dead letters: messages that can never succeed go to the dead-letter queue unchanged, with the reason.

The body is sent as it was received, byte for byte; the reason travels in message attributes, next to the
sender's own. What the dead-letter queue does not accept stays in the source queue, whose redrive policy
brings it to the same dead-letter queue in the end.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from common.errors import RejectedEvent

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

MAX_CALL_ENTRIES: Final = 10
MAX_CALL_BYTES: Final = 1_048_576  # SendMessageBatch: bodies and attributes of all entries together
MAX_ATTRIBUTES: Final = 10
MAX_DETAIL_CHARS: Final = 500


@dataclass(frozen=True)
class DeadLetter:
    """A rejected message: the SQS record of the Lambda event, and why it was rejected."""

    record: Mapping[str, Any]
    reason: RejectedEvent

    @property
    def attributes(self) -> dict[str, dict[str, str]]:
        """Why and when, plus as many of the sender's own text attributes as fit (ten in all)."""
        first_seen_ms = int(self.record["attributes"]["ApproximateFirstReceiveTimestamp"])
        ours = {
            "error_code": self.reason.code,
            "error_detail": self.reason.detail[:MAX_DETAIL_CHARS],
            "first_seen": datetime.fromtimestamp(first_seen_ms / 1000, UTC).isoformat(),
            "source_message_id": self.record["messageId"],
        }
        entries = {name: {"DataType": "String", "StringValue": value} for name, value in ours.items()}
        for name, attribute in self.record.get("messageAttributes", {}).items():
            if len(entries) < MAX_ATTRIBUTES and name not in entries and attribute.get("stringValue"):
                entries[name] = {"DataType": attribute["dataType"], "StringValue": attribute["stringValue"]}
        return entries


def send(client: "SQSClient", queue_url: str, letters: Iterable[DeadLetter]) -> list[str]:
    """Send the letters; return the message ids (of the source queue) that were not accepted."""
    refused: list[str] = []
    for call in _calls(letters):
        entries: list[Any] = [
            {"Id": str(i), "MessageBody": letter.record["body"], "MessageAttributes": letter.attributes}
            for i, letter in enumerate(call)
        ]
        try:
            answer = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
            failed = {entry["Id"] for entry in answer.get("Failed", [])}
        except (ClientError, BotoCoreError):
            # Nobody loses by it: the caller reports these messages as failed and counts them.
            failed = {entry["Id"] for entry in entries}
        refused += [letter.record["messageId"] for i, letter in enumerate(call) if str(i) in failed]
    return refused


def _calls(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    call: list[DeadLetter] = []
    size = 0
    for letter in letters:
        weight = len(letter.record["body"].encode("utf-8", "surrogatepass")) + sum(
            len(name) + len(value["DataType"]) + len(value["StringValue"].encode())
            for name, value in letter.attributes.items()
        )
        if call and (len(call) == MAX_CALL_ENTRIES or size + weight > MAX_CALL_BYTES):
            yield call
            call, size = [], 0
        call.append(letter)
        size += weight
    if call:
        yield call
