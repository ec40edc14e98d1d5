"""``down``, ``status``: the local stack that ``up`` started. They import nothing that asks it anything."""

from typing import Annotated

import typer

from lean_ops.commands.options import JsonOption, StackOption, stack_folder
from lean_ops.console.printing import say, show_json, show_table
from lean_ops.local.stack import Stack


def down(
    stack: StackOption = "local",
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove its state as well.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop the local stack; its state stays for the next start unless wiped."""
    folder = stack_folder(stack)
    known = folder.exists()
    Stack(folder).down(wipe=wipe)
    if json:
        show_json({"stack": stack, "stopped": known, "wiped": wipe and known})
    elif known:
        say(f"The local stack {stack!r} is stopped; its state is {'gone' if wipe else f'in {folder}'}.")
    else:
        say(f"There is no local stack {stack!r} here.")


def status(stack: StackOption = "local", json: JsonOption = False) -> None:
    """Say what of the local stack runs, and where; exit code 1 when it does not run."""
    found = Stack(stack_folder(stack)).status()
    processes = found.record.processes if found.record else {}
    rows = [
        {
            "process": name,
            "running": found.running[name],
            "pid": process.pid,
            "endpoint": process.endpoint,
        }
        for name, process in processes.items()
    ]
    if json:
        show_json({"stack": stack, "folder": found.folder, "up": found.up, "processes": rows})
    elif rows:
        show_table(f"Local stack {stack!r}", list(rows[0]), [list(row.values()) for row in rows])
    else:
        say(f"There is no local stack {stack!r} here; start one with `lean-ops up`.")
    if not found.up:
        raise typer.Exit(1)
