import json
from pathlib import Path
from typing import Any

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.checks.plan_guard import STATEFUL, losses, main

ROOT = Path(__file__).parents[3]


def plan(kind: str, *actions: str) -> dict[str, Any]:
    change = {"address": f"module.x.{kind}.this", "type": kind, "change": {"actions": list(actions)}}
    return {"format_version": "1.2", "resource_changes": [change]}


@pytest.mark.parametrize("kind", sorted(STATEFUL))
@pytest.mark.parametrize(
    ("actions", "verb"),
    [
        (("delete",), "destroy"),
        (("delete", "create"), "replace"),
        (("create", "delete"), "replace"),
        (("forget",), "forget"),
    ],
)
def test_a_stateful_resource_is_neither_destroyed_nor_replaced(
    kind: str, actions: tuple[str, ...], verb: str
) -> None:
    (sentence,) = losses(plan(kind, *actions))
    assert f"module.x.{kind}.this" in sentence
    assert verb in sentence


@pytest.mark.parametrize("actions", [("create",), ("update",), ("no-op",), ("read",)])
def test_everything_else_passes(actions: tuple[str, ...]) -> None:
    assert losses(plan("aws_sqs_queue", *actions)) == []
    assert losses(plan("aws_lambda_function", "delete", "create")) == []


def test_something_that_is_no_plan_is_refused() -> None:
    with pytest.raises(InvalidInput, match="terraform show -json"):
        losses({"resource_changes": []})


def test_the_command_exits_with_one_for_a_loss_and_two_for_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan("aws_sqs_queue", "delete", "create")))
    assert main([str(file)]) == 1
    assert "aws_sqs_queue.this" in capsys.readouterr().err
    file.write_text(json.dumps(plan("aws_sqs_queue", "update")))
    assert main([str(file)]) == 0
    file.write_text("not json")
    assert main([str(file)]) == 2
    assert main([str(tmp_path / "absent.json")]) == 2
    assert main([]) == 2
