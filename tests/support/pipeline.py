"""The whole pipeline on a local stack, one for each file: some switch the queue off, or break things."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from typer.testing import CliRunner, Result

from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Message
from lean_ops.cli import app
from lean_ops.commands.options import STACKS
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.simulate import sender

from .java_metadata import check_stack

LeanOps = Callable[..., Result]
Send = Callable[[Iterator[Message]], None]
QUICK = Tuning(visibility_timeout_s=2, buffer_interval_s=1, batching_window_s=0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Emulator and Firehose stand-in, everything provisioned, quick to retry and to deliver."""
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True, wait_scale=0.01)
    stack.up()
    provision(LocalTarget.running(stack.folder), QUICK)
    yield stack
    try:
        check_stack(LocalTarget.running(stack.folder))
    finally:
        stack.down(wipe=True)


@pytest.fixture(scope="module")
def target(stack: Stack) -> LocalTarget:
    """The stack as commands see it."""
    return LocalTarget.running(stack.folder)


@pytest.fixture(scope="module")
def lean_ops(stack: Stack) -> Iterator[LeanOps]:
    """Run a command of the command line on the stack, in this process; what it raises is ``exception``."""
    link = STACKS / f"test-e2e-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stack.folder)
    runner = CliRunner()

    def run(*arguments: str) -> Result:
        return runner.invoke(app, [*arguments, "--stack", link.name])

    yield run
    link.unlink()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """What was sent into the stack."""
    return Ledger(tmp_path_factory.mktemp("ledger") / "ledger")


@pytest.fixture(scope="module")
def send(target: Target, ledger: Ledger) -> Send:
    """Send messages through the queue and wait until they are in RAW or in the dead-letter queue."""

    def deliver(messages: Iterator[Message]) -> None:
        with closing(target.queue_client()) as client:
            sender.send(messages, client, target.queue_url(target.source_queue), ledger.begin({}))
        assert observation.settle(target, timeout_s=300) == 0

    return deliver
