"""Every command of the runbook's section on replay runs as it is written there."""

import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result

from lean_ops.accounts import observation
from lean_ops.environment.target import Target

from ..support.runbook import commands

PAGE = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
SECTION = re.split(r"^## ", PAGE.partition("\n## Replay\n")[2], maxsplit=1, flags=re.M)[0]
COMMANDS = commands(SECTION)


@pytest.fixture(scope="module", autouse=True)
def _sent(target: Target) -> None:
    event = {
        "message_id": "runbook-1",
        "idempotency_key": "runbook-1",
        "topic_name": "events",
        "publish_time": datetime.now(UTC).isoformat(),
        "payload": {},
    }
    url = target.queue_url(target.source_queue)
    for body in (event, event | {"topic_name": "unheard_of"}):
        target.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
    assert observation.settle(target, timeout_s=300) == 0


def test_the_section_has_commands() -> None:
    assert len(COMMANDS) > 12
    named = {command.split()[0] for command in COMMANDS}
    assert named == {"audit", "dlq", "history", "query", "replay", "run", "trace"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_it_is_written(command: str, lean_ops: Callable[..., Result]) -> None:
    result = lean_ops(*shlex.split(command.replace("MESSAGE_ID", "runbook-1").replace("KEY", "runbook-1")))
    assert result.exit_code == 0, (result.exception, result.output)
