"""``breaker``: look at the circuit breaker, and override it."""

from typing import Any

import typer

from common.intake.breaker.rules import Action
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say
from lean_ops.operate.breaker import order, status

app = typer.Typer(help="The circuit breaker between the queue and its function.", no_args_is_help=True)


@app.command()
@on_target()
def show(call: Call) -> Answer:
    """Say what the breaker does, since when and why, when it tries again, and how the mapping is set."""
    found = status(call.target).as_json()
    mapping = found["mapping"]

    def tell() -> None:
        _describe(found)
        say(
            f"The mapping is {mapping['state']}: batches of {mapping['batch_size']:,}, "
            f"{mapping['batching_window_s']} s window, "
            f"{mapping['maximum_concurrency'] or 'unlimited'} at once."
        )
        if found["damage"]:
            say(f"{found['damage']}.", style="yellow")
        if not found["enforced"]:
            say("The mapping does not follow yet; the breaker's next look (within a minute) sees to it.")

    return Answer(found, tell)


@app.command("open")
@on_target(reason=True)
def open_(call: Call) -> Answer:
    """Stop taking messages from the queue until `close` or `auto`; messages wait there for days."""
    return _order(Action.OPEN, call)


@app.command()
@on_target(reason=True)
def close(call: Call) -> Answer:
    """Take messages whatever the alarms say, until `auto`."""
    return _order(Action.CLOSE, call)


@app.command()
@on_target(reason=True)
def auto(call: Call) -> Answer:
    """Let the breaker decide again; one that is open tries after its cool-down."""
    return _order(Action.AUTO, call)


def _order(action: Action, call: Call) -> Answer:
    with call.operation(f"breaker.{action.value}"):
        after = order(call.target, action, call.reason, call.target.caller)
    return Answer(after, lambda: _describe(after))


def _describe(breaker: dict[str, Any]) -> None:
    held = ", held by an operator" if breaker["held"] else ""
    say(f"The circuit breaker is {breaker['phase']}{held} ({breaker['reason']}).")
    if breaker["tries_at"]:
        say(f"It tries again at {breaker['tries_at']}.")
