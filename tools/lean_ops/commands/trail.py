"""``audit``: who did what to an environment."""

from typing import Annotated

import typer

from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    RegionOption,
    StackOption,
    resolve,
)
from lean_ops.console.printing import say, show_json, show_table
from lean_ops.environment import audit as trail


def audit(
    operation: Annotated[
        str, typer.Option("--operation", help="Only operations whose name starts so, e.g. replay.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="Show the newest so many.", min=1)] = 20,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """List operations: who, when, on what, how many, how it ended. One that was killed stays "started"."""
    target = resolve(env, stack, region)
    with target.reached():
        found = trail.entries(target, operation=operation, limit=limit)
    if json:
        show_json([entry.as_json() for entry in found])
        return
    if not found:
        say(f"No operation {operation!r} is on record." if operation else "No operation is on record yet.")
        return
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
    show_table(f"Operations on {target.name_prefix}", columns, rows)
