"""``audit``: who did what to an environment."""

from typing import Annotated

import typer

from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say, show_table
from lean_ops.environment import audit as trail


@on_target()
def audit(
    call: Call,
    operation: Annotated[
        str, typer.Option("--operation", help="Only operations whose name starts so, e.g. replay.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="Show the newest so many.", min=1)] = 20,
) -> Answer:
    """List operations: who, when, on what, how many, how it ended. One that was killed stays "started"."""
    found = trail.entries(call.target, operation=operation, limit=limit)
    nothing = f"No operation {operation!r} is on record." if operation else "No operation is on record yet."
    columns = ["id", "operation", "outcome", "seconds", "on", "counts", "reason", "who"]
    rows = [
        [
            entry.operation_id,
            entry.operation,
            entry.outcome.value,
            round(entry.seconds, 1),
            ", ".join(f"{name}={value}" for name, value in entry.selection.items()),
            ", ".join(f"{name} {count}" for name, count in entry.counts.items()),
            entry.reason,
            entry.who,
        ]
        for entry in found
    ]
    title = f"Operations on {call.target.name_prefix}"
    return Answer(
        [entry.as_json() for entry in found],
        lambda: show_table(title, columns, rows) if rows else say(nothing),
    )
