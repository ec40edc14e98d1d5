"""``breaker``: look at the circuit breaker, and override it."""

from typing import Any

import typer

from common.intake.breaker.rules import Action
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    ReasonOption,
    RegionOption,
    StackOption,
    check_reason,
    resolve,
)
from lean_ops.console.printing import say, show_json
from lean_ops.environment import audit
from lean_ops.operate.breaker import order, status

app = typer.Typer(help="The circuit breaker between the queue and its function.", no_args_is_help=True)


@app.command()
def show(
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Say what the breaker does, since when and why, when it tries again, and how the mapping is set."""
    target = resolve(env, stack, region)
    with target.reached():
        found = status(target).as_json()
    if json:
        show_json(found)
        return
    _describe(found)
    mapping = found["mapping"]
    say(
        f"The mapping is {mapping['state']}: batches of {mapping['batch_size']:,}, "
        f"{mapping['batching_window_s']} s window, {mapping['maximum_concurrency'] or 'unlimited'} at once."
    )
    if found["damage"]:
        say(f"{found['damage']}.", style="yellow")
    if not found["enforced"]:
        say("The mapping does not follow yet; the breaker's next look (within a minute) sees to it.")


@app.command("open")
def open_(
    reason: ReasonOption,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Stop taking messages from the queue until `close` or `auto`; messages wait there for days."""
    _order(Action.OPEN, reason, env, stack, region, json=json)


@app.command()
def close(
    reason: ReasonOption,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Take messages whatever the alarms say, until `auto`."""
    _order(Action.CLOSE, reason, env, stack, region, json=json)


@app.command()
def auto(
    reason: ReasonOption,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Let the breaker decide again; one that is open tries after its cool-down."""
    _order(Action.AUTO, reason, env, stack, region, json=json)


def _order(
    action: Action, reason: str, env: Environment, stack: str, region: str | None, *, json: bool
) -> None:
    target = resolve(env, stack, region)
    check_reason(reason)
    with target.reached(), audit.operation(target, f"breaker.{action.value}", reason=reason):
        after = order(target, action, reason, target.caller)
    if json:
        show_json(after)
    else:
        _describe(after)


def _describe(breaker: dict[str, Any]) -> None:
    held = ", held by an operator" if breaker["held"] else ""
    say(f"The circuit breaker is {breaker['phase']}{held} ({breaker['reason']}).")
    if breaker["tries_at"]:
        say(f"It tries again at {breaker['tries_at']}.")
