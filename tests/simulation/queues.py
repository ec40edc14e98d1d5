"""Source queue and dead-letter queue, as far as a replay, a device and the queue's function meet them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

SOURCE: Final = "source"
LETTERS: Final = "letters"


_EVENT: Final = re.compile(r'"message_id": "(m[0-9]+)"')
RETENTION_S: Final = 14 * 86_400.0


@dataclass
class Message:
    """A message. ``sent_ms``: when it was sent first; a move to the dead-letter queue leaves it so."""

    number: int
    body: str
    sent_ms: int
    attributes: dict[str, Any] = field(default_factory=dict)
    visible_at: float = 0.0
    receives: int = 0

    @property
    def id(self) -> str:
        """The id that SQS gave it."""
        return f"letter-{self.number}"


class Queues:
    """What SQS answers. Every call goes through ``external``."""

    def __init__(
        self,
        name: str,
        now: Callable[[], float],
        began_ms: int,
        external: Callable[[Callable[[], Any], str], Any],
        weather: Random,
    ) -> None:
        self._arn = f"arn:aws:sqs:eu-west-1:000000000000:{name}"
        self._now = now
        self._began_ms = began_ms
        self._external = external
        self._weather = weather
        self._numbers = 0
        self.unreliable = False  # removed messages may come once more, and any may be late
        self.sender: Callable[[], int] = lambda: 0
        self.sent: list[tuple[int, str]] = []  # by which process, and the body
        self.unsent: list[tuple[int, str]] = []  # removed by which process, and not sent by any
        self.returning: set[str] = set()  # bodies that the source's reader refuses once more
        self.returned: set[str] = set()
        self.waiting: dict[str, dict[str, Message]] = {SOURCE: {}, LETTERS: {}}
        self.redriven: list[str] = []  # bodies that came too often
        self.expired: list[str] = []  # bodies that SQS has forgotten
        self.took: dict[str, set[datetime]] = {}  # when the source took messages, by the event's id

    def put(
        self, queue: str, body: str, attributes: dict[str, Any] | None = None, *, visible_at: float = 0.0
    ) -> None:
        """A message arrives."""
        self._numbers += 1
        sent_ms = self._began_ms + int(self._now() * 1000)
        message = Message(self._numbers, body, sent_ms, attributes or {}, visible_at)
        self.waiting[queue][str(self._numbers)] = message
        if queue == SOURCE and (found := _EVENT.search(body)):
            self.took.setdefault(found[1], set()).add(datetime.fromtimestamp(sent_ms / 1000, UTC))
        if queue == LETTERS and any(body == sent for _, sent in self.sent):
            self.returned.add(body)

    def forget(self) -> None:
        """What SQS does with messages that are two weeks old, by when they were first sent."""
        for waiting in self.waiting.values():
            for handle, message in list(waiting.items()):
                if self._began_ms + self._now() * 1000 - message.sent_ms > RETENTION_S * 1000:
                    self.expired.append(waiting.pop(handle).body)

    def take(self, most: int, visibility_s: float, most_receives: int) -> list[Message]:
        """What the source's function is given: messages in no order; one that came too often is a letter."""
        now, here = self._now(), self.waiting[SOURCE]
        found = [message for message in here.values() if message.visible_at <= now]
        if self.unreliable:
            self._weather.shuffle(found)
        taken = []
        for message in found[:most]:
            if message.receives >= most_receives:
                self.waiting[LETTERS][str(message.number)] = here.pop(str(message.number))
                message.visible_at, message.receives = 0.0, 0
                self.redriven.append(message.body)
                if any(message.body == sent for _, sent in self.sent):
                    self.returned.add(message.body)
                continue
            message.visible_at = now + visibility_s
            message.receives += 1
            taken.append(message)
        return taken

    def done(self, queue: str, messages: Sequence[Message]) -> None:
        """Remove messages; on an unreliable day one of many comes once more."""
        for message in messages:
            if self.unreliable and self._weather.random() < 0.03:
                message.visible_at = self._now() + self._weather.choice((0.0, 30.0, 3000.0))
            else:
                self.waiting[queue].pop(str(message.number), None)

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": LETTERS if QueueName.endswith("-dlq") else SOURCE}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        return {
            "Attributes": {
                "RedrivePolicy": json.dumps({"deadLetterTargetArn": self._arn}),
                "QueueArn": self._arn,
                "MessageRetentionPeriod": "1209600",
                "ApproximateNumberOfMessages": str(len(self.waiting[QueueUrl])),
                "ApproximateNumberOfMessagesNotVisible": str(
                    sum(message.visible_at > self._now() for message in self.waiting[QueueUrl].values())
                ),
            }
        }

    def receive_message(
        self, QueueUrl: str, MaxNumberOfMessages: int, VisibilityTimeout: int, **_: Any
    ) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            now = self._now()
            here = self.waiting[QueueUrl]
            found = [(handle, m) for handle, m in here.items() if m.visible_at <= now][:MaxNumberOfMessages]
            for _, message in found:
                message.visible_at = now + VisibilityTimeout
                message.receives += 1
            return {
                "Messages": [
                    {
                        "MessageId": m.id,
                        "Body": m.body,
                        "ReceiptHandle": handle,
                        "MessageAttributes": m.attributes,
                        "Attributes": {
                            "SentTimestamp": str(m.sent_ms),
                            "ApproximateReceiveCount": str(m.receives),
                        },
                    }
                    for handle, m in found
                ]
            }

        answer: dict[str, Any] = self._external(call, f"receive from {QueueUrl}")
        return answer

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for entry in Entries:
                if message := self.waiting[QueueUrl].get(entry["ReceiptHandle"]):
                    message.visible_at = self._now() + entry["VisibilityTimeout"]
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        answer: dict[str, Any] = self._external(call, f"hide or show in {QueueUrl}")
        return answer

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for entry in Entries:
                body, attributes = entry["MessageBody"], entry["MessageAttributes"]
                if QueueUrl == SOURCE:
                    self.sent.append((self.sender(), body))
                self.put(LETTERS if body in self.returning else QueueUrl, body, attributes)
                self.returning.discard(body)
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        answer: dict[str, Any] = self._external(call, f"send to {QueueUrl}")
        return answer

    def delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for entry in Entries:
                gone = self.waiting[QueueUrl].pop(entry["ReceiptHandle"], None)
                if gone is not None and all(body != gone.body for _, body in self.sent):
                    self.unsent.append((self.sender(), gone.body))
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        answer: dict[str, Any] = self._external(call, f"remove from {QueueUrl}")
        return answer
