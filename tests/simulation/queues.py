"""Source queue and dead-letter queue, as far as a replay and a device meet them; time is the world's."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Self

SOURCE: Final = "source"
LETTERS: Final = "letters"


@dataclass
class _Message:
    number: int
    body: str
    attributes: dict[str, Any] = field(default_factory=dict)
    visible_at: float = 0.0
    receives: int = 0


class Queues:
    """What SQS answers. Every call goes through ``external``."""

    def __init__(
        self, name: str, now: Callable[[], float], external: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._arn = f"arn:aws:sqs:eu-west-1:000000000000:{name}"
        self._now = now
        self._external = external
        self._numbers = 0
        self.sender: Callable[[], int] = lambda: 0
        self.sent: list[tuple[int, str]] = []  # by which process, and the body
        self.returning: set[str] = set()  # bodies that the source's reader refuses once more
        self.returned: set[str] = set()
        self.waiting: dict[str, dict[str, _Message]] = {SOURCE: {}, LETTERS: {}}

    def put(self, queue: str, body: str, attributes: dict[str, Any] | None = None) -> None:
        """A message arrives."""
        self._numbers += 1
        self.waiting[queue][str(self._numbers)] = _Message(self._numbers, body, attributes or {})

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": LETTERS if QueueName.endswith("-dlq") else SOURCE}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        return {
            "Attributes": {
                "RedrivePolicy": json.dumps({"deadLetterTargetArn": self._arn}),
                "QueueArn": self._arn,
                "MessageRetentionPeriod": "1209600",
                "ApproximateNumberOfMessages": str(len(self.waiting[QueueUrl])),
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
                        "MessageId": f"letter-{m.number}",
                        "Body": m.body,
                        "ReceiptHandle": handle,
                        "MessageAttributes": m.attributes,
                        "Attributes": {
                            "SentTimestamp": "1780000000000",
                            "ApproximateReceiveCount": str(m.receives),
                        },
                    }
                    for handle, m in found
                ]
            }

        answer: dict[str, Any] = self._external(call)
        return answer

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for entry in Entries:
                if message := self.waiting[QueueUrl].get(entry["ReceiptHandle"]):
                    message.visible_at = self._now() + entry["VisibilityTimeout"]
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        answer: dict[str, Any] = self._external(call)
        return answer

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for entry in Entries:
                body, attributes = entry["MessageBody"], entry["MessageAttributes"]
                self.sent.append((self.sender(), body))
                self.put(LETTERS if body in self.returning else QueueUrl, body, attributes)
                if body in self.returning:
                    self.returning.discard(body)
                    self.returned.add(body)
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        answer: dict[str, Any] = self._external(call)
        return answer

    def delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for entry in Entries:
                self.waiting[QueueUrl].pop(entry["ReceiptHandle"], None)
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        answer: dict[str, Any] = self._external(call)
        return answer


class AtOnce:
    """Stands in for a thread pool: work is done by the process that gives it, which can be killed in it."""

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done
