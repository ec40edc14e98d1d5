"""A stack, the command line on it, and the engine that reads it."""

from collections.abc import Iterator

import pytest

from lean_ops.local import trino as engine
from lean_ops.local.target import LocalTarget
from lean_ops.local.trino import Trino

from ..support.pipeline import lean_ops, ledger, send, stack, target
from . import spark as spark_engine
from .spark import Spark

__all__ = ["lean_ops", "ledger", "send", "stack", "target"]


@pytest.fixture(scope="module")
def trino(target: LocalTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trino]:
    """Trino on the stack's tables."""
    if lacks := engine.missing() or engine.install():
        pytest.skip(lacks)
    with engine.running(target, tmp_path_factory.mktemp("trino")) as server:
        yield server


@pytest.fixture(scope="module")
def spark(target: LocalTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark | None]:
    """Spark on the stack's tables; None where this machine cannot run it."""
    if spark_engine.missing() or spark_engine.install():
        yield None
        return
    with spark_engine.running(target, tmp_path_factory.mktemp("spark")) as session:
        yield session
