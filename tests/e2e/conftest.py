"""The whole pipeline on a local stack, one for each test process, gone with it."""

from collections.abc import Iterator

import pytest

from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.target import Target


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Emulator and Firehose stand-in, everything provisioned, quick to retry and to deliver."""
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True, wait_scale=0.01)
    stack.up()
    provision(Target.local(stack.folder), Tuning(visibility_timeout_s=2, buffer_interval_s=1))
    yield stack
    stack.down(wipe=True)


@pytest.fixture(scope="session")
def target(stack: Stack) -> Target:
    """The stack as commands see it."""
    return Target.local(stack.folder)
