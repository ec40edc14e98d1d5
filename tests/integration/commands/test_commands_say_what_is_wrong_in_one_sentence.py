"""A command that cannot do its work says so in one sentence on standard error and ends with its exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lean_ops.cli import main
from lean_ops.commands.options import STACKS
from lean_ops.environment.target import Target
from lean_ops.local.stack import Stack

LEAN_OPS = Path(sys.executable).with_name("lean-ops")


def lean_ops(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | environment
    return subprocess.run(
        [LEAN_OPS, *arguments], capture_output=True, text=True, check=False, timeout=300, env=env
    )


@dataclass(frozen=True)
class Done:
    """How a command ended that ran in this process."""

    returncode: int
    stdout: str
    stderr: str


Here = Callable[..., Done]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command line as its process runs it, without the seconds that a process takes to begin."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **environment: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["lean-ops", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tables", "--stack", "absent"], "found none; start it with `lean-ops up`"),
        (["run", "--stack", "absent"], "found none; start it with `lean-ops up`"),
        (["up", "--stack", "../elsewhere"], "expected letters, digits, - and _"),
        (["run", "--env", "dev"], "environment lean-ops-dev on AWS"),
        (["query", "SELECT 1", "--env", "prod", "--region", "eu-west-1"], "environment lean-ops-prod on AWS"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_target_that_is_not_there_is_named(here: Here, arguments: list[str], expected: str) -> None:
    no_credentials = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "HOME"), "/nonexistent")
    done = here(*arguments, AWS_EC2_METADATA_DISABLED="true", **no_credentials)
    assert done.returncode == 1
    assert expected in " ".join(done.stderr.split())
    assert done.stderr.startswith("lean-ops: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run", "--nope"], ["send", "--events", "many"]])
def test_wrong_usage_is_explained_with_exit_code_two(here: Here, arguments: list[str]) -> None:
    done = here(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def name(stack: Stack) -> Iterator[str]:
    """The running stack of this test process, under a name that the command line knows."""
    link = STACKS / f"test-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stack.folder)
    yield link.name
    link.unlink()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--topic", "nope"], "--topic: expected one of events, weather, found 'nope'"),
        (["send", "--topic", 'x"; drop'], "--topic: expected one of"),
        (["send", "--file", "absent.csv", "--key", "a", "--time", "b"], "absent.csv"),
        (["send", "--key", "a"], "--key: expected together with --file"),
        (["send", "--resume"], "expected a simulated run that was interrupted"),
        (["tables"], "expected tables in database lean_ops_local, found none"),
        (["query", "SELECT 1"], "expected tables in database"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_missing_is_named(here: Here, name: str, arguments: list[str], expected: str) -> None:
    done = here(*arguments, "--stack", name)
    assert done.returncode == 1, done
    assert expected in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_status_as_json_is_one_document(name: str) -> None:
    done = lean_ops("status", "--json", "--stack", name)
    assert done.returncode == 0
    assert json.loads(done.stdout)["up"] is True


def test_a_port_in_use_is_explained_and_nothing_stays_behind(here: Here) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        name = f"test-port-{os.getpid()}"
        done = here("up", "--stack", name, "--port", str(port))
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "in use" in done.stderr
    assert here("status", "--stack", name).returncode == 1
    here("down", "--wipe", "--stack", name)


def test_a_bad_contract_is_refused_with_file_and_property(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.runtime.errors import ContractError
    from lean_ops.environment.repository import CONTRACTS
    from lean_ops.local import provision

    text = (CONTRACTS / "events.yaml").read_text()
    (tmp_path / "events.yaml").write_text(text.replace("logicalType: number", "logicalType: numbr", 1))
    monkeypatch.setattr(provision, "contract_files", lambda: {"events": tmp_path / "events.yaml"})
    with pytest.raises(ContractError, match=r"contracts/events.yaml: property .*found 'numbr'"):
        provision.provision(target)


@pytest.mark.parametrize("command", ["console", "report"])
def test_a_page_of_an_environment_that_does_not_answer_is_none(command: str, tmp_path: Path) -> None:
    where = ["--env", "dev", "--region", "eu-west-1"]
    where += ["--to", str(tmp_path / "page.html")] if command == "report" else []
    done = lean_ops(command, *where, AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "environment lean-ops-dev on AWS" in done.stderr
    assert not list(tmp_path.glob("*.html"))
