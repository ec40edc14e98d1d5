"""The circuit breaker's rules, as a function of values: what it is, what it is told, what it becomes.

    CLOSED ──an alarm of its own──▶ OPEN ──cool-down over──▶ HALF_OPEN ──good batches──▶ CLOSED
                                      ▲                          │
                                      └──── a failed batch ──────┘   (cool-down doubled)

CLOSED takes the queue at its normal pace, OPEN not at all, HALF_OPEN a little of it, to try. Alarms only ever
open it: while it is open nothing is taken from the queue, so that the metrics go quiet and no alarm could say
anything of use. Time and the batches tried close it. HALF_OPEN without any batch for ``PATIENCE`` closes as
well: nothing fails, and what is wrong will raise an alarm again.

An alarm notifies once, when it is raised; a notification from before the closing is old news. The breaker
therefore also looks at its alarms while it is CLOSED: one that is up long after closing has been raised in
the meantime, and its notification was lost.

A breaker that is ``held`` was set by an operator and stays as it is until an operator lets it go (AUTO).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

# The queue's messages stay hidden for six minutes after a failed try and have six tries. Where little comes,
# the first failure may share its minute with what went well, and the alarm wants two bad minutes: three
# failures before the breaker opens and two failed trials in the first half hour leave one over.
COOL_DOWN: Final = timedelta(minutes=5)
LONGEST_COOL_DOWN: Final = timedelta(hours=1)
GOOD_BATCHES: Final = 5
PATIENCE: Final = timedelta(minutes=10)
# As long as bad minutes from before the closing can keep an alarm up: its evaluation periods (a test holds
# this and the catalogue together).
ALARM_MEMORY: Final = timedelta(minutes=11)
# Trouble that comes back within this time is the same trouble, and the cool-down goes on growing.
SETTLED: Final = timedelta(minutes=30)

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Phase(StrEnum):
    """What the breaker does with the queue."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Action(StrEnum):
    """What an operator can order."""

    OPEN = "open"
    CLOSE = "close"
    AUTO = "auto"


@dataclass(frozen=True)
class Breaker:
    """The breaker. ``since``: begin of the phase. ``openings``: in a row, without being settled between.

    ``reason`` says in one sentence why it is in this phase.
    """

    phase: Phase = Phase.CLOSED
    since: datetime = BEGINNING
    openings: int = 0
    held: bool = False
    reason: str = "never opened"

    @property
    def cool_down(self) -> timedelta:
        """How long it stays open: doubled by every opening in a row, at most an hour."""
        doublings = min(max(self.openings - 1, 0), 10)
        return min(COOL_DOWN * (1 << doublings), LONGEST_COOL_DOWN)

    @property
    def ends_at(self) -> datetime | None:
        """When it will try again by itself; None unless it is open and not held."""
        return self.since + self.cool_down if self.phase is Phase.OPEN and not self.held else None


@dataclass(frozen=True)
class AlarmRaised:
    """One of the breaker's own alarms went up."""

    alarm: str


@dataclass(frozen=True)
class Tick:
    """The schedule: time has passed. What CLOSED looks at (alarms that are up), and HALF_OPEN (batches)."""

    alarms: Sequence[str] = ()
    good_batches: int = 0
    failed_batches: int = 0


@dataclass(frozen=True)
class Order:
    """An operator's order, with the reason given and who gave it."""

    action: Action
    reason: str
    by: str


Signal = AlarmRaised | Tick | Order


def decide(breaker: Breaker, signal: Signal, now: datetime) -> Breaker:
    """What ``breaker`` becomes when it is told ``signal`` at ``now``; itself when nothing changes."""
    match signal:
        case Order():
            return _obey(breaker, signal, now)
        case _ if breaker.held:
            return breaker
        case AlarmRaised() if breaker.phase is Phase.CLOSED and now >= breaker.since:
            return _open(breaker, f"alarm {signal.alarm}", now)
        case Tick():
            return _pass_time(breaker, signal, now)
    return breaker


def _pass_time(breaker: Breaker, tick: Tick, now: datetime) -> Breaker:
    elapsed = now - breaker.since
    match breaker.phase:
        case Phase.CLOSED if tick.alarms and elapsed >= ALARM_MEMORY:
            return _open(breaker, f"alarm {tick.alarms[0]} is up", now)
        case Phase.OPEN if elapsed >= breaker.cool_down:
            return replace(breaker, phase=Phase.HALF_OPEN, since=now, reason="cool-down is over: trying")
        case Phase.HALF_OPEN if tick.failed_batches:
            return _open(breaker, f"{tick.failed_batches} failed batches while trying", now)
        case Phase.HALF_OPEN if tick.good_batches >= GOOD_BATCHES:
            return _close(breaker, f"{tick.good_batches} good batches", now)
        case Phase.HALF_OPEN if elapsed >= PATIENCE:
            minutes = PATIENCE // timedelta(minutes=1)
            return _close(breaker, f"no failed batch in {minutes} minutes, {tick.good_batches} good", now)
    return breaker


def _open(breaker: Breaker, reason: str, now: datetime) -> Breaker:
    same_trouble = breaker.phase is not Phase.CLOSED or now - breaker.since < SETTLED
    openings = breaker.openings + 1 if same_trouble else 1
    return Breaker(Phase.OPEN, now, openings, held=False, reason=reason)


def _close(breaker: Breaker, reason: str, now: datetime) -> Breaker:
    return Breaker(Phase.CLOSED, now, breaker.openings, held=False, reason=reason)


def _obey(breaker: Breaker, order: Order, now: datetime) -> Breaker:
    """An order that is repeated changes nothing but its reason: no phase begins anew."""
    reason = f"{order.by}: {order.reason}"
    if order.action is Action.AUTO:
        return _let_go(breaker, reason, now) if breaker.held else breaker
    phase = Phase.OPEN if order.action is Action.OPEN else Phase.CLOSED
    if breaker.held and breaker.phase is phase:
        return replace(breaker, reason=reason)
    return Breaker(phase, now, breaker.openings if phase is Phase.OPEN else 0, held=True, reason=reason)


def _let_go(breaker: Breaker, reason: str, now: datetime) -> Breaker:
    if breaker.phase is Phase.OPEN:
        # From here on as if it had just opened: it will try, and close by itself.
        return Breaker(Phase.OPEN, now, max(breaker.openings, 1), held=False, reason=reason)
    return replace(breaker, held=False, reason=reason)
