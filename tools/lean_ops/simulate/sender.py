"""The sender: messages → the source queue, on the ledger before they leave.

``SendMessageBatch`` takes at most 10 messages and 1 MiB a call, and may accept some and refuse others
(Amazon SQS API reference). Refused entries are sent again, only they, with full jitter between attempts; a
message that SQS calls the sender's fault ends the run at once, for it never will be accepted. Segments of
the ledger are sent one after the other, the calls of one segment by several threads: message order in a
standard queue is nobody's promise.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from common.runtime.batching import SEND_MESSAGES, batches
from common.runtime.errors import InvalidInput, TransientError
from common.runtime.retrying import RetryPolicy
from lean_ops.accounts.ledger import LedgerRun
from lean_ops.accounts.messages import Message
from lean_ops.environment.target import QueueClient

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

# What is on record, and in memory, before it is known to be sent: at most this much.
SEGMENT_MESSAGES: Final = 5_000
SEGMENT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class SendPolicy:
    """How to send. ``per_second`` limits the rate (messages a second; None: as fast as possible).

    An entry that SQS refuses for a passing reason is sent up to ``attempts`` times, ``base_s * 2**attempt``
    seconds at most between them. ``clock`` (seconds, monotonic) and ``sleep`` are there to be replaced.
    """

    threads: int = 4
    per_second: float | None = None
    attempts: int = 6
    base_s: float = 0.2
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Progress:
    """How far a run is: messages that the queue accepted in this call and in earlier ones of the run."""

    sent: int
    earlier: int
    seconds: float


@dataclass(frozen=True)
class SendResult:
    """What a call has sent: messages, bytes of their bodies, calls to SQS, entries sent again, seconds.

    ``earlier`` counts the messages that earlier calls of a resumed run had sent.
    """

    sent: int
    earlier: int
    body_bytes: int
    calls: int
    repeated: int
    seconds: float


def send(
    messages: Iterable[Message],
    client: QueueClient,
    queue_url: str,
    run: LedgerRun,
    *,
    policy: SendPolicy | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SendResult:
    """Send ``messages`` and keep ``run`` up to date; a resumed run skips what it has sent already.

    ``messages`` must be the whole source from its start, in the same order each time. ``on_progress`` is
    called after every batch, by one thread at a time. Raises InvalidInput for a message that SQS can never
    take and TransientError when entries stay refused; the run can be resumed after either, and after an
    interrupt.
    """
    sender = _Sender(client, queue_url, policy or SendPolicy(), run.messages_sent(), on_progress)
    stream = islice(iter(messages), sender.earlier, None)
    with ThreadPoolExecutor(sender.policy.threads, "sender") as threads:
        for segment in segments(stream):
            run.plan(segment)
            for _ in threads.map(sender.send_batch, calls(segment)):
                pass  # taking the result raises what the thread raised
            run.confirm()
    run.finish()
    return sender.result()


def segments(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """Cut a stream into ledger segments, bounded in messages and in bytes (of characters, about)."""
    segment: list[Message] = []
    size = 0
    for message in messages:
        segment.append(message)
        size += len(message.body)
        if len(segment) == SEGMENT_MESSAGES or size >= SEGMENT_BYTES:
            yield segment
            segment, size = [], 0
    if segment:
        yield segment


def calls(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Cut messages into the longest runs that one SendMessageBatch call takes.

    Raises InvalidInput for a message that no call takes.
    """
    return batches(messages, _size, SEND_MESSAGES)


def _size(message: Message) -> int:
    length = len(message.body.encode())
    if not 0 < length <= SEND_MESSAGES.bytes:
        raise InvalidInput(
            f"message {message.message_id or message.reject_code}: expected a body of 1 to "
            f"{SEND_MESSAGES.bytes} bytes (SQS), found {length}; leave it out or send it in parts"
        )
    return length


class _Sender:
    """Sends batches from several threads and counts what was sent."""

    def __init__(
        self,
        client: QueueClient,
        queue_url: str,
        policy: SendPolicy,
        earlier: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.policy: Final = policy
        self.earlier: Final = earlier
        self._client: Final = client
        self._queue_url: Final = queue_url
        self._on_progress: Final = on_progress
        self._lock: Final = threading.Lock()
        self._started: Final = policy.clock()
        self._begun = self._sent = self._bytes = self._calls = self._repeated = 0

    def send_batch(self, batch: Sequence[Message]) -> None:
        """Send up to ten messages, each until it is accepted; raises as ``send`` does."""
        self._keep_pace(len(batch))
        pending: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(i), "MessageBody": message.body} for i, message in enumerate(batch)
        ]
        calls = 0
        while pending:
            if calls:
                self.policy.sleep(RetryPolicy(base_s=self.policy.base_s).pause_s(calls))
            answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=pending)
            calls += 1
            refused = {entry["Id"]: entry for entry in answer.get("Failed", [])}
            for entry in refused.values():
                if entry["SenderFault"]:
                    raise InvalidInput(
                        f"message {batch[int(entry['Id'])].message_id!r}: expected SQS to accept it, found "
                        f"{entry['Code']}: {entry.get('Message', '')}; correct the message or the queue"
                    )
            # Only what the answer names as taken was taken: one that is cut or foreign names nothing.
            taken = {entry["Id"] for entry in answer.get("Successful", [])}
            pending = [entry for entry in pending if entry["Id"] not in taken]
            if pending and calls == self.policy.attempts:
                codes = ", ".join(sorted({entry["Code"] for entry in refused.values()})) or "no word of them"
                raise TransientError(
                    f"queue {self._queue_url}: expected it to accept {len(pending)} messages within "
                    f"{calls} attempts, found {codes}; resume the run later"
                )
            with self._lock:
                self._repeated += len(pending)
        self._count(batch, calls)

    def result(self) -> SendResult:
        """What was sent so far."""
        seconds = self.policy.clock() - self._started
        return SendResult(self._sent, self.earlier, self._bytes, self._calls, self._repeated, seconds)

    def _count(self, batch: Sequence[Message], calls: int) -> None:
        with self._lock:
            self._sent += len(batch)
            self._bytes += sum(len(message.body.encode()) for message in batch)
            self._calls += calls
            if self._on_progress:
                elapsed = self.policy.clock() - self._started
                self._on_progress(Progress(self._sent, self.earlier, elapsed))

    def _keep_pace(self, count: int) -> None:
        """Wait until ``count`` more messages are due under the rate limit."""
        if self.policy.per_second is None:
            return
        with self._lock:
            due = self._started + self._begun / self.policy.per_second
            self._begun += count
        wait = due - self.policy.clock()
        if wait > 0:
            self.policy.sleep(wait)
