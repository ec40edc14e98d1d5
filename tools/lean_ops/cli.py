"""``lean-ops``: the command line. Every command is a function of ``lean_ops.commands``."""

import errno
import signal
import sys
from io import TextIOWrapper
from types import FrameType

import typer

from common.runtime.errors import LeanOpsError
from lean_ops.commands import (
    alarms,
    breaker,
    checkpoints,
    contract,
    cost,
    demo,
    dlq,
    doctor,
    hold,
    lake,
    maintain,
    rebuild,
    refresh,
    release,
    replay,
    rollback,
    run,
    send,
    stack,
    trace,
    trail,
)
from lean_ops.console.printing import complain

app = typer.Typer(
    name="lean-ops",
    help="A serverless lakehouse for IoT events: run it on this machine, operate it on AWS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    demo.demo,
    stack.up,
    stack.down,
    stack.status,
    send.send,
    run.run,
    hold.pause,
    hold.resume,
    hold.stop,
    rollback.rollback,
    rebuild.rebuild,
    maintain.maintain,
    doctor.doctor,
    lake.query,
    lake.tables,
    trace.trace,
    trail.audit,
    alarms.alarms,
    refresh.refresh,
    cost.cost,
):
    app.command()(command)
app.add_typer(breaker.app, name="breaker")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(contract.app, name="contract")
app.add_typer(dlq.app, name="dlq")
app.add_typer(release.app, name="release")
app.add_typer(replay.app, name="replay")


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
        complain(str(error))
        sys.exit(1)
    except OSError as error:
        complain(_refused_by_the_system(error))
        sys.exit(1)
    except Interrupted:
        complain("interrupted; what was sent or committed stays, and the same command can be run again")
        sys.exit(130)


def _refused_by_the_system(error: OSError) -> str:
    """What the operating system refused, and for a full disk what to do."""
    said = f"{error.filename or 'system'}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        said += "; free some, then run the same command again, which repeats nothing (`lean-ops doctor`)"
    return said


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted
