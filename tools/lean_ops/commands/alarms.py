"""``alarms``: which alarms are up, and which page of the runbook says what to do."""

from typing import TYPE_CHECKING, Annotated

import typer

from common.runtime import outside
from common.runtime.worst import listed, worst
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say, show_table
from lean_ops.environment.alarm_catalogue import RUNBOOK, load
from lean_ops.environment.target import Target

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricAlarmTypeDef


@on_target()
def alarms(
    call: Call, all_: Annotated[bool, typer.Option("--all", help="Those that are not up as well.")] = False
) -> Answer:
    """List the alarms that are up, and the topics they are about, the worst first.

    The local stack judges its alarms now, which tells those who listen.
    """
    call.target.judge_alarms(outside.now())
    found = _alarms(call.target)
    shown = [alarm for alarm in found if all_ or alarm["state"] == "ALARM"]

    def tell() -> None:
        if shown:
            columns = ["alarm", "state", "since", "runbook"]
            if any(alarm["topics"] for alarm in shown):
                columns.insert(3, "topics")
            show_table("Alarms", columns, [[alarm[column] for column in columns] for alarm in shown])
        else:
            say(f"None of {len(found)} alarms is up.")

    return Answer(shown, tell)


def _alarms(target: Target) -> list[dict[str, object]]:
    pages = target.client("cloudwatch").get_paginator("describe_alarms")
    return [
        {
            "alarm": alarm["AlarmName"],
            "state": alarm["StateValue"],
            "since": alarm["StateUpdatedTimestamp"].isoformat(timespec="seconds"),
            "reason": alarm["StateReason"],
            "topics": _topics(target, alarm),
            "runbook": _page(target, alarm["AlarmName"]),
        }
        for page in pages.paginate(AlarmNamePrefix=f"{target.name_prefix}-")
        for alarm in page["MetricAlarms"]
    ]


def _topics(target: Target, alarm: "MetricAlarmTypeDef") -> str:
    if alarm["StateValue"] != "ALARM":
        return ""
    entry = alarm["AlarmName"].removeprefix(f"{target.name_prefix}-")
    now = outside.now()
    return listed(worst(target.client("dynamodb"), target.checkpoints_table, entry, now))


def _page(target: Target, name: str) -> str:
    """The section of the runbook: the alarm's entry, without the topic or function that its name ends in."""
    own = name.removeprefix(f"{target.name_prefix}-")
    entries = [entry for entry in load().alarms if own == entry or own.startswith(f"{entry}-")]
    return f"{RUNBOOK}#{max(entries, key=len)}" if entries else ""
