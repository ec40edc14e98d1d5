"""Time, waiting, chance and new names: what code takes from the world beside its calls, in one place.

Production has them from Python. A simulation puts others in their place (``standing_in``), and plays the same
history again from one seed; ruff refuses to take them from anywhere else (``pyproject.toml``). Clients of
services are made by ``common.runtime.clients`` and ``common.lake.catalog``, and by a command's target.
"""

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

# Answers of services say their time to the second, and are under way for a while: what is less is no error of
# this machine's clock.
_TOLD_APART: Final = timedelta(seconds=10)


class Outside:
    """What there is outside of this process. Others that are to stand in for it override all of it.

    ``off``: by how much the clock of this machine is to be corrected, as far as somebody has told.
    """

    off = timedelta(0)

    def now(self) -> datetime:
        """The time, in UTC."""
        return self.machine_clock() + self.off

    def machine_clock(self) -> datetime:
        """What the clock of this machine says."""
        return datetime.now(UTC)

    def told(self, at: datetime) -> None:
        """A service says what time it is: that counts where this machine's clock is off by seconds."""
        off = at - self.machine_clock()
        self.off = off if abs(off) > _TOLD_APART else timedelta(0)

    def monotonic(self) -> float:
        """Seconds since some moment, of a clock that nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def uniform(self, least: float, most: float) -> float:
        """A number between the two, by chance. For jitter: it is no secret."""
        return random.uniform(least, most)  # noqa: S311 - jitter, no secret

    def new_id(self) -> uuid.UUID:
        """A name that nothing else has (RFC 9562, version 4)."""
        return uuid.uuid4()


_outside = Outside()


def now() -> datetime:
    """The time, in UTC."""
    return _outside.now()


def told(at: datetime) -> None:
    """A service says what time it is; for commands, since the clocks of functions are AWS's own."""
    _outside.told(at)


def monotonic() -> float:
    """Seconds since some moment, of a clock that nobody sets."""
    return _outside.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    _outside.sleep(seconds)


def uniform(least: float, most: float) -> float:
    """A number between the two, by chance."""
    return _outside.uniform(least, most)


def new_id() -> uuid.UUID:
    """A name that nothing else has (RFC 9562, version 4)."""
    return _outside.new_id()


@contextmanager
def standing_in(other: Outside) -> Iterator[None]:
    """Let all of the process have ``other`` in place of what it has now: for simulations."""
    global _outside  # noqa: PLW0603 - one for the process, as the clock is
    before, _outside = _outside, other
    try:
        yield
    finally:
        _outside = before
