"""Batches are as long as SQS allows, and no longer; segments bound what is open on the ledger."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.batching import SEND_MESSAGES
from common.runtime.errors import InvalidInput
from lean_ops.accounts.messages import Kind, Message
from lean_ops.simulate.sender import (
    SEGMENT_BYTES,
    SEGMENT_MESSAGES,
    calls,
    segments,
)


def message(body: str) -> Message:
    return Message(body, "events", Kind.ORIGINAL, "m", "k", 1)


@given(st.lists(st.integers(1, SEND_MESSAGES.bytes), max_size=40))
def test_batches_keep_order_and_limits_and_are_as_long_as_possible(sizes: list[int]) -> None:
    messages = [message("x" * size) for size in sizes]
    cut = list(calls(messages))
    assert [m for batch in cut for m in batch] == messages
    for i, batch in enumerate(cut):
        size = sum(len(m.body) for m in batch)
        assert 0 < len(batch) <= SEND_MESSAGES.entries
        assert size <= SEND_MESSAGES.bytes
        if i + 1 < len(cut):
            follower = len(cut[i + 1][0].body)
            assert len(batch) == SEND_MESSAGES.entries or size + follower > SEND_MESSAGES.bytes


def test_bytes_are_counted_not_characters() -> None:
    half = "ü" * (SEND_MESSAGES.bytes // 4 + 1)  # two bytes each
    assert [len(batch) for batch in calls([message(half)] * 3)] == [1, 1, 1]


@pytest.mark.parametrize("body", ["", "x" * (SEND_MESSAGES.bytes + 1)])
def test_a_message_that_no_call_takes_is_refused(body: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 1048576 bytes"):
        list(calls([message("good"), message(body)]))


def test_segments_are_bounded_in_messages_and_bytes() -> None:
    short = [message("x")] * (2 * SEGMENT_MESSAGES + 1)
    assert [len(s) for s in segments(iter(short))] == [SEGMENT_MESSAGES, SEGMENT_MESSAGES, 1]
    long = [message("x" * (SEGMENT_BYTES // 4))] * 9
    assert [len(s) for s in segments(iter(long))] == [4, 4, 1]
    assert list(segments(iter([]))) == []
