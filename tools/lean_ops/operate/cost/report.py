"""What a bill says: figures beside their goals, what dominates, what a setting would change."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from lean_ops.operate.cost.bill import Bill, Measured, Scope, Usage, bill
from lean_ops.operate.cost.prices import PriceTable
from lean_ops.operate.cost.settings import Settings

MILLION: Final = 1_000_000
GOAL_EVENTS_PER_DAY: Final = 10 * MILLION
GOAL_EVENT_BYTES: Final = 1_024
_FIXED_GOAL: Final = 15.0
_IDLE_TOPIC_GOAL: Final = 0.30
_MILLION_GOAL: Final = 0.60
_NAMED: Final = 3
_LEAST_CHANGE_USD: Final = 0.005


@dataclass(frozen=True)
class Figure:
    """One figure in USD. ``goal``: the most it should be; ``dominated_by``: its dearest lines, with USD."""

    figure: str
    usd: float
    goal: float | None
    dominated_by: tuple[tuple[str, float], ...]

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None for a figure without one."""
        return None if self.goal is None else self.usd <= self.goal


@dataclass(frozen=True)
class Change:
    """What a month costs more (or less, below zero) with another value of a setting, all else as it is."""

    setting: str
    now: float
    then: float
    usd: float


@dataclass(frozen=True)
class Demand:
    """How many of something with a quota the topics need."""

    quota: str
    needed: int
    value: int
    source: str
    date: str


@dataclass(frozen=True)
class Report:
    """A bill and what it says."""

    bill: Bill
    figures: tuple[Figure, ...]
    changes: tuple[Change, ...]
    demands: tuple[Demand, ...]


def report(usage: Usage, settings: Settings, table: PriceTable, measured: Measured | None = None) -> Report:
    """The month of ``usage``; raises MissingPrice."""
    whole = bill(usage, settings, table, measured)
    return Report(
        whole,
        tuple(_figures(usage, whole, settings, table)),
        tuple(_changes(usage, settings, table)),
        tuple(_demands(usage, settings, table)),
    )


def _figures(usage: Usage, whole: Bill, settings: Settings, table: PriceTable) -> Iterator[Figure]:
    """Goals are of the model as it is deployed; what was measured is in the figures of the environment."""
    empty = bill(Usage(0, 0, topics=0), settings, table)
    yield Figure("fixed, a month", empty.usd, _FIXED_GOAL, _dearest(empty, Scope.FIXED))
    idle = bill(Usage(0, 0, topics=1, idle_topics=1), settings, table)
    yield Figure(
        "an idle topic, a month", idle.of(Scope.TOPICS), _IDLE_TOPIC_GOAL, _dearest(idle, Scope.TOPICS)
    )
    at = Usage(GOAL_EVENTS_PER_DAY, GOAL_EVENT_BYTES, topics=1)
    much = bill(at, settings, table)
    yield Figure(
        "a million events of 1 KiB, at ten million a day in one topic",
        much.of(Scope.EVENTS) * MILLION / at.events,
        _MILLION_GOAL,
        _dearest(much, Scope.EVENTS, MILLION / at.events),
    )
    if usage.busy:
        share = MILLION / usage.events
        yield Figure(
            "a million of these events",
            whole.of(Scope.EVENTS) * share,
            None,
            _dearest(whole, Scope.EVENTS, share),
        )
    yield Figure("all, a month", whole.usd, None, _dearest(whole))


def _dearest(one: Bill, scope: Scope | None = None, share: float = 1.0) -> tuple[tuple[str, float], ...]:
    return tuple((line.item, line.usd * share) for line in one.dominant(scope)[:_NAMED] if line.usd)


def _changes(usage: Usage, settings: Settings, table: PriceTable) -> Iterator[Change]:
    """Each setting, to a value that somebody might choose; changes below half a cent are left out."""
    now = bill(usage, settings, table).usd
    for setting, other in _others(settings):
        usd = bill(usage, other, table).usd - now
        if abs(usd) >= _LEAST_CHANGE_USD:
            yield Change(setting, getattr(settings, setting), getattr(other, setting), usd)
    alone = usage.messages_per_send or table.assumed("messages-per-send")
    usd = bill(replace(usage, messages_per_send=10), settings, table).usd - now
    if abs(usd) >= _LEAST_CHANGE_USD:
        yield Change("messages a request of senders", alone, 10, usd)


def _others(settings: Settings) -> Iterator[tuple[str, Settings]]:
    for seconds in (300, 900):
        yield "buffer_interval_s", replace(settings, buffer_interval_s=seconds)
    for minutes in (5, 60):
        yield "schedule_minutes", settings.looking_every(minutes)
    yield "snapshot_retention_days", replace(settings, snapshot_retention_days=1)
    yield "log_retention_days", replace(settings, log_retention_days=30)
    yield "key_buckets", replace(settings, key_buckets=4)
    yield "watched_topics", replace(settings, watched_topics=settings.watched_topics + 1)


def _demands(usage: Usage, settings: Settings, table: PriceTable) -> Iterator[Demand]:
    scheduled = [function for function in settings.functions.values() if function.every_s]
    needed = {
        "alarms": settings.alarms + settings.watched_topics * settings.topic_alarms,
        "delivery-streams": usage.topics,
        # Of every function and schedule; the state machine's and Firehose's.
        "roles": len(settings.functions) + len(scheduled) + 2,
    }
    for name, count in needed.items():
        quota = table.quota(name)
        yield Demand(name, count, quota.value, quota.source, quota.date)
