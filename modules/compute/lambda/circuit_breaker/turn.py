"""One turn of the breaker: look, decide, write it down, bring the mapping into line."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from circuit_breaker.breaker import Breaker, Phase, Signal, decide
from circuit_breaker.mapping import MappingBusy, Pace, SourceMapping
from circuit_breaker.record import Record, RecordStore
from common.errors import TransientError

# Two or three may decide at once (an alarm, the schedule, an operator); each round one of them wins.
_ROUNDS: Final = 5


class BreakerBusy(TransientError):  # noqa: N818 - others were faster; "error" would say less
    """Others kept changing the breaker; nothing was decided here."""


@dataclass(frozen=True)
class Turn:
    """What a turn found and left. ``enforced`` false: the mapping follows with the next turn."""

    before: Breaker
    after: Breaker
    enforced: bool

    @property
    def changed(self) -> bool:
        """Whether the breaker went into another phase, or was taken or let go by an operator."""
        return (self.before.phase, self.before.held) != (self.after.phase, self.after.held)


def take(
    store: RecordStore,
    mapping: SourceMapping,
    listen: Callable[[Breaker], Signal],
    now: datetime,
) -> Turn:
    """Take one turn; ``listen`` says what there is to be told to a breaker in that state.

    Safe to run at the same time and again: the record changes under a version, and the mapping is set as the
    newest record says, also where another's late request or a hand has switched it. Raises BreakerBusy, and
    the errors of AWS.
    """
    before = None
    # A change that was overtaken may have switched the mapping after the newest record was enforced.
    overtaken = False
    for _ in range(_ROUNDS):
        record = store.load()
        before = before or record.breaker
        breaker = decide(record.breaker, listen(record.breaker), now)
        if breaker != record.breaker:
            record = record.changed(breaker, _normal(record, breaker, mapping))
            if not store.save(record):
                continue
        if record.enforced and not overtaken and mapping.follows(record.breaker.phase):
            return Turn(before, record.breaker, enforced=True)
        try:
            mapping.enforce(record.breaker.phase, record.normal)
        except MappingBusy:
            return Turn(before, record.breaker, enforced=False)
        if store.confirm(record):
            return Turn(before, record.breaker, enforced=True)
        overtaken = True
    raise BreakerBusy(
        f"circuit breaker: expected to write its record within {_ROUNDS} tries, found others faster each "
        "time; nothing was decided, the next minute's look does it"
    )


def _normal(record: Record, breaker: Breaker, mapping: SourceMapping) -> Pace | None:
    """The mapping's own pace, read before it is slowed down and kept until it is back."""
    if record.normal is None and breaker.phase is Phase.HALF_OPEN:
        return mapping.pace()
    return record.normal
