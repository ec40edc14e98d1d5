"""One turn of the breaker: look, decide, write it down, bring the mapping into line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from common.intake.breaker.mapping import TRIAL, Found, MappingBusy, Pace, SourceMapping
from common.intake.breaker.record import Record, RecordStore
from common.intake.breaker.rules import Breaker, Phase, Signal, decide
from common.runtime.errors import TransientError

# Two or three may decide at once (an alarm, the schedule, an operator); each round one of them wins.
_ROUNDS: Final = 5


class BreakerBusy(TransientError):  # noqa: N818 - others were faster; "error" would say less
    """Others kept changing the breaker; nothing was decided here."""


@dataclass(frozen=True)
class Turn:
    """What a turn found and left. ``enforced`` false: the mapping follows with the next turn.

    ``damaged``: attributes of the record that could not be read; it was written anew.
    """

    before: Breaker
    after: Breaker
    enforced: bool
    damaged: frozenset[str] = frozenset()

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
    newest record says, also where another's late request or a hand has switched it. The pace is the mapping's
    own: what an operator or Terraform sets is kept, and counts after the trial if it was set during one.
    Raises BreakerBusy, and the errors of AWS.
    """
    before = None
    damaged: frozenset[str] = frozenset()
    # A change that was overtaken may have switched the mapping, and slowed it down, after the newest record
    # was enforced.
    overtaken = False
    own_pace: Pace | None = None
    for _ in range(_ROUNDS):
        # Looked at first: seen before the record was read, a pace is at worst put back once more.
        found = mapping.look()
        record = store.load().mended(found, now)
        if record.damaged:
            damaged = record.damaged
        if record.normal is None:
            record = replace(record, normal=own_pace)
        before = before or record.breaker
        breaker = record.saying_so(decide(record.breaker, listen(record.breaker), now))
        normal = _normal(record, breaker.phase, found.pace)
        if breaker != record.breaker or normal != record.normal or record.damaged:
            record = record.changed(breaker, normal)
            if not store.save(record):
                continue
        if not overtaken and record.enforced and _follows(found, record):
            return Turn(before, record.breaker, enforced=True, damaged=damaged)
        try:
            mapping.enforce(record.breaker.phase, record.normal)
        except MappingBusy:
            return Turn(before, record.breaker, enforced=False, damaged=damaged)
        if store.confirm(record):
            return Turn(before, record.breaker, enforced=True, damaged=damaged)
        overtaken, own_pace = True, record.normal
    raise BreakerBusy(
        f"circuit breaker: expected to write its record within {_ROUNDS} tries, found others faster each "
        "time; nothing was decided, the next minute's look does it"
    )


def _normal(record: Record, phase: Phase, found: Pace) -> Pace | None:
    """The mapping's own pace to go back to: from before it is slowed down until it was seen to be back."""
    if record.normal is None:
        return found if phase is Phase.HALF_OPEN else None
    was_put_back = record.enforced and record.breaker.phase is not Phase.HALF_OPEN
    if was_put_back and found != TRIAL:
        return found if phase is Phase.HALF_OPEN else None
    return record.normal.with_changes_of(found)


def _follows(found: Found, record: Record) -> bool:
    """Whether the mapping is what the record wants it to be."""
    phase = record.breaker.phase
    pace = TRIAL if phase is Phase.HALF_OPEN else record.normal
    return found.taking == (phase is not Phase.OPEN) and pace in (None, found.pace)
