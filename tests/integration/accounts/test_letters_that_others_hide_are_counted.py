"""Letters that an archive or a replay hides are missing for a moment; whoever counts them waits."""

from collections.abc import Iterator
from typing import Any

import pytest

from lean_ops.accounts import observation
from lean_ops.local.target import LocalTarget


class OneQueue:
    """A target of which nothing is asked but its dead-letter queue."""

    dead_letter_queue = "letters-of-others"

    def __init__(self, target: LocalTarget) -> None:
        self.sqs: Any = target.client("sqs")
        self.url = self.sqs.create_queue(QueueName=self.dead_letter_queue)["QueueUrl"]

    def client(self, _name: str) -> Any:
        return self.sqs

    def queue_url(self, _name: str) -> str:
        return self.url


@pytest.fixture
def letters(target: LocalTarget) -> Iterator[Any]:
    queue = OneQueue(target)
    for code in ("NOT_JSON", "NOT_JSON", "MISSING_FIELD"):
        queue.sqs.send_message(
            QueueUrl=queue.url,
            MessageBody="x",
            MessageAttributes={"error_code": {"DataType": "String", "StringValue": code}},
        )
    yield queue
    queue.sqs.delete_queue(QueueUrl=queue.url)


def hide(letters: Any, seconds: int) -> None:
    taken = letters.sqs.receive_message(
        QueueUrl=letters.url, MaxNumberOfMessages=2, VisibilityTimeout=seconds
    )
    assert len(taken["Messages"]) == 2


def test_all_that_are_in_sight_are_counted_and_handed_back(letters: Any) -> None:
    for _ in range(2):
        assert observation.dead_letters(letters) == {"NOT_JSON": 2, "MISSING_FIELD": 1}


def test_what_another_pass_hides_is_waited_for(letters: Any) -> None:
    hide(letters, 3)

    assert observation.dead_letters(letters) == {"NOT_JSON": 2, "MISSING_FIELD": 1}


def test_what_stays_hidden_is_said(letters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "_HELD_S", 0)
    hide(letters, 600)

    found = observation.dead_letters(letters)

    assert found.pop(observation.HIDDEN) == 2
    assert sum(found.values()) == 1
