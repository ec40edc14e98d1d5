"""A command talks to and stops the processes of its own folder, whoever answers on the recorded port."""

import shutil
from pathlib import Path

import msgspec
import pytest

from lean_ops.environment.target import TargetUnreachable
from lean_ops.local import record
from lean_ops.local import stack as stacks
from lean_ops.local.errors import LocalStackError
from lean_ops.local.record import ProcessRecord, StackRecord
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget


@pytest.fixture
def copied(stack: Stack, tmp_path: Path) -> Path:
    """The folder of a running stack as it comes along when a checkout is copied."""
    folder = tmp_path / "copied"
    shutil.copytree(stack.folder, folder, ignore=shutil.ignore_patterns("tmp"))
    return folder


def test_wiping_a_copied_folder_leaves_the_original_running(stack: Stack, copied: Path) -> None:
    before = stack.status()
    Stack(copied).down()
    assert stack.status() == before
    Stack(copied).down(wipe=True)
    assert not copied.exists()
    assert stack.status() == before
    assert stack.status().up


def test_a_copied_folder_has_no_stack_until_it_is_started(stack: Stack, copied: Path) -> None:
    assert Stack(copied).status().record is None
    with pytest.raises(TargetUnreachable, match=r"copied, found none; start it with `lean-ops up`"):
        LocalTarget.running(copied)
    own = Stack(copied, tied_to_parent=True)
    try:
        started, original = own.up(), stack.status().record
        assert original is not None
        assert not {started.emulator.port, started.firehose.port} & {
            original.emulator.port,
            original.firehose.port,
        }
        LocalTarget.running(copied).client("sqs").create_queue(QueueName="in-the-copy")
        assert "in-the-copy" not in str(LocalTarget.running(stack.folder).client("sqs").list_queues())
    finally:
        own.down(wipe=True)
    assert stack.status().up


@pytest.mark.parametrize("name", ["emulator", "firehose"])
def test_a_process_of_another_folder_on_the_recorded_port_is_not_talked_to(
    stack: Stack, tmp_path: Path, name: str
) -> None:
    """As after a restart of the machine: the numbers of processes and ports belong to others now."""
    theirs = stack.status().record
    assert theirs is not None
    folder = tmp_path / "mine"
    folder.mkdir()
    mine = {
        p: ProcessRecord(process.pid, str(folder), process.port) for p, process in theirs.processes.items()
    }
    StackRecord(theirs.region, emulator=mine["emulator"], firehose=mine["firehose"]).save(folder)
    with pytest.raises(TargetUnreachable, match=rf"expected .*{name}.* of {folder} to run, found it ended"):
        LocalTarget.running(folder)
    Stack(folder).down()
    assert stack.status().up


def test_an_answer_of_another_process_is_no_start(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another stack takes the port between the choice and the start: its answer is not ours."""
    theirs = stack.status().record
    assert theirs is not None
    monkeypatch.setattr(stacks, "_is_free", lambda _port: True)
    ports = (theirs.emulator.port, theirs.firehose.port)
    with pytest.raises(LocalStackError, match="expected it to answer on port"):
        Stack(tmp_path / "late", tied_to_parent=True, ports=ports).up()
    assert record.load(tmp_path / "late") is None
    assert stack.status().up


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"region": 1}', b"\xff\xfe"])
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / record.FILE).write_bytes(content)
    with pytest.raises(LocalStackError, match="expected the record of a local stack"):
        record.load(tmp_path)


def test_a_record_is_written_whole(tmp_path: Path) -> None:
    one = ProcessRecord(1, str(tmp_path.resolve()), 2)
    StackRecord("eu-west-1", emulator=one, firehose=one).save(tmp_path)
    assert record.load(tmp_path) == msgspec.json.decode(
        (tmp_path / record.FILE).read_bytes(), type=StackRecord
    )
