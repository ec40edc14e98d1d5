"""`query --engine trino` starts Trino once, finds it again, changes nothing, and it ends with the stack."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from common.runtime.errors import InvalidInput
from lean_ops.cli import app
from lean_ops.commands.options import STACKS
from lean_ops.local import record, trino
from lean_ops.local.provision import provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, for it is stopped."""
    if lacks := trino.missing() or trino.install():
        pytest.skip(lacks)
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True)
    stack.up()
    provision(LocalTarget.running(stack.folder))
    yield stack
    stack.down(wipe=True)


@pytest.fixture
def name(stack: Stack) -> Iterator[str]:
    link = STACKS / f"test-trino-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stack.folder)
    yield link.name
    link.unlink()


def serving(stack: Stack) -> list[psutil.Process]:
    """Java processes of the stack."""
    served = (p for p in psutil.process_iter() if record.serves(p, str(stack.folder)))
    return [process for process in served if Path(process.exe()).name == "java"]


def asked(name: str, sql: str) -> Result:
    return CliRunner().invoke(app, ["query", "--engine", "trino", "--json", "--stack", name, sql])


def test_from_the_first_query_to_the_end_of_the_stack(stack: Stack, name: str) -> None:
    first = asked(name, "SELECT count(*) AS keys FROM curated_events_current")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) == [{"keys": 0}]
    assert "Starting Trino" in first.stderr
    (java,) = serving(stack)
    addresses = {one.laddr.ip for one in java.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}

    again = asked(name, 'SELECT snapshot_id FROM "raw_events$snapshots"')
    assert (again.exit_code, json.loads(again.stdout), again.stderr) == (0, [], "")
    assert [process.pid for process in serving(stack)] == [java.pid]

    wrong = asked(name, "SELECT nosuch FROM raw_events")
    assert wrong.exit_code == 1
    assert "expected a statement that Trino can run" in str(wrong.exception)
    server = trino.serving(LocalTarget.running(stack.folder), lambda _text: None)
    with pytest.raises(InvalidInput, match=r"(?i)access denied|read.only"):  # behind the check of the command
        server.query("DELETE FROM raw_events WHERE true")
    with pytest.raises(InvalidInput, match=r"expected rows within 0\.001 s"):
        server.query(
            "SELECT count(*) FROM UNNEST(sequence(1, 10000)) CROSS JOIN UNNEST(sequence(1, 10000))", 0.001
        )

    stack.down()
    assert serving(stack) == []
