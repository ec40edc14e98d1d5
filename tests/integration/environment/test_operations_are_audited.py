"""An operation is on record from its start to its end, however it ends."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.environment import audit
from lean_ops.environment.audit import Outcome
from lean_ops.environment.target import Target
from lean_ops.local.provision import provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate.doctor import lake


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True)
    stack.up()
    provision(LocalTarget.running(stack.folder))
    yield stack.folder
    stack.down(wipe=True)


@pytest.fixture
def target(folder: Path) -> Target:
    return LocalTarget.running(folder)


def newest(target: Target, name: str) -> audit.Entry:
    return audit.entries(target, operation=name, limit=1)[0]


def test_who_when_what_and_how_many_are_on_record(target: Target) -> None:
    with audit.operation(target, "test.good", reason="a drill", selection={"topic": "events"}) as entry:
        entry.counts["messages"] += 3
    found = newest(target, "test.good")
    assert found == entry
    assert found.outcome is Outcome.SUCCEEDED
    assert found.who.startswith("arn:aws:")
    assert (found.reason, found.selection, found.counts) == ("a drill", {"topic": "events"}, {"messages": 3})
    assert found.seen_at >= found.started_at


def test_an_operation_is_on_record_while_it_runs(target: Target) -> None:
    with audit.operation(target, "test.running"):
        assert newest(target, "test.running").outcome is Outcome.STARTED


def test_a_heartbeat_shows_the_counts_so_far_but_not_every_time(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with audit.operation(target, "test.alive") as entry:
        entry.counts["messages"] += 1
        entry.heartbeat()
        assert newest(target, "test.alive").counts == {}
        monkeypatch.setattr(audit, "HEARTBEAT_S", 0.0)
        entry.heartbeat()
        assert newest(target, "test.alive").counts == {"messages": 1}


def test_a_failed_operation_keeps_its_error_and_its_counts(target: Target) -> None:
    with pytest.raises(InvalidInput, match="wrong"), audit.operation(target, "test.bad") as entry:
        entry.counts["messages"] += 1
        raise InvalidInput("wrong")
    found = newest(target, "test.bad")
    assert (found.outcome, found.error, found.counts) == (
        Outcome.FAILED,
        "InvalidInput: wrong",
        {"messages": 1},
    )


def test_an_interrupted_operation_says_so(target: Target) -> None:
    with pytest.raises(KeyboardInterrupt), audit.operation(target, "test.interrupted"):
        raise KeyboardInterrupt
    assert newest(target, "test.interrupted").outcome is Outcome.INTERRUPTED


def test_a_killed_operation_stays_visible_as_started(target: Target, folder: Path) -> None:
    script = (
        "import os, pathlib, sys\nfrom lean_ops.environment import audit\n"
        "from lean_ops.local.target import LocalTarget\n"
        "with audit.operation(LocalTarget.running(pathlib.Path(sys.argv[1])), 'test.killed'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], check=False, timeout=300)
    assert done.returncode == -9
    assert newest(target, "test.killed").outcome is Outcome.STARTED


def test_what_cannot_be_recorded_does_not_start(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "audit_table", "absent")
    done = []
    with (
        pytest.raises(Exception, match="ResourceNotFound"),
        audit.operation(target, "test.unrecorded"),
    ):
        done.append("work")
    assert not done


def test_an_end_that_cannot_be_recorded_leaves_the_works_own_error(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="wrong") as raised, audit.operation(target, "test.noted"):
        monkeypatch.setattr(Target, "audit_table", "absent")
        raise InvalidInput("wrong")
    assert "could not be recorded" in raised.value.__notes__[0]


def test_operations_are_listed_newest_first_and_by_name(target: Target) -> None:
    for number in range(3):
        with audit.operation(target, "list.me", selection={"number": number}):
            pass
    found = audit.entries(target, operation="list.")
    assert [entry.selection["number"] for entry in found] == [2, 1, 0]
    assert len(audit.entries(target, limit=2)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": {"S": "yesterday"}},
        {"seen_at": {"S": "2026-01-01T00:00:00"}},
        {"selection": {"S": "["}},
        {"counts": {"S": "7"}},
        {"outcome": {"N": "1"}},
    ],
)
def test_a_damaged_record_is_named_and_hides_no_other(target: Target, change: dict[str, Any]) -> None:
    with audit.operation(target, "damaged.before"):
        pass
    with audit.operation(target, "damaged.one") as entry:
        pass
    client: Any = target.client("dynamodb")
    key = {"operation_id": {"S": entry.operation_id}}
    item = client.get_item(TableName=target.audit_table, Key=key)["Item"]
    client.put_item(TableName=target.audit_table, Item={**item, **change})
    names = {found.operation_id: found.operation for found in audit.entries(target)}
    assert names[entry.operation_id] == audit.UNREADABLE
    assert newest(target, "damaged.before").outcome is Outcome.SUCCEEDED
    notes = [shown.found for shown in lake.operations(target) if entry.operation_id in shown.subject]
    assert len(notes) == 1
    assert "its record cannot be read" in notes[0]
    client.delete_item(TableName=target.audit_table, Key=key)
