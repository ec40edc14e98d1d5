"""The state machine is valid Amazon States Language and agrees with the code about names and errors."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from common.runtime import errors
from common.runtime.errors import PermanentError, TransientError

from .check_tools import check_tool

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "modules/orchestration/pipeline.asl.json").read_text()
STATES: dict[str, dict[str, Any]] = json.loads(TEXT)["States"]
CATALOGUE = json.loads((ROOT / "modules/compute/functions.json").read_text())["functions"]


def rendered() -> str:
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:"
    values = {f"{name}_arn": arn + name for name in CATALOGUE}
    values |= {"partition": "aws", "checkpoints_table": "checkpoints"}
    values |= dict.fromkeys(re.findall(r"\$\{(spark_\w+)\}", TEXT), "spark")
    values["state_machine_arn"] = "arn:aws:states:eu-west-1:000000000000:stateMachine:pipeline:live"
    return re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], TEXT)


def lint(definition: str, folder: Path) -> subprocess.CompletedProcess[str]:
    machine = {"RoleArn": "arn:aws:iam::000000000000:role/r", "Definition": json.loads(definition)}
    resource = {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine}
    template = folder / "template.json"
    template.write_text(json.dumps({"Resources": {"Pipeline": resource}}))
    return subprocess.run([check_tool("cfn-lint"), template], capture_output=True, text=True, check=False)


def test_a_real_validator_accepts_it(tmp_path: Path) -> None:
    result = lint(rendered(), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_validator_would_see_an_invalid_state(tmp_path: Path) -> None:
    assert "E3601" in lint(rendered().replace('"Type": "Choice"', '"Type": "Choose"'), tmp_path).stdout


def targets(state: Any) -> set[str]:
    """Every state that ``state`` can go on to: Next of itself, of its choices and catchers, and Default."""
    if isinstance(state, list):
        return set().union(*map(targets, state))
    if not isinstance(state, dict):
        return set()
    own = {value for key, value in state.items() if key in {"Next", "Default"}}
    return own | targets(list(state.values()))


def unreachable_and_missing(states: dict[str, Any], start: str) -> tuple[set[str], set[str]]:
    seen: set[str] = set()
    todo = {start}
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= (targets(states[name]) if name in states else set()) - seen
    return states.keys() - seen, seen - states.keys()


def test_every_target_exists_and_every_state_is_reached() -> None:
    """cfn-lint checks the shape of each state, and the target of StartAt only."""
    assert unreachable_and_missing(STATES, "ApplyDefaults") == (set(), set())
    broken = json.loads(json.dumps(STATES).replace('"Next": "CheckSchemaExists"', '"Next": "Nowhere"'))
    assert "Nowhere" in unreachable_and_missing(broken, "ApplyDefaults")[1]


def test_every_state_of_the_plan_is_there() -> None:
    assert {
        "GetAllCheckpoints", "CheckForNewRawData", "NoNewData", "RunCurationJob", "UpdateCurationCheckpoint",
        "CheckSchemaExists", "NotifyMissingSchema", "CurationOnlySuccess", "CheckForNewCuratedData",
        "NoNewCuratedData", "RunSemanticJob", "UpdateSemanticCheckpoint", "CheckBacklogThreshold",
        "FullPipelineSuccess",
    } <= STATES.keys()  # fmt: skip


TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_timeout_and_retries_with_jitter(name: str) -> None:
    state = TASKS[name]
    assert state["TimeoutSeconds"] > 0
    assert any(r.get("JitterStrategy") == "FULL" for r in state["Retry"])


LAMBDA_TASKS = {name: state for name, state in TASKS.items() if state["Resource"].endswith("lambda:invoke")}


@pytest.mark.parametrize("name", LAMBDA_TASKS)
def test_permanent_errors_are_never_retried_and_transient_ones_are(name: str) -> None:
    def names(base: type[Exception]) -> set[str]:
        found = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, base)}
        return found - {base.__name__}

    never, soon, *_ = LAMBDA_TASKS[name]["Retry"]
    assert never["MaxAttempts"] == 0
    assert set(never["ErrorEquals"]) == names(PermanentError)
    assert names(TransientError) <= set(soon["ErrorEquals"])


@pytest.mark.parametrize("name", LAMBDA_TASKS)
def test_a_task_waits_longer_than_its_function_may_run(name: str) -> None:
    function = LAMBDA_TASKS[name]["Parameters"]["FunctionName"].removeprefix("${").removesuffix("_arn}")
    assert LAMBDA_TASKS[name]["TimeoutSeconds"] > CATALOGUE[function]["timeout_s"]
