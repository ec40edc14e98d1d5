"""The alarms of an environment as CloudWatch has them, and which page of the runbook answers each."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from common.runtime import outside
from common.runtime.worst import listed, worst
from lean_ops.environment.alarm_catalogue import RUNBOOK, load
from lean_ops.environment.target import Target

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

UP: Final = "ALARM"


@dataclass(frozen=True)
class AlarmState:
    """One alarm. ``state`` and ``reason`` are CloudWatch's own words; ``topics``: which it is about, if up.

    ``runbook``: the section that says what to do, empty where the catalogue has no such alarm.
    """

    alarm: str
    state: str
    since: datetime
    reason: str
    topics: str
    runbook: str

    @property
    def up(self) -> bool:
        """Whether somebody has to act."""
        return self.state == UP


def states(target: Target) -> list[AlarmState]:
    """All alarms of the environment; as they were judged last."""
    pages = target.client("cloudwatch").get_paginator("describe_alarms")
    return [
        AlarmState(
            alarm["AlarmName"],
            alarm["StateValue"],
            alarm["StateUpdatedTimestamp"],
            alarm["StateReason"],
            _topics(target, alarm),
            _page(target, alarm["AlarmName"]),
        )
        for page in pages.paginate(AlarmNamePrefix=f"{target.name_prefix}-")
        for alarm in page["MetricAlarms"]
    ]


def _topics(target: Target, alarm: "MetricAlarmTypeDef") -> str:
    if alarm["StateValue"] != UP:
        return ""
    entry = alarm["AlarmName"].removeprefix(f"{target.name_prefix}-")
    return listed(worst(target.client("dynamodb"), target.checkpoints_table, entry, outside.now()))


def _page(target: Target, name: str) -> str:
    """The section of the runbook: the alarm's entry, without the topic or function that its name ends in."""
    own = name.removeprefix(f"{target.name_prefix}-")
    entries = [entry for entry in _entries() if own == entry or own.startswith(f"{entry}-")]
    return f"{RUNBOOK}#{max(entries, key=len)}" if entries else ""


@cache
def _entries() -> tuple[str, ...]:
    return tuple(load().alarms)
