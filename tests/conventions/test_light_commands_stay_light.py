"""A command imports what it needs when it is called; what stops, lists or refuses needs no heavy library.

Counted in imported modules, since a clock would measure the machine.
"""

import json
import subprocess
import sys

import pytest
import typer

from lean_ops.cli import app

# Each takes a good part of a second to import. Pydantic does as well, but typer itself reads options with it.
HEAVY = {"boto3", "duckdb", "ministack", "numpy", "open_data_contract_standard", "pyarrow", "pyiceberg"}
# Runs the command line as its script does, and says what was imported by then.
SCRIPT = """
import json, sys
sys.argv = ["lean-ops", *sys.argv[1:]]
from lean_ops.cli import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write(chr(10) + json.dumps(sorted(sys.modules)))
"""


def imported(*arguments: str) -> set[str]:
    """Names of the modules that a call of the command line imports."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stderr.rpartition("\n")[2]))


@pytest.mark.parametrize(
    "arguments",
    [
        "down --stack nosuch",
        "status --stack nosuch",
        "alarms --stack nosuch",
        "audit --stack nosuch",
        "breaker show --stack nosuch",
        "pause --reason why --stack nosuch",
        "release show --stack nosuch",
        "cost",
    ],
)
def test_a_command_without_tables_imports_no_heavy_library(arguments: str) -> None:
    assert imported(*arguments.split()) & HEAVY == set()


@pytest.mark.parametrize("arguments", ["--help", "nosuch", ""])
def test_the_list_of_commands_imports_none(arguments: str) -> None:
    assert {name for name in imported(*arguments.split()) if name.startswith("lean_ops.commands.")} == set()


def test_a_command_is_listed_as_it_describes_itself() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    context = typer.Context(group)
    listed = {name: group.get_command(context, name) for name in group.list_commands(context)}
    assert {name: command.help for name, command in listed.items() if command} == {
        name: command.help for name, command in group.commands.items()
    }
    assert all(command and command.get_short_help_str() for command in listed.values())
