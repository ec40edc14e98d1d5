"""``up``: start the local stack."""

from dataclasses import asdict
from typing import Annotated

import typer

from lean_ops.accounts import comeback
from lean_ops.accounts.ledger import Ledger
from lean_ops.commands.options import JsonOption, StackOption, stack_folder
from lean_ops.console.printing import say, show_json
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget


def up(
    stack: StackOption = "local",
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the AWS emulator; the Firehose stand-in takes the next one.", min=1, max=65_534
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start the local stack and bring it up to date with this checkout; safe to run again.

    After a kill or a power cut it says, by the ledger, what the emulated queue has lost.
    """
    folder = stack_folder(stack)
    own = Stack(folder, ports=(port, port + 1) if port else None)
    record = own.up()
    target = LocalTarget.running(folder)
    with target.reached():
        provision(target, Tuning(schedules=True))
        told = comeback.account(target, Ledger(folder / "ledger")) if own.crashed else None
    if json:
        show_json(
            {"folder": folder, "endpoints": _endpoints(stack), "crashed": asdict(told) if told else None}
        )
        return
    for sentence in told.sentences() if told else ():
        say(sentence, style="yellow")
    say(f"The local stack {stack!r} runs at {record.emulator.endpoint} (state in {folder}).")
    say("Next: `lean-ops send`, `lean-ops run`, `lean-ops query`, and `lean-ops down` to stop it.")


def _endpoints(stack: str) -> dict[str, str]:
    return {
        service or "aws": url for service, url in LocalTarget.running(stack_folder(stack)).endpoints.items()
    }
