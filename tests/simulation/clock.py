"""Time, chance and names of a simulated world: the same from the same seed, in every process.

What the product takes from ``common.runtime.outside`` comes from here, and what pyiceberg takes from Python:
times of snapshots, names of files, ids of snapshots. Threads that only share work out do it at once, in the
thread that gives it; the order of their calls is part of a history.
"""

import importlib
import os
import pkgutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self
from unittest.mock import patch

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import snapshots, update
from pyiceberg.utils.concurrent import ExecutorFactory

import common
import lean_ops.operate
from common.lake.upkeep import retention
from common.runtime import outside

if TYPE_CHECKING:
    from .world import World

START: Final = datetime(2026, 5, 31, 22, tzinfo=UTC)
"""The first moment that events are of; the world begins a day later."""
BEGINNING: Final = START + timedelta(days=1)


class UnmodelledError(Exception):
    """The product asks for something that the simulation has no answer to: it is to be taught."""


def modelled(known: bool, what: str) -> None:
    """Raise UnmodelledError where what is asked for is not known."""
    if not known:
        raise UnmodelledError(what)


class Clock(outside.Outside):
    """Time goes on while somebody waits, and in jumps (``World.sleep``, ``World.clock``)."""

    def __init__(self, world: "World", seed: int) -> None:
        self._world = world
        # Apart from what is drawn for the history: a fault in the product does not change who goes on.
        self._chance = Random(f"names of {seed}")

    def machine_clock(self) -> datetime:
        process = self._world.on_own_machine
        return self.service_clock() + timedelta(seconds=process.clock_off_s if process else 0)

    @property
    def off(self) -> timedelta:  # each process is a machine here
        process = self._world.on_own_machine
        return process.corrected if process else timedelta(0)

    @off.setter
    def off(self, off: timedelta) -> None:
        if process := self._world.on_own_machine:
            process.corrected = off

    def committers_clock(self) -> datetime:
        """What pyiceberg's process sees, which writes a table's metadata itself."""
        return self.service_clock() + timedelta(seconds=self._world.off_while_it_commits_s)

    def service_clock(self) -> datetime:
        """What the clocks of services say."""
        return BEGINNING + timedelta(seconds=self._world.clock)

    def monotonic(self) -> float:
        return self._world.clock

    def sleep(self, seconds: float) -> None:
        self._world.sleep(seconds)

    def uniform(self, least: float, most: float) -> float:
        return self._chance.uniform(least, most)

    def new_id(self) -> uuid.UUID:
        return uuid.UUID(int=self._chance.getrandbits(128), version=4)


class AtOnce:
    """Stands in for a pool of threads: work is done by the process that gives it, and can be killed there."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **options))
        except Exception as error:
            done.set_exception(error)
        return done

    def map(self, work: Callable[..., Any], *several: Any, **_: Any) -> Iterator[Any]:
        return iter([work(*arguments) for arguments in zip(*several, strict=False)])

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass


@cache
def _pooling() -> list[ModuleType]:
    """Modules of the product that share work out to threads."""
    found = []
    for package in (common, lean_ops.operate):
        for place in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(place.name)
            if hasattr(module, "ThreadPoolExecutor"):
                found.append(module)
    return found


@contextmanager
def on_simulated_time(clock: Clock) -> Iterator[None]:
    """Let the product and pyiceberg have the world's time, names and files' ages, and no threads."""

    class Date(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            found = clock.committers_clock().astimezone(tz)
            return cls.fromtimestamp(found.timestamp(), tz)

    fresh: dict[str, float] = {}
    make, find = PyArrowFileIO.new_output, retention.find_orphans

    def noted(io: PyArrowFileIO, location: str) -> Any:
        fresh[location.removeprefix("file://")] = clock.service_clock().timestamp()
        return make(io, location)

    def as_old_as_they_are(*arguments: Any) -> Any:
        for path, at in fresh.items():
            if Path(path).exists():
                os.utime(path, (at, at))
        fresh.clear()
        return find(*arguments)

    with ExitStack() as patches:
        patches.enter_context(outside.standing_in(clock))
        seconds = SimpleNamespace(
            time=lambda: clock.committers_clock().timestamp(), perf_counter=clock.monotonic
        )
        patches.enter_context(patch.object(snapshots, "time", seconds))
        patches.enter_context(patch.object(update, "datetime", Date))
        patches.enter_context(patch.object(uuid, "uuid4", clock.new_id))
        patches.enter_context(patch.object(ExecutorFactory, "get_or_create", staticmethod(AtOnce)))
        patches.enter_context(patch.object(PyArrowFileIO, "new_output", noted))
        patches.enter_context(patch.object(retention, "find_orphans", as_old_as_they_are))
        for module in _pooling():
            patches.enter_context(patch.object(module, "ThreadPoolExecutor", AtOnce))
        yield
