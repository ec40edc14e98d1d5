"""Sending to a queue that refuses, fails or is interrupted: every message arrives, the ledger knows."""

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.runtime.errors import InvalidInput, TransientError
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Kind, Message
from lean_ops.environment.target import Target
from lean_ops.simulate.faults import FAULTS
from lean_ops.simulate.history import History, Scenario
from lean_ops.simulate.sender import Progress, SendPolicy, send

SOURCE = {"scenario": 1}
SCENARIO = Scenario(events=12_000, end=datetime(2026, 3, 10, tzinfo=UTC))
QUICK = SendPolicy(sleep=lambda _: None)


class Queue:
    """A queue that answers as SQS does; ``refuse`` says which entries of a call fail, and how."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.calls = 0
        self.outage_after: int | None = None
        self._lock = threading.Lock()

    def refuse(self, call: int, entries: Sequence[dict[str, str]]) -> dict[str, dict[str, Any]]:
        """Ids of refused entries, with the rest of their answer."""
        return {}

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:
        with self._lock:
            self.calls += 1
            if self.outage_after is not None and self.calls > self.outage_after:
                raise ConnectionError("the network is gone")
            refused = self.refuse(self.calls, Entries)
            self.bodies += [e["MessageBody"] for e in Entries if e["Id"] not in refused]
        taken = [{"Id": e["Id"]} for e in Entries if e["Id"] not in refused]
        return {"Failed": [{"Id": i, **answer} for i, answer in refused.items()], "Successful": taken}


class HiccupQueue(Queue):
    """Every third call accepts only its odd entries, but nobody is refused more than three times."""

    def __init__(self) -> None:
        super().__init__()
        self._refused: Counter[str] = Counter()

    def refuse(self, call: int, entries: Sequence[dict[str, str]]) -> dict[str, dict[str, Any]]:
        if call % 3:
            return {}
        refused = [entry for entry in entries[::2] if self._refused[entry["MessageBody"]] < 3]
        self._refused.update(entry["MessageBody"] for entry in refused)
        return {e["Id"]: {"SenderFault": False, "Code": "InternalError"} for e in refused}


class DeafQueue(Queue):
    """Accepts nothing, for a reason that may pass."""

    def refuse(self, call: int, entries: Sequence[dict[str, str]]) -> dict[str, dict[str, Any]]:
        return {e["Id"]: {"SenderFault": False, "Code": "ServiceUnavailable"} for e in entries}


class StrictQueue(Queue):
    """Holds the first entry of every call against the sender."""

    def refuse(self, call: int, entries: Sequence[dict[str, str]]) -> dict[str, dict[str, Any]]:
        return {entries[0]["Id"]: {"SenderFault": True, "Code": "InvalidMessageContents", "Message": "no"}}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return list(History(SCENARIO))


def test_every_message_is_sent_once(ledger: Ledger, messages: list[Message]) -> None:
    queue: Any = Queue()  # answers as SQS does
    result = send(messages, queue, "url", ledger.begin(SOURCE), policy=QUICK)
    assert Counter(queue.bodies) == Counter(m.body for m in messages)
    assert (result.sent, result.earlier, result.repeated) == (12_000, 0, 0)
    assert result.calls == queue.calls
    assert result.body_bytes == sum(len(m.body.encode()) for m in messages)
    assert (ledger.sent().messages, ledger.sent().uncertain) == (12_000, 0)
    assert ledger.unfinished() == []


def test_refused_entries_and_only_they_are_sent_again(ledger: Ledger, messages: list[Message]) -> None:
    queue: Any = HiccupQueue()  # answers as SQS does
    result = send(messages, queue, "url", ledger.begin(SOURCE), policy=QUICK)
    assert Counter(queue.bodies) == Counter(m.body for m in messages)
    assert result.repeated > 1_000
    assert result.sent == 12_000


def test_a_queue_that_stays_deaf_ends_the_run_with_everything_open(
    ledger: Ledger, messages: list[Message]
) -> None:
    deaf: Any = DeafQueue()
    with pytest.raises(TransientError, match=r"6 attempts, found ServiceUnavailable; resume"):
        send(messages, deaf, "url", ledger.begin(SOURCE), policy=QUICK)
    assert (ledger.sent().messages, ledger.sent().uncertain) == (0, 5_000)


def test_a_senders_fault_is_not_tried_again(ledger: Ledger, messages: list[Message]) -> None:
    strict: Any = StrictQueue()
    with pytest.raises(InvalidInput, match="InvalidMessageContents: no"):
        send(messages[:10], strict, "url", ledger.begin(SOURCE), policy=QUICK)


def test_an_interrupted_run_is_resumed_and_loses_nothing(ledger: Ledger, messages: list[Message]) -> None:
    queue: Any = Queue()  # answers as SQS does
    queue.outage_after = 700
    with pytest.raises(ConnectionError):
        send(messages, queue, "url", ledger.begin(SOURCE), policy=QUICK)
    interrupted = ledger.sent()
    assert (interrupted.messages, interrupted.uncertain) == (5_000, 5_000)
    assert interrupted.messages <= len(queue.bodies) <= interrupted.messages + interrupted.uncertain

    queue.outage_after = None
    result = send(messages, queue, "url", ledger.resume(SOURCE), policy=QUICK)

    assert (result.earlier, result.sent) == (5_000, 7_000)
    assert set(queue.bodies) == {m.body for m in messages}
    assert (ledger.sent().messages, ledger.sent().uncertain) == (12_000, 0)


def test_progress_is_told_and_grows(ledger: Ledger, messages: list[Message]) -> None:
    seen: list[Progress] = []
    queue: Any = Queue()
    send(
        messages[:1_000],
        queue,
        "url",
        ledger.begin(SOURCE),
        policy=QUICK,
        on_progress=seen.append,
    )
    counts = [progress.sent for progress in seen]
    assert counts == sorted(counts)
    assert counts[-1] == 1_000


def test_the_rate_limit_is_kept(ledger: Ledger, messages: list[Message]) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    queue: Any = Queue()
    policy = SendPolicy(threads=1, per_second=100, clock=lambda: now, sleep=sleep)
    result = send(messages[:1_000], queue, "url", ledger.begin(SOURCE), policy=policy)
    assert result.seconds == pytest.approx(10, rel=0.05)


def test_the_emulators_queue_takes_a_history_and_every_fault(target: Target, ledger: Ledger) -> None:
    client = target.client("sqs")
    url = client.create_queue(QueueName="simulated")["QueueUrl"]
    history = History(Scenario(events=1_500, end=SCENARIO.end))
    fields = {"message_id": '"m"', "idempotency_key": '"k"', "payload": "{}"}
    broken = [Message(fault.body(fields), "events", Kind.BROKEN) for fault in FAULTS]
    messages = [*history, *broken]

    result = send(messages, client, url, ledger.begin(SOURCE))

    received: Counter[str] = Counter()
    while batch := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        received.update(message["Body"] for message in batch)
    client.delete_queue(QueueUrl=url)
    assert result.sent == len(messages)
    assert received == Counter(m.body for m in messages)
