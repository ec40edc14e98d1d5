"""What ``on_target`` gives a command: options, the target that they name, checks, and how it answers."""

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from common.runtime.errors import InvalidInput
from lean_ops.commands import calling
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say


@pytest.fixture(autouse=True)
def target(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A target that is there, whatever the options name."""
    target = SimpleNamespace(topics=("events",), reached=nullcontext)
    monkeypatch.setattr(calling, "resolve", lambda *_named: target)
    return target


def call(command: Any, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def test_a_command_is_told_where_it_acts_on_what_and_why(target: Any) -> None:
    seen: list[tuple[Call, int]] = []

    @on_target(topic=True, reason=True)
    def command(call: Call, own: Annotated[int, typer.Option("--own")] = 1) -> Answer:
        """Do it."""
        seen.append((call, own))
        return Answer({}, lambda: None)

    assert call(command, "--reason", "why").exit_code == 0
    assert call(command, "--reason", "why", "--own", "2", "--env", "dev", "--json").exit_code == 0
    assert seen == [
        (Call(target, "local", "events", "why", json=False), 1),
        (Call(target, "dev", "events", "why", json=True), 2),
    ]
    described = call(command, "--help").output
    assert "Do it." in described
    for option in ("--own", "--reason", "--topic", "--env", "--stack", "--region", "--json"):
        assert option in described


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reason", " "], "--reason: expected why"),
        (["--reason", "why", "--topic", "nosuch"], "--topic: expected one of events, found 'nosuch'"),
    ],
)
def test_a_command_does_not_begin_without_a_known_topic_and_a_reason(arguments: list[str], said: str) -> None:
    @on_target(topic=True, reason=True)
    def command(call: Call) -> Answer:
        raise AssertionError(call)

    ended = call(command, *arguments)
    assert isinstance(ended.exception, InvalidInput)
    assert said in str(ended.exception)


def test_options_that_a_command_did_not_ask_for_are_wrong_usage() -> None:
    @on_target()
    def command(call: Call) -> Answer:
        return Answer(call.topic, lambda: None)

    assert call(command).exit_code == 0
    assert call(command, "--topic", "events").exit_code == 2
    assert call(command, "--reason", "why").exit_code == 2


def test_what_is_only_on_aws_says_so_of_the_local_stack_and_has_no_stack_to_name() -> None:
    @on_target(only_on_aws="has none; look there")
    def command(call: Call) -> Answer:
        return Answer(call.place, lambda: None)

    assert call(command).exit_code == 2
    assert call(command, "--env", "dev", "--stack", "x").exit_code == 2
    assert call(command, "--env", "dev", "--json").output == '"dev"\n'
    ended = call(command, "--env", "local")
    assert str(ended.exception).endswith("found the local stack, which has none; look there")


@pytest.mark.parametrize(
    ("failures", "failed", "code"), [([], False, 0), ([], True, 1), (["broken", "worn"], False, 1)]
)
def test_a_program_gets_the_document_and_a_person_the_text_and_both_the_failures(
    failures: list[str], failed: bool, code: int
) -> None:
    @on_target()
    def command(_call: Call) -> Answer:
        return Answer({"found": 1}, lambda: say("One was found."), failures=failures, failed=failed)

    told, asked = call(command), call(command, "--json")
    assert (told.stdout, asked.exit_code, told.exit_code) == ("One was found.\n", code, code)
    assert json.loads(asked.stdout) == {"found": 1}
    assert told.stderr == asked.stderr == "".join(f"lean-ops: {sentence}\n" for sentence in failures)
