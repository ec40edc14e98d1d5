"""The same as without a stack (tests/integration): any value of any option, with a stack that answers.

Whatever is given, a command ends in a sentence and a known exit code, and leaves nothing behind: no hold, no
lease, no table, no unfinished run of the ledger, no operation without an end.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from lean_ops import cli
from lean_ops.accounts.ledger import Ledger
from lean_ops.commands.options import STACKS
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import leases
from lean_ops.operate.doctor import intake

from ..support import edges
from ..support.edges import Ended, Place
from ..support.generated import cases

# What starts, stops or needs no stack, and options that lead to another one.
WITHOUT = {
    ("up",), ("down",), ("demo",), ("contract", "lint"), ("contract", "diff"), ("source", "lint"),
    ("source", "try"), ("release", "show"), ("release", "rollback"), ("console",),
    ("snowflake", "setup"), ("snowflake", "check"),
}  # fmt: skip
ELSEWHERE = {"--stack", "--env", "--region"}
# What else is given, so that a value that is fine costs little.
BESIDE = {
    "send": ("--events=3", "--devices=2"), "replay": ("--dry-run",), "maintain": ("--dry-run",),
}  # fmt: skip
CHANGES = {"send", "run", "pause", "resume", "rollback", "rebuild", "maintain", "checkpoints"}
# What lifts what a command has rightly done.
UNDONE = {
    "pause": ("resume",), "breaker": ("breaker", "auto", "--reason=x"), "rollback": ("resume",),
    "rebuild": ("rebuild", "--layer=curated", "--reason=x", "--discard"),
}  # fmt: skip


@pytest.fixture(scope="module")
def name(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stack's name; the working folder is an empty one."""
    link = STACKS / f"test-options-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stack.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", typer.main.get_command(cli.app))  # built once, not for every case
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        yield link.name
    link.unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paths")


@pytest.fixture(scope="module")
def tables(target: Target) -> set[str]:
    return {table[-1] for table in target.catalog().list_tables(target.database)}


def assert_nothing_is_left(target: LocalTarget, tables: set[str]) -> None:
    assert {table[-1] for table in target.catalog().list_tables(target.database)} == tables
    assert target.folder is not None
    assert not Ledger(target.folder / "ledger").unfinished()
    for topic in target.topics:
        lease = leases.read(target, topic)
        assert (lease.holds, lease.status) in {((), ""), ((), "SUCCEEDED")}, lease


def places() -> list[Place]:
    return [p for p in edges.places() if p.command not in WITHOUT and p.name not in ELSEWHERE]


# What a command that looks for something says where there is nothing, which is its answer.
ANSWERS = ("was seen nowhere in this window", "has no event of this key")


def check(ended: Ended) -> None:
    written = ended.out + ended.err
    assert ended.code in (0, 1, 2), written
    assert "Traceback" not in written
    if ended.code == 1 and not any(answer in ended.out for answer in ANSWERS):
        assert ended.err.strip().startswith("lean-ops: "), written
        assert "\n" not in ended.err.strip()
    if ended.code == 2:
        assert "Error" in ended.err


@pytest.mark.parametrize("place", places(), ids=str)
def test_a_value_ends_in_a_sentence_and_leaves_nothing_behind(
    name: str, folder: Path, place: Place, target: LocalTarget, tables: set[str]
) -> None:
    """The same value of each place every time; ``GENERATED_TIMES`` takes that many, up to all."""
    known = [value for value in edges.values(place, folder) if harmless(place, value)]
    for value in random.Random(str(place)).sample(known, min(cases(1), len(known))):
        first = place.command[0]
        beside = [given for given in BESIDE.get(first, ()) if not given.startswith(place.name)]
        if place.name in ("--events", "--devices"):
            beside.append("--dry-run")
        arguments = place.given(value)
        mark = arguments.index("--") if place.is_argument else len(arguments)
        ended = edges.lean_ops([*arguments[:mark], *beside, f"--stack={name}", *arguments[mark:]])
        check(ended)
        if ended.code == 0 and first in UNDONE:
            topic = [f"--topic={value}"] if place.name == "--topic" and first != "breaker" else []
            edges.lean_ops([*UNDONE[first], *topic, f"--stack={name}"])
        for file in Path.cwd().iterdir():
            assert place.name == "--write-to", file
            file.unlink()
        if first in CHANGES:
            assert_nothing_is_left(target, tables)


def harmless(place: Place, value: str) -> bool:
    """Whether the value may be tried: a file of this machine is not to be written over."""
    return place.name != "--write-to" or not value.startswith("/etc")


# Letters and failed deliveries may be of a topic that does not exist: there it is a filter.
FILTERS = {("dlq", "show"), ("replay", "dlq"), ("replay", "delivery")}


@pytest.mark.parametrize(
    "place", [p for p in places() if p.name == "--topic" and p.command not in FILTERS], ids=str
)
def test_an_unknown_topic_is_refused(name: str, place: Place) -> None:
    ended = edges.lean_ops([*place.given("nosuch"), f"--stack={name}"])
    assert ended.code == 1
    assert "expected one of events, weather, found 'nosuch'" in ended.err


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize(
    "command", ["trace m-1", "dlq show", "replay dlq", "replay delivery", "replay quarantine"]
)
def test_times_at_the_edge_of_years_and_beyond(name: str, command: str, option: str) -> None:
    dry = ["--dry-run"] if command.startswith("replay") else []
    for value in random.Random(command + option).sample(edges.TIMES, min(cases(2), len(edges.TIMES))):
        check(edges.lean_ops([*command.split(), f"{option}={value}", *dry, f"--stack={name}"]))


@pytest.mark.parametrize(
    ("statement", "code"),
    [("", 1), (" ", 1), ("SELECT 1 AS a, 2 AS a", 0), ("SELECT 'nan'::DOUBLE AS x, 'inf'::DOUBLE AS y", 0)],
)
def test_a_query_at_its_edges(name: str, statement: str, code: int) -> None:
    ended = edges.lean_ops(["query", statement, "--json", f"--stack={name}"])
    check(ended)
    assert ended.code == code
    if code == 0:
        (row,) = json.loads(ended.out, parse_constant=pytest.fail)
        assert len(row) == 2


def process(name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    program = [str(Path(sys.executable).parent / "lean-ops"), *arguments, f"--stack={name}"]
    return subprocess.Popen(
        program, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_output_that_is_not_utf8(name: str) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    running = process(name, "query", "SELECT chr(233) || chr(128512) AS x", **ascii_only)
    out, err = running.communicate()
    assert (running.returncode, err) == (0, b"")
    assert rb"\xe9\U0001f600" in out


def test_who_reads_only_the_first_line(name: str) -> None:
    running = process(name, "query", "SELECT unnest(range(30000)) AS n", "--json")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    err = running.stderr.read().decode()
    running.stderr.close()
    running.wait()
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert running.returncode in (0, 1)


def test_every_operation_has_ended_and_nothing_is_left(target: LocalTarget, tables: set[str]) -> None:
    assert_nothing_is_left(target, tables)
    assert {entry.outcome for entry in audit.entries(target)} <= {
        audit.Outcome.SUCCEEDED,
        audit.Outcome.FAILED,
    }
    assert not list(intake.breaker(target))
