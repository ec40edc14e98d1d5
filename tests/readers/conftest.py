"""A stack, the command line on it, and the engine that reads it."""

from collections.abc import Iterator

import pytest

from lean_ops.local import trino as engine
from lean_ops.local.target import LocalTarget
from lean_ops.local.trino import Trino

from ..support.pipeline import lean_ops, ledger, send, stack, target

__all__ = ["lean_ops", "ledger", "send", "stack", "target"]


@pytest.fixture(scope="module")
def trino(target: LocalTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trino]:
    """Trino on the stack's tables."""
    if lacks := engine.missing() or engine.install():
        pytest.skip(lacks)
    with engine.running(target, tmp_path_factory.mktemp("trino")) as server:
        yield server
