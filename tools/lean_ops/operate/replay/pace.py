"""How fast a replay goes: what recovers from an outage is not to be flooded."""

from collections.abc import Callable
from typing import Final

from common.runtime import outside
from common.runtime.errors import InvalidInput


class Pace:
    """Lets ``per_second`` events go in a second; 0: as fast as possible. For one thread.

    ``clock`` (seconds, monotonic) and ``sleep`` are there to be replaced.
    """

    def __init__(
        self,
        per_second: float = 0.0,
        *,
        clock: Callable[[], float] = outside.monotonic,
        sleep: Callable[[float], None] = outside.sleep,
    ) -> None:
        if per_second < 0:
            raise InvalidInput(f"--rate: expected messages a second, 0 for no limit; found {per_second:g}")
        self._per_second: Final = per_second
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._due = clock()

    def wait(self, count: int) -> None:
        """Wait until ``count`` more events may go. Time in which nothing went is not made up for."""
        if not self._per_second:
            return
        now = self._clock()
        if self._due > now:
            self._sleep(self._due - now)
        self._due = max(self._due, now) + count / self._per_second
