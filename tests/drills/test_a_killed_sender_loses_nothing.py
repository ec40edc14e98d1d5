"""A sender that is killed in the middle leaves a ledger that knows of every message it may have sent."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lean_ops.accounts.ledger import Ledger
from lean_ops.simulate.history import History, Scenario

SCENARIO = Scenario(events=12_000, end=datetime(2026, 3, 10, tzinfo=UTC))
# The queue is a file: what a killed process has handed over stays there.
SENDING = """
import json, os, sys
from pathlib import Path
from lean_ops.accounts.ledger import Ledger
from lean_ops.simulate.sender import SendPolicy, send
from lean_ops.simulate.history import History, Scenario

class FileQueue:
    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def send_message_batch(self, *, QueueUrl, Entries):
        os.write(self.file, (json.dumps([entry["MessageBody"] for entry in Entries]) + "\\n").encode())
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

ledger, queue, per_second = Ledger(Path(sys.argv[1])), FileQueue(sys.argv[2]), float(sys.argv[3])
scenario = Scenario.from_description(ledger.unfinished()[-1])
run = ledger.resume(scenario.description())
send(History(scenario), queue, "url", run, policy=SendPolicy(per_second=per_second))
"""


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    path = tmp_path / "queue"
    path.touch()
    return path


def bodies(queue: Path) -> list[str]:
    """What the queue has."""
    return [body for line in queue.read_text().splitlines() for body in json.loads(line)]


def drop_cut_line(queue: Path) -> None:
    """Take away a last call that the kill cut off: a queue takes a call as a whole or not at all."""
    lines = queue.read_bytes().splitlines(keepends=True)
    os.truncate(queue, sum(len(line) for line in lines if line.endswith(b"\n")))


def test_a_killed_sender_loses_nothing(queue: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.begin(SCENARIO.description())
    command = [sys.executable, "-c", SENDING, str(tmp_path / "ledger"), str(queue)]

    sending = subprocess.Popen([*command, "5000"])
    deadline = time.monotonic() + 300
    while not ledger.sent().messages and sending.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    sending.kill()
    sending.wait()
    drop_cut_line(queue)

    left, arrived = ledger.sent(), bodies(queue)
    assert 0 < left.messages < SCENARIO.events
    assert left.messages <= len(arrived) <= left.messages + left.uncertain
    assert len(ledger.unfinished()) == 1

    subprocess.run([*command, "1e9"], check=True)

    arrived = bodies(queue)
    assert set(arrived) == {message.body for message in History(SCENARIO)}
    assert SCENARIO.events <= len(arrived) <= SCENARIO.events + left.uncertain
    assert (ledger.sent().messages, ledger.sent().uncertain) == (SCENARIO.events, 0)
    assert ledger.unfinished() == []
