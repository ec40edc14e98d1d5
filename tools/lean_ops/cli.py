"""``lean-ops``: the command line. Every command is a function of ``lean_ops.commands``."""

import signal
import sys
from types import FrameType

import click
import typer

from common.errors import LeanOpsError
from lean_ops.commands import demo, lake, run, send, stack
from lean_ops.console import complain

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
    run.checkpoints,
    lake.query,
    lake.tables,
):
    app.command()(command)


def main() -> None:
    """Run the command line; a known error is one sentence on standard error and exit code 1."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(standalone_mode=False)
    except LeanOpsError as error:
        complain(str(error))
        sys.exit(1)
    except OSError as error:
        complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted; what was sent or committed stays, and the same command can be run again")
        sys.exit(130)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
