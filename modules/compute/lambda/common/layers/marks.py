"""How far a topic is reconciled, kept between one time and the next.

A mark stands where nothing before it waits or is wrong. So a fault is seen again, and its alarm stays, until
it is mended, or is older than ``LONGEST``. The next time begins ``OVERLAP`` before the mark: events come into
RAW some time after they are received. One that comes later than that `lean-ops reconcile` sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from common.layers.reconciling import Reconciled

OVERLAP: Final = timedelta(hours=3)
LONGEST: Final = timedelta(days=7)
FIRST: Final = timedelta(days=1)
"""So far back looks who looks for the first time."""


@dataclass(frozen=True)
class Mark:
    """How far a topic is reconciled, in seconds since 1970; 0 for not at all.

    ``upto``: what was received before is where it must be. ``at``: when that was found. ``standing``: of the
    topic, then; empty where there was more to look at. ``wrong``: keys with a fault.
    """

    standing: str = ""
    upto: int = 0
    at: int = 0
    wrong: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """What an item says; nothing, where it is damaged."""
        try:
            numbers = (int(item[name]["N"]) for name in ("upto", "at", "wrong"))
            return cls(str(item["standing"]["S"]), *numbers)
        except (KeyError, TypeError, ValueError):
            return cls()

    def as_item(self) -> dict[str, Any]:
        """The attributes of the item, beside its key."""
        numbers = {"upto": self.upto, "at": self.at, "wrong": self.wrong}
        return {"standing": {"S": self.standing}} | {name: {"N": str(n)} for name, n in numbers.items()}

    def after(self, done: Reconciled, stands: str, now: datetime) -> Self:
        """After a topic that stood there was looked at from here, perhaps not to its end.

        Where nothing was received since, the mark stays: it would go back by ``OVERLAP`` each time.
        """
        reached = int(done.until.timestamp())
        if done.complete:
            reached = max(reached, self.upto)
        if done.open_since is not None:
            reached = min(reached, int(done.open_since.timestamp()))
        return type(self)(stands if done.complete else "", reached, int(now.timestamp()), done.faults.total())

    def since(self, now: datetime) -> datetime:
        """From when on events are to be looked at."""
        if not self.upto:
            return now - FIRST
        return max(datetime.fromtimestamp(self.upto, UTC) - OVERLAP, now - LONGEST)
