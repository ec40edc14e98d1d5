"""A running local stack, one for each test process, gone with it."""

from collections.abc import Iterator

import pytest

from common.intake import queue_pass
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Emulator and Firehose stand-in, with nothing in them."""
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True, wait_scale=0.01)
    stack.up()
    yield stack
    stack.down(wipe=True)


@pytest.fixture(autouse=True)
def _no_waiting_for_an_empty_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator hands out what it has at once, as ``target.receive_wait_s`` says to commands."""
    monkeypatch.setattr(queue_pass, "WAIT_S", 0)


@pytest.fixture(scope="session")
def target(stack: Stack) -> LocalTarget:
    """The stack as commands see it."""
    return LocalTarget.running(stack.folder)
