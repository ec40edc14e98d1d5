"""A pass over a queue, against one that forgets what is hidden when its time is over."""

import random
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.intake import queue_pass
from common.intake.queue_pass import VISIBILITY_S, QueuePass


class Queue:
    """An SQS queue of numbered messages, in memory, with a clock of its own."""

    def __init__(self, count: int, order: str = "first", limit: int = 120_000) -> None:
        """``order``: what is handed out of what is visible: the first, any, or what came back last of all."""
        self.now = 0.0
        self.order, self.limit, self.draw = order, limit, random.Random(1)
        self.visible_at = {str(number): 0.0 for number in range(count)}
        self.receives = Counter[str]()

    def receive_message(self, **request: Any) -> dict[str, Any]:
        visible = [name for name, at in self.visible_at.items() if at <= self.now]
        if len(self.visible_at) - len(visible) >= self.limit:
            raise ClientError({"Error": {"Code": "OverLimit", "Message": ""}}, "ReceiveMessage")
        if self.order == "any":
            self.draw.shuffle(visible)
        visible = visible[:10]
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
                if self.order == "back":
                    del self.visible_at[name]
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


@pytest.mark.parametrize("order", ["any", "back"])
@pytest.mark.parametrize("limit", [120, 70])
def test_a_pass_over_a_longer_queue_than_may_be_hidden_goes_on_with_what_it_has_not_seen(
    order: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where others hide messages too, so that the limit is met earlier."""
    monkeypatch.setattr(queue_pass, "MAX_HELD", 100)
    queue = Queue(2_000, order, limit)
    seen, messages = look(queue)
    assert len(set(seen)) == len(seen) > 1_500
    assert not messages.complete
    assert queue.visible == 2_000


def test_a_pass_that_is_handed_the_same_messages_again_and_again_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_pass, "MAX_HELD", 100)
    queue = Queue(2_000)
    seen, messages = look(queue)
    assert (len(seen), messages.complete, queue.visible) == (100, False, 2_000)
    assert queue.receives.total() < 200
