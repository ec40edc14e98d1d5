"""One pass over a queue: every message looked at once, and given back unless it was removed.

SQS has no way to read without receiving. So a pass receives, keeps what it has seen hidden while it goes on,
and makes it visible again at its end. Every pass adds one to the receive count of each message, and a message
that was received three times no longer counts in the queue's age metric (Amazon SQS developer guide,
"Available CloudWatch metrics"): passes are to be rare.

A pass that is killed gives nothing back; what it held becomes visible after ``VISIBILITY_S`` by itself.

SQS hides about 120,000 messages of a queue at once and no more. A pass over a longer queue gives back what it
has held longest, to make room for what it has not seen, and ends when that brings nothing new any more: SQS
chooses what it hands out, so that such a pass is never known to be complete.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import ClientError

from common.runtime import outside

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

VISIBILITY_S: Final = 300
WAIT_S = 1
"""So long SQS waits for a message, if nobody says otherwise, before it answers "none"."""
BATCH_MESSAGES: Final = 10
# A standard queue lets about 120,000 messages be in flight (Amazon SQS quotas).
MAX_HELD: Final = 100_000
# The share of them that makes room, and how often its number may come again without anything new among it.
_GIVEN_BACK_SHARE: Final = 10
_REPEATS: Final = 2
# What SQS answers where more than it allows are hidden, others' included ("ReceiveMessage", errors).
_OVER_LIMIT: Final = "OverLimit"
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
    ``wait_s``: instead of ``WAIT_S``. ``clock``: seconds, monotonic.
    """

    def __init__(
        self,
        client: "SQSClient",
        queue_url: str,
        *,
        wait_s: int | None = None,
        clock: Callable[[], float] = outside.monotonic,
    ) -> None:
        self._client: Final = client
        self._queue_url: Final = queue_url
        self._wait_s: Final = WAIT_S if wait_s is None else wait_s
        self._clock: Final = clock
        self._held: Final[dict[str, str]] = {}
        self._seen: Final[set[str]] = set()
        self._extended = clock()
        self._full = False
        self.complete = False
        """Whether the pass has seen the whole queue (set at its end)."""

    @property
    def held(self) -> int:
        """Messages that the pass keeps hidden now; giving them back takes a call for ten."""
        return len(self._held)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._set_visibility(0, list(self._held.values()))
        self._held.clear()

    def batches(self) -> Iterator[list[QueuedMessage]]:
        """Messages that this pass has not seen, up to ten at a time, until there are none."""
        empty = repeated = 0
        while empty < _EMPTY_ANSWERS:
            if len(self._held) >= MAX_HELD:
                self._make_room()
            if self._clock() - self._extended > VISIBILITY_S / 2:
                self._set_visibility(VISIBILITY_S, list(self._held.values()))
                self._extended = self._clock()
            messages = self._receive()
            empty = 0 if messages else empty + 1
            for message in messages:
                self._held.pop(message.message_id, None)  # it was held before: now it is the youngest
                self._held[message.message_id] = message.receipt_handle
            # One that lapsed while the pass was slow, or made room, comes again, and is hidden again.
            fresh = [message for message in messages if message.message_id not in self._seen]
            self._seen.update(message.message_id for message in fresh)
            if fresh:
                repeated = 0
                yield fresh
            else:
                repeated += len(messages)
            if self._full and repeated >= _REPEATS * _room():
                return
        self.complete = not self._full

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

    def _receive(self) -> list[QueuedMessage]:
        try:
            answer = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=BATCH_MESSAGES,
                VisibilityTimeout=VISIBILITY_S,
                WaitTimeSeconds=self._wait_s,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        except ClientError as error:
            if not error.response["Error"]["Code"].endswith(_OVER_LIMIT):
                raise
            self._make_room()
            return []
        return [_message(entry) for entry in answer.get("Messages", [])]

    def _make_room(self) -> None:
        """Give back what was held longest."""
        self._full = True
        oldest = list(self._held.items())[: _room()]
        self._set_visibility(0, [handle for _, handle in oldest])
        for message_id, _ in oldest:
            self._held.pop(message_id, None)

    def _set_visibility(self, seconds: int, handles: Sequence[str]) -> None:
        """Hide messages for so long from now; 0 gives them back. A handle that lapsed is back already."""
        for start in range(0, len(handles), BATCH_MESSAGES):
            self._client.change_message_visibility_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                    for i, handle in enumerate(handles[start : start + BATCH_MESSAGES])
                ],
            )


def _room() -> int:
    return max(1, MAX_HELD // _GIVEN_BACK_SHARE)


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
