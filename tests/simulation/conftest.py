"""A simulated environment, one for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.runtime.errors import InvalidInput

from .world import Process, World, simulated


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with simulated(tmp_path / "lake", seed=0) as world:
        world.send(6)
        done(world.command("run"))
        world.send(6)
        done(world.command("run"))
        yield world


def done(process: object) -> None:
    assert getattr(process, "error", None) is None, process


def refusal(process: Process) -> str:
    """What a command said that was refused."""
    assert isinstance(process.error, InvalidInput), process
    return str(process.error)
