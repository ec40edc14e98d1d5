"""Alarm, schedule or operator → the circuit breaker takes a turn.

Three kinds of events:

- a notification of the topic ``breaker``, whose alarm is one of the breaker's own and was raised;
- ``lean-ops breaker``: ``{"action": "open" | "close" | "auto", "reason": …, "by": …}``;
- anything else, the schedule's ``{"trigger": "schedule"}`` once a minute above all: the breaker looks itself.
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from common.intake.breaker import turn
from common.intake.breaker.evidence import Evidence
from common.intake.breaker.mapping import SourceMapping
from common.intake.breaker.record import ITEM, RecordStore
from common.intake.breaker.rules import Action, AlarmRaised, Breaker, Order, Phase, Signal, Tick
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.errors import InvalidInput
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import BreakerSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> BreakerSettings:
    return BreakerSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("circuit_breaker")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, Any]:
    """Answers with the breaker after the turn (see ``_described``)."""
    settings = _settings()
    evidence = Evidence(_client("cloudwatch"), settings.project, settings.env)
    # The time that the event is about: a notification may arrive late.
    now = _time_of(event)
    taken = turn.take(
        RecordStore(_client("dynamodb"), settings.checkpoints_table),
        SourceMapping(_client("lambda"), settings.queue_function),
        _listener(event, evidence, now),
        now,
    )
    _report(taken)
    return _described(taken)


def _listener(event: dict[str, Any], evidence: Evidence, now: datetime) -> Callable[[Breaker], Signal]:
    """What the event has to say to a breaker; metrics are read only where the phase asks for them."""
    if "Records" in event and (alarm := _raised_alarm(event, evidence.alarm_names)):
        return lambda _breaker: AlarmRaised(alarm)
    if "action" in event:
        order = _order(event)
        return lambda _breaker: order

    def look(breaker: Breaker) -> Tick:
        if breaker.phase is Phase.HALF_OPEN:
            good, failed = evidence.batches(breaker.since, now)
            return Tick(good_batches=good, failed_batches=failed)
        return Tick(evidence.alarms_up() if breaker.phase is Phase.CLOSED else ())

    return look


def _raised_alarm(event: dict[str, Any], own: list[str]) -> str | None:
    """The breaker's own alarm that a notification says is up; None for any other notification."""
    alarm = json.loads(event["Records"][0]["Sns"]["Message"])
    if alarm["AlarmName"] not in own:
        logger("circuit_breaker").warning(
            "not an alarm of the circuit breaker: ignored", extra={"alarm": alarm["AlarmName"]}
        )
        return None
    return str(alarm["AlarmName"]) if alarm["NewStateValue"] == "ALARM" else None


def _order(event: dict[str, Any]) -> Order:
    if event["action"] not in set(Action) or not event.get("reason") or not event.get("by"):
        raise InvalidInput(
            f"order: expected an action ({', '.join(Action)}) with a reason and who gives it, found "
            f"{sorted(event)}, action {event['action']!r}; use `lean-ops breaker`"
        )
    return Order(Action(event["action"]), event["reason"], event["by"])


def _time_of(event: dict[str, Any]) -> datetime:
    if "Records" in event:
        return datetime.fromisoformat(event["Records"][0]["Sns"]["Timestamp"])
    return datetime.fromisoformat(event["time"]) if "time" in event else outside.now()


def _report(taken: turn.Turn) -> None:
    settings = _settings()
    phase = taken.after.phase
    emit(
        settings.project,
        {"BreakerOpen": phase is Phase.OPEN, "BreakerHalfOpen": phase is Phase.HALF_OPEN},
        environment=settings.env,
    )
    log = logger("circuit_breaker")
    if taken.changed:
        log.warning(
            "circuit breaker changed", extra={**_described(taken), "before": taken.before.phase.value}
        )
    if taken.damaged:
        log.error("record of the circuit breaker was damaged, and is written anew", extra=_damage(taken))
    if not taken.enforced:
        log.warning("event source mapping is busy; it follows in a minute", extra={"phase": phase.value})


def _damage(taken: turn.Turn) -> dict[str, Any]:
    return {**_described(taken), "item": ITEM, "damaged": sorted(taken.damaged)}


def _described(taken: turn.Turn) -> dict[str, Any]:
    breaker = taken.after
    return {
        "phase": breaker.phase.value,
        "since": breaker.since.isoformat(),
        "openings": breaker.openings,
        "held": breaker.held,
        "reason": breaker.reason,
        "tries_at": breaker.ends_at.isoformat() if breaker.ends_at else None,
        "enforced": taken.enforced,
    }
