"""Every command of the runbook's section on alarms runs as it is written there."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from lean_ops.accounts import observation
from lean_ops.cli import app
from lean_ops.environment.target import Target
from lean_ops.operate.breaker import status

from ..support.runbook import commands

PAGE = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
BEGIN = PAGE.partition("\n## Tables and checkpoints\n")[0]
COMMANDS = commands(BEGIN)
# These say by their exit code whether something is wrong.
JUDGES = {"doctor"}


@pytest.fixture(scope="module", autouse=True)
def _sent(target: Target) -> None:
    event = {
        "message_id": "runbook-alarm",
        "idempotency_key": "runbook-alarm",
        "topic_name": "events",
        "publish_time": datetime.now(UTC).isoformat(),
        "payload": {},
    }
    url = target.queue_url(target.source_queue)
    for body in (event, event | {"topic_name": "unheard_of"}):
        target.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
    assert observation.settle(target, timeout_s=300) == 0


def test_the_section_has_commands() -> None:
    assert len(COMMANDS) > 15
    assert {"alarms", "breaker", "doctor", "dlq", "refresh"} <= {
        command.split(maxsplit=1)[0] for command in COMMANDS
    }


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_a_command_runs_as_it_is_written(command: str, lean_ops: Callable[..., Result]) -> None:
    words = shlex.split(command.replace("MESSAGE_ID", "runbook-alarm"))
    reads_files = words[:2] in (
        ["contract", "lint"],
        ["contract", "diff"],
        ["source", "lint"],
        ["source", "try"],
    )
    result = CliRunner().invoke(app, words) if reads_files else lean_ops(*words)
    allowed = {0, 1} if words[0] in JUDGES else {0}
    assert result.exit_code in allowed, (result.exception, result.output)


def test_the_breaker_really_stops_and_starts_the_mapping(
    target: Target, lean_ops: Callable[..., Result]
) -> None:
    pace = status(target).pace
    assert lean_ops("breaker", "open", "--reason", "test").exit_code == 0
    found = status(target)
    assert (found.mapping_state, found.record.breaker.held) == ("Disabled", True)
    assert "held by an operator" in lean_ops("breaker", "show").output
    assert lean_ops("breaker", "close", "--reason", "test").exit_code == 0
    assert lean_ops("breaker", "auto", "--reason", "test").exit_code == 0
    found = status(target)
    assert (found.mapping_state, found.record.breaker.held, found.pace) == ("Enabled", False, pace)


def test_an_order_without_a_reason_is_refused(lean_ops: Callable[..., Result]) -> None:
    refused = lean_ops("breaker", "open", "--reason", " ")
    assert "expected why" in str(refused.exception)


def test_orders_are_on_the_audit_trail(lean_ops: Callable[..., Result]) -> None:
    lean_ops("breaker", "auto", "--reason", "trail")
    entries = json.loads(lean_ops("audit", "--operation", "breaker", "--json").output)
    assert [e for e in entries if (e["operation"], e["reason"]) == ("breaker.auto", "trail")]


def test_an_alarm_of_the_breaker_reaches_it_through_sns(
    target: Target, lean_ops: Callable[..., Result]
) -> None:
    import time

    lean_ops("breaker", "auto", "--reason", "test")
    time.sleep(1.1)  # the notification must be newer than the order
    cloudwatch = target.client("cloudwatch")
    name = f"{target.name_prefix}-message-error-rate"
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    deadline = time.monotonic() + 120
    while status(target).mapping_state != "Disabled" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status(target).record.breaker.phase == "open"
    assert name in lean_ops("alarms", "--all").output.replace("\n", "")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
    lean_ops("breaker", "close", "--reason", "test")
    lean_ops("breaker", "auto", "--reason", "test")
    assert status(target).mapping_state == "Enabled"
