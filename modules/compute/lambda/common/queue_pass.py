"""One pass over a queue: every message looked at once, and given back unless it was removed.

SQS has no way to read without receiving. So a pass receives, keeps what it has seen hidden while it goes on,
and makes it visible again at its end. Every pass adds one to the receive count of each message, and a message
that was received three times no longer counts in the queue's age metric (Amazon SQS developer guide,
"Available CloudWatch metrics"): passes are to be rare.

A pass that is killed gives nothing back; what it held becomes visible after ``VISIBILITY_S`` by itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

VISIBILITY_S: Final = 300
BATCH_MESSAGES: Final = 10
# A standard queue lets about 120,000 messages be in flight (Amazon SQS quotas).
MAX_HELD: Final = 100_000
# A long poll asks every server of the queue; one that finds nothing may still be an unlucky one.
_EMPTY_ANSWERS: Final = 2


@dataclass(frozen=True)
class QueuedMessage:
    """A message as a queue (or the archive) holds it; times in milliseconds since 1970 UTC.

    ``sent_ms``: when the queue accepted it; of a message that SQS itself moved here, when the source queue
    did. ``attributes``: its message attributes, as ``SendMessage`` takes them.
    """

    message_id: str
    body: str
    sent_ms: int
    receive_count: int = 0
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    receipt_handle: str = ""

    def text_attribute(self, name: str) -> str | None:
        """The value of a text attribute, None where there is none."""
        return self.attributes.get(name, {}).get("StringValue")


class QueuePass:
    """A pass over the queue at ``queue_url``, to be used in a ``with`` block, which gives everything back.

    One thread goes through the batches; others may remove messages meanwhile.
    ``wait_s``: how long SQS waits for a message before it answers "none". ``clock``: seconds, monotonic.
    """

    def __init__(
        self,
        client: "SQSClient",
        queue_url: str,
        *,
        wait_s: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client: Final = client
        self._queue_url: Final = queue_url
        self._wait_s: Final = wait_s
        self._clock: Final = clock
        self._held: Final[dict[str, str]] = {}
        self._seen: Final[set[str]] = set()
        self._extended = clock()
        self.complete = False
        """Whether the pass has seen the whole queue (set at its end)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._set_visibility(0)
        self._held.clear()

    def batches(self) -> Iterator[list[QueuedMessage]]:
        """Messages that this pass has not seen, up to ten at a time, until there are none."""
        empty = 0
        while empty < _EMPTY_ANSWERS:
            if len(self._held) >= MAX_HELD:
                return
            if self._clock() - self._extended > VISIBILITY_S / 2:
                self._set_visibility(VISIBILITY_S)
            answer = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=BATCH_MESSAGES,
                VisibilityTimeout=VISIBILITY_S,
                WaitTimeSeconds=self._wait_s,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
            messages = [_message(entry) for entry in answer.get("Messages", [])]
            empty = 0 if messages else empty + 1
            self._held.update((message.message_id, message.receipt_handle) for message in messages)
            # One that lapsed while the pass was slow comes again, and is hidden again.
            fresh = [message for message in messages if message.message_id not in self._seen]
            self._seen.update(message.message_id for message in fresh)
            if fresh:
                yield fresh
        self.complete = True

    def remove(self, messages: Sequence[QueuedMessage]) -> list[str]:
        """Delete up to ten messages of this pass from the queue; return the ids of those that stayed."""
        handles = [self._held.get(message.message_id, message.receipt_handle) for message in messages]
        answer = self._client.delete_message_batch(
            QueueUrl=self._queue_url,
            Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(handles)],
        )
        gone = {int(entry["Id"]) for entry in answer.get("Successful", [])}
        for i in gone:
            self._held.pop(messages[i].message_id, None)
        return [message.message_id for i, message in enumerate(messages) if i not in gone]

    def _set_visibility(self, seconds: int) -> None:
        """Hide what is held for so long from now; 0 gives it back. A handle that lapsed is back already."""
        handles = list(self._held.values())
        for start in range(0, len(handles), BATCH_MESSAGES):
            self._client.change_message_visibility_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                    for i, handle in enumerate(handles[start : start + BATCH_MESSAGES])
                ],
            )
        self._extended = self._clock()


def _message(entry: Mapping[str, Any]) -> QueuedMessage:
    system = entry.get("Attributes", {})
    return QueuedMessage(
        message_id=entry["MessageId"],
        body=entry["Body"],
        sent_ms=int(system["SentTimestamp"]),
        receive_count=int(system["ApproximateReceiveCount"]),
        attributes={
            name: {key: value for key, value in attribute.items() if value not in (None, [])}
            for name, attribute in entry.get("MessageAttributes", {}).items()
        },
        receipt_handle=entry["ReceiptHandle"],
    )
