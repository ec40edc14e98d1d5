from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lean_ops.local.bridges import BRIDGED_VERSION, MAX_PAYLOAD_BYTES, due_batch, failed_items, install
from lean_ops.local.errors import LocalStackError


def _messages(count: int, sent_at: float = 0.0, body: str = "x") -> list[dict[str, Any]]:
    return [{"body": body, "sent_at": sent_at, "visible_at": sent_at} for _ in range(count)]


def test_another_version_of_the_emulator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.9.9")
    with pytest.raises(LocalStackError, match=rf"expected ministack {BRIDGED_VERSION}, found 9\.9\.9"):
        install()


def test_nothing_visible_is_no_batch() -> None:
    assert due_batch([], 10, 0, now=0) == 0


def test_a_full_batch_does_not_wait_for_the_window() -> None:
    assert due_batch(_messages(25), 10, 300, now=0) == 10


def test_a_partial_batch_waits_for_the_window_of_its_oldest_message() -> None:
    messages = _messages(1, sent_at=100) + _messages(2, sent_at=100.9)
    assert due_batch(messages, 10, 1, now=100.99) == 0
    assert due_batch(messages, 10, 1, now=101) == 3


def test_a_message_that_came_back_waits_from_its_return() -> None:
    message = {"body": "x", "sent_at": 0.0, "visible_at": 100.0}
    assert due_batch([message], 10, 1, now=100.5) == 0


def test_a_batch_ends_before_the_payload_limit_and_does_not_wait() -> None:
    body = "x" * (MAX_PAYLOAD_BYTES // 3)
    assert due_batch(_messages(5, body=body), 10_000, 300, now=0) == 2


def test_one_message_is_a_batch_however_large() -> None:
    assert due_batch(_messages(2, body="x" * MAX_PAYLOAD_BYTES), 10, 300, now=0) == 1


@given(st.integers(0, 60), st.integers(1, 20), st.floats(0, 5), st.floats(0, 10))
def test_a_batch_never_exceeds_its_size_or_what_is_there(
    there: int, size: int, window: float, now: float
) -> None:
    assert 0 <= due_batch(_messages(there), size, window, now) <= min(there, size)


@pytest.mark.parametrize(
    "answer", [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}, "{}", "null"]
)
def test_an_answer_without_failures_is_success(answer: Any) -> None:
    assert failed_items(answer, frozenset({"a", "b"})) == set()


@pytest.mark.parametrize(
    "answer",
    [{"batchItemFailures": [{"itemIdentifier": "a"}]}, '{"batchItemFailures": [{"itemIdentifier": "a"}]}'],
)
def test_failures_name_the_messages_that_come_back(answer: Any) -> None:
    assert failed_items(answer, frozenset({"a", "b"})) == {"a"}


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        ["a"],
        {"batchItemFailures": "a"},
        {"batchItemFailures": ["a"]},
        {"batchItemFailures": [{}]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemIdentifier": "other"}]},
        {"batchItemFailures": [{"itemIdentifier": ["a"]}]},
        {"batchItemFailures": [{"itemIdentifier": "a"}, {"wrong": "b"}]},
    ],
)
def test_an_answer_that_names_no_message_fails_the_batch(answer: Any) -> None:
    assert failed_items(answer, frozenset({"a", "b"})) is None
