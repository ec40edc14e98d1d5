"""A pass over a queue, against one that forgets what is hidden when its time is over."""

from collections import Counter
from typing import Any

import pytest

from common import queue_pass
from common.queue_pass import VISIBILITY_S, QueuePass


class Queue:
    """An SQS queue of numbered messages, in memory, with a clock of its own."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.visible_at = {str(number): 0.0 for number in range(count)}
        self.receives = Counter[str]()

    def receive_message(self, **request: Any) -> dict[str, Any]:
        visible = [name for name, at in self.visible_at.items() if at <= self.now][:10]
        for name in visible:
            self.visible_at[name] = self.now + request["VisibilityTimeout"]
            self.receives[name] += 1
        return {
            "Messages": [
                {
                    "MessageId": name,
                    "ReceiptHandle": f"{name}/{self.receives[name]}",
                    "Body": name,
                    "Attributes": {
                        "SentTimestamp": "0",
                        "ApproximateReceiveCount": str(self.receives[name]),
                    },
                }
                for name in visible
            ]
        }

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        for entry in Entries:
            name, number = entry["ReceiptHandle"].split("/")
            if name in self.visible_at and int(number) == self.receives[name]:
                self.visible_at[name] = self.now + entry["VisibilityTimeout"]
        return {}

    def delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        for entry in Entries:
            self.visible_at.pop(entry["ReceiptHandle"].split("/")[0], None)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    @property
    def visible(self) -> int:
        return sum(at <= self.now for at in self.visible_at.values())


def look(queue: Queue, seconds_each: float = 0.0) -> tuple[list[str], QueuePass]:
    client: Any = queue
    with QueuePass(client, "url", clock=lambda: queue.now) as messages:
        seen = []
        for batch in messages.batches():
            seen += [message.message_id for message in batch]
            queue.now += seconds_each
        return seen, messages


def test_every_message_is_seen_once_and_given_back() -> None:
    queue = Queue(95)
    seen, messages = look(queue)
    assert sorted(seen, key=int) == [str(number) for number in range(95)]
    assert messages.complete
    assert queue.visible == 95
    assert set(queue.receives.values()) == {1}


def test_a_slow_pass_keeps_hidden_what_it_has_seen() -> None:
    queue = Queue(200)
    seen, _ = look(queue, seconds_each=VISIBILITY_S / 4)
    assert len(seen) == 200
    assert set(queue.receives.values()) == {1}


def test_a_pass_so_slow_that_messages_lapse_still_sees_each_once_and_ends() -> None:
    queue = Queue(60)
    seen, messages = look(queue, seconds_each=VISIBILITY_S * 2)
    assert sorted(seen, key=int) == [str(number) for number in range(60)]
    assert messages.complete
    assert queue.visible == 60


def test_an_interrupted_pass_gives_everything_back() -> None:
    queue = Queue(30)
    client: Any = queue
    with (
        pytest.raises(KeyboardInterrupt),
        QueuePass(client, "url", clock=lambda: queue.now) as messages,
    ):
        next(messages.batches())
        assert queue.visible == 20
        raise KeyboardInterrupt
    assert queue.visible == 30


def test_removed_messages_are_not_given_back() -> None:
    queue = Queue(20)
    client: Any = queue
    with QueuePass(client, "url", clock=lambda: queue.now) as messages:
        for batch in messages.batches():
            assert messages.remove(batch) == []
    assert queue.visible_at == {}


def test_a_pass_ends_before_the_queue_lets_no_more_be_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_pass, "MAX_HELD", 50)
    queue = Queue(200)
    seen, messages = look(queue)
    assert len(seen) == 50
    assert not messages.complete
    assert queue.visible == 200
