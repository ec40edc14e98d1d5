"""Starting, stopping and finding a local stack; each test has a stack of its own."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lean_ops.commands.options import STACKS
from lean_ops.environment.target import TargetUnreachable
from lean_ops.local import record
from lean_ops.local.errors import LocalStackError
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget

# How long a state is waited for: far beyond what a busy machine needs, since reaching it ends the wait.
PATIENCE_S = 120


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "stack"
    yield folder
    Stack(folder).down(wipe=True)


def _children_of(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if record.serves(process, str(folder))]


def _remove(folder: Path) -> None:
    """Until it is gone: what is still at work in it may save once more meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def _await_no_children(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _children_of(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _children_of(folder) == []


def test_state_outlives_down_and_up(folder: Path) -> None:
    stack = Stack(folder, tied_to_parent=True)
    stack.up()
    target = LocalTarget.running(folder)
    target.client("sqs").create_queue(QueueName="kept")
    target.client("s3").create_bucket(
        Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    target.client("s3").put_object(Bucket="kept", Key="k", Body=b"v")
    stack.down()
    assert not stack.status().up

    stack.up()
    target = LocalTarget.running(folder)
    assert target.queue_url("kept").endswith("/kept")
    assert target.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"v"


def test_up_twice_is_one_stack(folder: Path) -> None:
    first = Stack(folder, tied_to_parent=True)
    assert first.up() == Stack(folder).up()
    assert first.status().up


def test_down_twice_and_wipe_leave_nothing(folder: Path) -> None:
    stack = Stack(folder, tied_to_parent=True)
    stack.up()
    stack.down()
    stack.down(wipe=True)
    stack.down(wipe=True)
    assert not folder.exists()
    assert _children_of(folder) == []


def test_two_stacks_do_not_see_each_other(folder: Path, tmp_path: Path) -> None:
    stacks = [Stack(folder, tied_to_parent=True), Stack(tmp_path / "other", tied_to_parent=True)]
    for stack in stacks:
        stack.up()
    mine, theirs = (LocalTarget.running(stack.folder) for stack in stacks)
    mine.client("sqs").create_queue(QueueName="mine")
    assert not theirs.client("sqs").list_queues().get("QueueUrls")
    stacks[1].down(wipe=True)
    assert mine.client("sqs").list_queues()["QueueUrls"]


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    known = stack.status().record
    assert known is not None
    for process in known.processes.values():
        connections = psutil.Process(process.pid).net_connections(kind="inet")
        listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", process.port)]


def test_a_port_in_use_is_explained_with_its_holder(folder: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(LocalStackError, match=rf"port {port}: .*\(process {os.getpid()}\)"):
            Stack(folder, ports=(port, 1)).up()
    assert _children_of(folder) == []


def test_a_failed_start_leaves_no_process_and_shows_the_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(LocalStackError, match=r"found exit code .* ends with"):
        Stack(folder).up()
    assert _children_of(folder) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(LocalStackError, match=r"expected to work in .*file/stack, found Not a directory"):
        Stack(blocker / "stack").up()


# The starter interrupts itself at a named step of its own start: no load of the machine moves the moment.
INTERRUPTED_START = """
import os, sys
from pathlib import Path
from lean_ops.local import stack

folder, moment, signal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
spawn, answers, save = stack.Stack._spawn, stack._answers, stack.StackRecord.save

def reach(step):
    if step == moment:
        os.kill(os.getpid(), signal)

def spawning(self, name, *arguments):
    child = spawn(self, name, *arguments)
    reach(f"{name} spawned")
    return child

def answering(port, path):
    reach(f"waiting for {path}")
    return answers(port, path)

def saving(self, folder):
    reach("not yet recorded")
    save(self, folder)

stack.Stack._spawn, stack._answers, stack.StackRecord.save = spawning, answering, saving
stack.Stack(folder).up()
print("the moment never came")
"""
MOMENTS = [
    "emulator spawned",
    "firehose spawned",
    "waiting for /_ministack/health",
    "waiting for /_health",
    "not yet recorded",
]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupting_up_anywhere_leaves_no_process(
    folder: Path, moment: str, number: signal.Signals
) -> None:
    starter = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_START, str(folder), moment, str(number.value)],
        capture_output=True,
        check=False,
    )
    assert starter.stdout == b""
    if number == signal.SIGINT:
        assert b"KeyboardInterrupt" in starter.stderr
    else:
        assert starter.returncode == -signal.SIGKILL
    _await_no_children(folder)
    assert record.load(folder) is None


def test_down_ends_a_function_in_the_middle_of_an_invocation(folder: Path) -> None:
    stack = Stack(folder, tied_to_parent=True)
    stack.up()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("index.py", "import time\ndef handler(event, context): time.sleep(60)\n")
    client = LocalTarget.running(folder).client("lambda")
    client.create_function(
        FunctionName="sleeping",
        Role="arn:aws:iam::000000000000:role/local",
        Runtime="python3.11",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=90,
    )
    client.invoke(FunctionName="sleeping", InvocationType="Event")
    deadline = time.monotonic() + PATIENCE_S
    while len(_children_of(folder)) < 3:
        assert time.monotonic() < deadline, "the function did not start"
        time.sleep(0.05)
    stack.down()
    assert _children_of(folder) == []


def test_removing_the_folder_ends_the_processes(folder: Path) -> None:
    Stack(folder).up()
    _remove(folder)
    _await_no_children(folder)
    assert not folder.exists()


def test_a_new_folder_in_place_of_the_removed_one_is_another(folder: Path) -> None:
    Stack(folder).up()
    _remove(folder)
    folder.mkdir()
    _await_no_children(folder)


def test_a_tied_stack_ends_with_its_parent(folder: Path) -> None:
    script = (
        "import time; from pathlib import Path; from lean_ops.local.stack import Stack; "
        f"Stack(Path({str(folder)!r}), tied_to_parent=True).up(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
    _await_no_children(folder)


def test_an_untied_stack_outlives_its_starter(folder: Path) -> None:
    script = (
        f"from pathlib import Path; from lean_ops.local.stack import Stack; Stack(Path({str(folder)!r})).up()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert Stack(folder).status().up
    Stack(folder).down()
    assert _children_of(folder) == []


def test_a_killed_process_is_noticed_and_replaced(folder: Path) -> None:
    stack = Stack(folder, tied_to_parent=True)
    os.kill(stack.up().firehose.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while stack.status().up and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stack.status().running == {"firehose": False, "emulator": True}
    stack.up()
    assert stack.status().up


def test_a_target_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(TargetUnreachable, match=r"expected one in .*nothing-here, found none; .*lean-ops up"):
        LocalTarget.running(tmp_path / "nothing-here")


def test_a_target_whose_stack_is_down_says_what_it_tried(folder: Path) -> None:
    stack = Stack(folder, tied_to_parent=True)
    endpoint = stack.up().emulator.endpoint
    target = LocalTarget.running(folder)
    stack.down()
    with pytest.raises(TargetUnreachable, match=endpoint), target.reached():
        target.client("s3").list_buckets()
    with pytest.raises(TargetUnreachable, match=r"to run, found it ended; start it again with `lean-ops up`"):
        LocalTarget.running(folder)


def test_ctrl_c_stops_the_demo_and_the_stack_that_it_started() -> None:
    name = f"test-interrupt-{os.getpid()}"
    started = Stack(STACKS / name)
    demo = subprocess.Popen(
        [Path(sys.executable).with_name("lean-ops"), "demo", "--events", "100000", "--stack", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not started.status().up and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    demo.send_signal(signal.SIGINT)
    _, complaint = demo.communicate(timeout=300)
    assert demo.returncode == 130
    assert complaint.splitlines()[-1].startswith("lean-ops: interrupted;")
    assert "Traceback" not in complaint
    assert not started.status().up
    started.down(wipe=True)
