"""Options and arguments of the command line, values at the edges of their kinds, how a command ended."""

import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperGroup

from lean_ops import cli

NUMBERS = (
    "0", "-1", "1", "-0", "0.05", "1e3", "nan", "-nan", "inf", "-inf", "1e308", "1e-320", "1" + "0" * 400,
    str(2**31), str(2**63 - 1), str(2**63), "-" + str(2**63), "0x10", "1_000", "\u0661\u0662", "",
    " ", "many", "1\0",
)  # fmt: skip
TEXTS = (
    "", " ", "\t", "\n", "a\nb", "\0", "a\0b", "\ud800", "x" * 10_000, "../..", "/etc/passwd", "C:\\x",
    "--x", "-",
    "--", "\u202eabc", "\u200f", "\x1b[2J", "'; DROP TABLE raw_events; --", '"', "*", "%s{0}{x}", "[red]x[/]",
    "[/]",
    "é", "😀", "null", "True", "?",
)  # fmt: skip
TIMES = (
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z", "2026-02-28T12:00:00", "2026-02-28T12:00:00+24:00",
    "2016-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "2026-02-28", "0m", "-1d", "1d", "999999999d",
    "9" * 400 + "d", "1.5h", "1y", "12H", "\u0661d",
)  # fmt: skip
TOPICS = ("events", "nosuch", "EVENTS", "Events", "my-topic", "events ", "_", "1")
PAIRS = ("=", "a=", "=b", "a=b", "a=b=c", "a.b=c", "\0=\ud800")
FORMATS = ("%", "%Q", "%Y", "%Y-%m-%dT%H:%M:%S%z", "\ud800%")
ZONES = ("UTC", "Europe/Berlin", "Europe", "europe/berlin", "../UTC", "/etc/localtime", "Nowhere/X")
IDS = ("pipeline", "sqs-processor", "sqs_processor", "m-1", "01J0000000000000000000000Z", "zzz")
STATEMENTS = (
    "SELECT 1", "SELECT", "SELECT 1; SELECT 2", "SELECT 1 AS a, 2 AS a", "SELECT 'nan'::DOUBLE",
    "SELECT 'a\0b'", "SELECT '\ud800'", "DROP TABLE raw_events", "SELECT * FROM nosuch", "-- nothing", "/*",
)  # fmt: skip
REGIONS = ("eu-west-1", "EU-WEST-1", "nowhere", "eu west 1", "eu-west-1/", "x" * 300)


@dataclass(frozen=True)
class Place:
    """An option or argument of a command: ``name`` as it is typed (an argument's is its metavar)."""

    command: tuple[str, ...]
    name: str
    is_argument: bool
    annotation: Any
    required: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' '.join(self.command)} {self.name}"

    def given(self, value: str) -> list[str]:
        """The arguments that give ``value``, as one word where it looks like an option itself."""
        if self.is_argument:
            return [*self.command, *self.required, "--", value]
        return [*self.command, f"{self.name}={value}", *self.required]


@dataclass(frozen=True)
class Ended:
    """How the command line ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str


# What every command is given beside the value that is tried, where it asks for it.
_REQUIRED = {
    "--reason": "why", "--env": "dev", "--to": "1", "--layer": "curated", "layer": "curated",
    "sql": "SELECT 1", "message_id": "m-1", "name": "pipeline",
    "--outputs": "/nonexistent", "--warehouse": "w",
}  # fmt: skip


def places() -> list[Place]:
    """Every option with a value and every argument, of every command."""
    return list(_walk(typer.main.get_command(cli.app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[Place]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _walk(inner, (*path, name))
    if not path:  # options of the shell's completion, which are typer's own
        return
    names = [_name(parameter) for parameter in command.params]
    for parameter, name in zip(command.params, names, strict=True):
        if getattr(parameter, "is_flag", False):
            continue
        others = [
            other_name if other.param_type_name == "argument" else f"{other_name}={_REQUIRED[other_name]}"
            for other, other_name in zip(command.params, names, strict=True)
            if other.required and other is not parameter
        ]
        required = [_REQUIRED.get(other, other) for other in others]
        yield Place(
            path,
            name,
            parameter.param_type_name == "argument",
            parameter.type_descriptor.annotation,
            tuple(required),
        )


def _name(parameter: Any) -> str:
    return str(parameter.opts[0])


def values(place: Place, folder: Path) -> Sequence[str]:
    """Values at the edge of the place's kind; ``folder`` is where its paths may be made."""
    kinds = {place.annotation, *get_args(place.annotation)}
    if any(isinstance(kind, type) and issubclass(kind, Enum) for kind in kinds):
        (enum,) = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum))
        return ("", " ", "nosuch", "\0", "\ud800", *(str(member.value).upper() for member in enum))
    if kinds & {int, float}:
        return NUMBERS
    if datetime in kinds:
        return (*TIMES, *TEXTS)
    if Path in kinds:
        return (*TEXTS, *paths(folder))
    return (*TEXTS, *_OF_NAME.get(place.name, ()))


_OF_NAME = {
    "--topic": TOPICS, "topic": TOPICS, "--since": TIMES, "--until": TIMES, "--rename": PAIRS,
    "--constant": PAIRS, "--time-format": FORMATS, "--timezone": ZONES, "--id": IDS, "--resume": IDS,
    "--operation": IDS, "message_id": IDS, "name": IDS, "sql": STATEMENTS, "--region": REGIONS,
}  # fmt: skip


def paths(folder: Path) -> list[str]:
    """Paths that are missing, no file, not to be read, without end, or not text, with known endings too."""
    made = []
    for ending in ("", ".csv", ".csv.gz", ".parquet", ".ndjson", ".yaml"):
        binary = folder / f"binary{ending}"
        binary.write_bytes(bytes(range(256)) * 8)
        unreadable = folder / f"unreadable{ending}"
        unreadable.write_bytes(b"")
        unreadable.chmod(0)
        inside = folder / f"folder{ending}"
        inside.mkdir(exist_ok=True)
        made += [str(p) for p in (binary, unreadable, inside, folder / f"missing{ending}", binary / "below")]
    return [*made, "/dev/null", str(folder)]


def lean_ops(arguments: Sequence[str]) -> Ended:
    """Run the command line in this process, through its own main(); only SystemExit is let through it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    argv = sys.argv
    raw = (io.BytesIO(), io.BytesIO())
    out, err = (io.TextIOWrapper(written, encoding="utf-8", newline="") for written in raw)
    try:
        sys.argv = ["lean-ops", *arguments]
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
        code: Any = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
        for number, handler in before.items():
            signal.signal(number, handler)
    out.flush()
    err.flush()
    return Ended(code, *(written.getvalue().decode() for written in raw))


def environment() -> dict[str, str]:
    """An environment without AWS credentials."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/nonexistent")
    return kept | nowhere | {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
