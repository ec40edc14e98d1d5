"""Whatever value an option or argument is given, its command ends in a sentence and a known exit code."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from lean_ops import cli
from lean_ops.commands import options
from lean_ops.environment.target import TargetUnreachable
from lean_ops.local.stack import Stack

from ...support import edges
from ...support.edges import Place
from ...support.generated import cases


def _not_started(_stack: Stack) -> None:
    raise TargetUnreachable("local stack: expected none to be started, found a start; this is a test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No stack, no AWS credentials; `up` and `demo`, which run long, end where they would start one."""
    folder = tmp_path_factory.mktemp("edges")
    for name in ("stacks", "cwd", "paths"):
        (folder / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "STACKS", folder / "stacks")
        patch.setattr(Stack, "up", _not_started)
        patch.setattr(cli, "app", typer.main.get_command(cli.app))  # built once, not for every case
        for name in os.environ.keys() - edges.environment().keys():
            patch.delenv(name)
        for name, value in edges.environment().items():
            patch.setenv(name, value)
        patch.chdir(folder / "cwd")
        yield folder


@pytest.mark.parametrize("place", edges.places(), ids=str)
def test_a_value_ends_in_a_sentence_and_leaves_nothing_behind(folder: Path, place: Place) -> None:
    """The same value of each place every time; ``GENERATED_TIMES`` takes that many, up to all."""
    known = edges.values(place, folder / "paths")
    for value in random.Random(str(place)).sample(known, min(cases(1), len(known))):
        _check(folder, place, place.given(value))


def _check(folder: Path, place: Place, arguments: list[str]) -> None:
    if place.name == "--region" and place.command[0] != "release":
        arguments.append("--env=dev")  # the local stack has a region of its own
    ended = edges.lean_ops(arguments)
    written = ended.out + ended.err
    assert ended.code in (0, 1, 2), written
    assert "Traceback" not in written
    if ended.code == 1:
        said = ended.err.strip()
        assert said.startswith("lean-ops: ") or place.command == ("status",), written
        assert "\n" not in said
    if ended.code == 2:
        assert "Error" in ended.err
    assert not any((folder / "stacks").iterdir())
    assert not any((folder / "cwd").iterdir())


@pytest.mark.parametrize("region", ["", " ", "*", "a\0b", "eu west 1", "EU-WEST-1", "eu-west-1\n", "x" * 300])
@pytest.mark.usefixtures("folder")
def test_what_is_no_region_is_wrong_usage(region: str) -> None:
    ended = edges.lean_ops(["doctor", f"--region={region}"])
    assert ended.code == 2
    assert "--region" in ended.err
    assert ended.out == ""


@pytest.mark.usefixtures("folder")
def test_a_region_of_the_environment_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu west 1")
    ended = edges.lean_ops(["tables", "--env", "dev"])
    assert ended.code == 1
    assert ended.err.startswith("lean-ops: environment lean-ops-dev on AWS, region eu west 1")
