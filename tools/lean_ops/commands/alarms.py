"""``alarms``: which alarms are up, and which page of the runbook says what to do."""

from dataclasses import asdict
from typing import Annotated

import typer

from common.runtime import outside
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say, show_table
from lean_ops.operate.alarms import states


@on_target()
def alarms(
    call: Call, all_: Annotated[bool, typer.Option("--all", help="Those that are not up as well.")] = False
) -> Answer:
    """List the alarms that are up, and the topics they are about, the worst first.

    The local stack judges its alarms now, which tells those who listen.
    """
    call.target.judge_alarms(outside.now())
    found = states(call.target)
    shown = [
        asdict(alarm) | {"since": alarm.since.isoformat(timespec="seconds")}
        for alarm in found
        if all_ or alarm.up
    ]

    def tell() -> None:
        if shown:
            columns = ["alarm", "state", "since", "runbook"]
            if any(alarm["topics"] for alarm in shown):
                columns.insert(3, "topics")
            show_table("Alarms", columns, [[alarm[column] for column in columns] for alarm in shown])
        else:
            say(f"None of {len(found)} alarms is up.")

    return Answer(shown, tell)
