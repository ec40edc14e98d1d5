"""``release show`` and ``release rollback``: which versions run, and one step back."""

from typing import Annotated, Final

import typer

from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say, show_table
from lean_ops.operate import releases

app = typer.Typer(
    no_args_is_help=True, help="Which versions of functions and state machine run, and the way back."
)
_LOCALLY: Final = "runs the files of this checkout; go back with git, then `lean-ops up`"
NameArgument = Annotated[
    str, typer.Argument(help="A function, as sqs-processor, or pipeline for the state machine.")
]


@app.command()
@on_target(only_on_aws=_LOCALLY)
def show(call: Call) -> Answer:
    """Show the live version of every function and of the state machine."""
    found = [releases.release(call.target, name) for name in releases.names()]
    rows = [
        {
            "name": release.name,
            "live": release.live,
            "newest": release.versions[-1].number,
            "published_at": release.versions[-1].published_at,
        }
        for release in found
    ]
    title = f"Releases of {call.target.name_prefix}"
    return Answer(rows, lambda: show_table(title, list(rows[0]), [list(row.values()) for row in rows]))


@app.command()
@on_target(reason=True, only_on_aws=_LOCALLY)
def rollback(
    call: Call,
    name: NameArgument,
    to: Annotated[
        int | None, typer.Option("--to", help="Version; default: the one before the newest.", min=1)
    ] = None,
) -> Answer:
    """Point a function, or the state machine, at an earlier version. Takes effect at once; safe to repeat.

    Without --to that is the one before the newest; where an older one is live already, it stays.
    """
    release = releases.release(call.target, name)
    number = release.taken_back() if to is None else release.check(to)
    done = {"name": name, "from": release.live, "to": number}
    with call.operation("release.rollback", **done):
        releases.move(call.target, release, number)

    def tell() -> None:
        if number == release.live:
            newest = release.versions[-1].number
            say(f"{name}: version {number} is live already (the newest is {newest}); --to names another.")
        else:
            say(f"{name}: version {number} is live (it was {release.live}).")
            say(
                "The next deployment makes the newest live again: take the change back in the repository as "
                "well."
            )

    return Answer(done, tell)
