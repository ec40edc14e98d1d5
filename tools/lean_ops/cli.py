"""``lean-ops``: the command line. Every command is a function of ``lean_ops.commands``.

A module of commands is imported when one of its commands is called: together they import every library that
the tools use, which takes seconds that a command which stops the stack need not take.
"""

import ast
import errno
import signal
import sys
from collections import UserDict
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from common.runtime.errors import LeanOpsError
from lean_ops.console.printing import complain

_COMMANDS: Final = Path(__file__).with_name("commands")
# Where a command is: a function of a module of ``lean_ops.commands``, or its ``app``, which has its own.
_PLACES: Final = {
    "demo": "demo.demo",
    "up": "up.up",
    "down": "stack.down",
    "status": "stack.status",
    "send": "send.send",
    "run": "run.run",
    "pause": "hold.pause",
    "resume": "hold.resume",
    "stop": "hold.stop",
    "rollback": "rollback.rollback",
    "rebuild": "rebuild.rebuild",
    "maintain": "maintain.maintain",
    "doctor": "doctor.doctor",
    "query": "lake.query",
    "tables": "lake.tables",
    "reconcile": "reconcile.reconcile",
    "trace": "trace.trace",
    "history": "history.history",
    "audit": "trail.audit",
    "alarms": "alarms.alarms",
    "refresh": "refresh.refresh",
    "cost": "cost.cost",
    "console": "sight.console",
    "report": "sight.report",
    "breaker": "breaker.app",
    "checkpoints": "checkpoints.app",
    "contract": "contract.app",
    "dlq": "dlq.app",
    "erase": "erase.app",
    "release": "release.app",
    "replay": "replay.app",
    "snowflake": "snowflake.app",
    "source": "source.app",
}


class _Imported(UserDict[str, Any]):
    """Commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if isinstance(self.data[name], str):
            self.data[name] = _command(name, self.data[name])
        return self.data[name]


class _Commands(TyperGroup):
    """All commands. Help and completion list them as their files describe them, and import none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Imported(_PLACES)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's own signature
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's own signature
        """The command, to be listed."""
        return TyperCommand(cmd_name, help=_help(_PLACES[cmd_name])) if cmd_name in _PLACES else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command, to be run."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, self.commands[name] if name else listed, rest


def _command(name: str, place: str) -> Any:
    module, attribute = place.split(".")
    found = getattr(import_module(f"lean_ops.commands.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command()(found)
        command = typer.main.get_command(alone)
    command.name = name
    return command


def _help(place: str) -> str | None:
    """The docstring of a command's function, or the ``help`` of its ``app``, read from the file."""
    module, attribute = place.split(".")
    for node in ast.parse((_COMMANDS / f"{module}.py").read_bytes()).body:
        match node:
            case ast.FunctionDef(name=name) if name == attribute:
                return ast.get_docstring(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(keywords=keywords)) if (
                name == attribute
            ):
                return next(str(ast.literal_eval(word.value)) for word in keywords if word.arg == "help")
    return None


app = typer.Typer(
    name="lean-ops",
    help="A serverless lakehouse for IoT events: run it on this machine, operate it on AWS.",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _all() -> None:  # without it, typer would look for commands of its own
    pass


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM; not a KeyboardInterrupt, which typer would turn into a bare "Aborted"."""


def main() -> None:
    """Run the command line; what is known to go wrong is one sentence on standard error and exit code 1."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a character gets its escape
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except LeanOpsError as error:
        _say(str(error), error)
        sys.exit(1)
    except OSError as error:
        _say(_refused_by_the_system(error), error)
        sys.exit(1)
    except Interrupted as error:
        _say("interrupted; what was sent or committed stays, and the same command can be run again", error)
        sys.exit(130)


def _say(sentence: str, error: BaseException) -> None:
    """What went wrong, and what was noted on it, or on what it was made of."""
    complain(sentence)
    noted: BaseException | None = error
    while noted is not None:
        for note in getattr(noted, "__notes__", ()):
            complain(note)
        noted = noted.__cause__


def _refused_by_the_system(error: OSError) -> str:
    """What the operating system refused, and for a full disk what to do."""
    name = repr(str(error.filename))[1:-1] if error.filename else "system"  # one line, whatever is in it
    said = f"{name}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        said += "; free some, then run the same command again, which repeats nothing (`lean-ops doctor`)"
    return said


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted
