"""``console``, ``report``: the pipeline to be looked at, as a page on this machine or as one file."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import Environment, resolve
from lean_ops.console.printing import human_bytes, say, show_json
from lean_ops.environment.target import Target
from lean_ops.local.target import LocalTarget
from lean_ops.sight import report as written
from lean_ops.sight.pages import Place
from lean_ops.sight.serving import Site

REPORT: Final = "lean-ops-report.html"


@on_target()
def console(
    call: Call,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.", min=0, max=65535)] = 0,
) -> Answer:
    """Serve a page that shows what is wrong first, and all that flows, until interrupted.

    It listens on this machine alone and lets in who has the address that is printed. It only looks: what it
    advises are commands to copy.
    """
    caller = call.target.caller  # an environment that does not answer is said before there is a page
    with Site(_finder(call), _named(call), port) as site:
        if call.json:
            show_json({"address": site.address})
        else:
            say(f"Open {site.address}")
            say(f"It looks with the rights of {caller}, and changes nothing. Ctrl-C ends it.")
        sys.stdout.flush()
        site.wait()
    return Answer({"ended": site.address}, lambda: say("The page has ended."))


@on_target()
def report(
    call: Call,
    to: Annotated[Path, typer.Option("--to", help="The file.")] = Path(REPORT),
) -> Answer:
    """Write what the page of `console` shows as one file: no script, nothing from a network."""
    _check_file(to)
    caller = call.target.caller  # as above
    size = written.write(_finder(call), _named(call), to)
    document = {"file": str(to), "bytes": size, "caller": caller}
    return Answer(document, lambda: say(f"{human_bytes(size)} written to {to}."))


def _check_file(path: Path) -> None:
    """Raise InvalidInput for what cannot be a file, before anything is looked at."""
    if "\0" in str(path) or not path.name or path.is_dir():
        raise InvalidInput(f"--to: expected the name of a file, found {str(path)!r}; give one as {REPORT}")
    if not path.parent.is_dir():
        raise InvalidInput(f"--to: expected an existing folder, found none at {str(path.parent)!r}")


def _finder(call: Call) -> Callable[[], Target]:
    """Where the environment is, asked again and again: a local stack may be started anew on other ports."""
    if isinstance(call.target, LocalTarget):
        return partial(resolve, Environment.LOCAL, call.place, None)
    return lambda: call.target


def _named(call: Call) -> Place:
    if not isinstance(call.target, LocalTarget):
        return Place(f"environment {call.place}", f"--env {call.place}")
    return Place(f"local stack {call.place}", "" if call.place == "local" else f"--stack {call.place}")
