"""``release show`` and ``release rollback``: which versions run, and one step back."""

from typing import Annotated

import typer

from common.runtime.errors import InvalidInput
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    ReasonOption,
    RegionOption,
    check_reason,
)
from lean_ops.console.printing import say, show_json, show_table
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import releases

app = typer.Typer(
    no_args_is_help=True, help="Which versions of functions and state machine run, and the way back."
)
NameArgument = Annotated[
    str, typer.Argument(help="A function, as sqs-processor, or pipeline for the state machine.")
]


@app.command()
def show(
    env: EnvOption,
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Show the live version of every function and of the state machine."""
    target = _deployed(env, region)
    with target.reached():
        found = [releases.release(target, name) for name in releases.names()]
    rows = [
        {
            "name": release.name,
            "live": release.live,
            "newest": release.versions[-1].number,
            "published_at": release.versions[-1].published_at,
        }
        for release in found
    ]
    if json:
        show_json(rows)
        return
    show_table(f"Releases of {target.name_prefix}", list(rows[0]), [list(row.values()) for row in rows])


@app.command()
def rollback(
    name: NameArgument,
    env: EnvOption,
    reason: ReasonOption,
    to: Annotated[
        int | None, typer.Option("--to", help="Version; default: the one before the newest.", min=1)
    ] = None,
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Point a function, or the state machine, at an earlier version. Takes effect at once; safe to repeat.

    Without --to that is the one before the newest; where an older one is live already, it stays.
    """
    check_reason(reason)
    target = _deployed(env, region)
    with target.reached():
        release = releases.release(target, name)
        number = release.taken_back() if to is None else release.check(to)
        with audit.operation(
            target,
            "release.rollback",
            reason=reason,
            selection={"name": name, "from": release.live, "to": number},
        ):
            releases.move(target, release, number)
    if json:
        show_json({"name": name, "from": release.live, "to": number})
        return
    if number == release.live:
        newest = release.versions[-1].number
        say(f"{name}: version {number} is live already (the newest is {newest}); --to names another.")
        return
    say(f"{name}: version {number} is live (it was {release.live}).")
    say("The next deployment makes the newest live again: take the change back in the repository as well.")


def _deployed(env: Environment, region: str | None) -> Target:
    if env is Environment.LOCAL:
        raise InvalidInput(
            "--env: expected an environment on AWS, found the local stack, which runs the files of this "
            "checkout; go back with git, then `lean-ops up`"
        )
    return Target.aws(env.value, region=region)
