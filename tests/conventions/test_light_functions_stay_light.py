"""A function imports what its layers hold, and no library of another layer."""

import json
import subprocess
import sys

import pytest

from lean_ops.environment.repository import FUNCTION_CATALOGUE, LAMBDA_CODE

FUNCTIONS = json.loads(FUNCTION_CATALOGUE.read_text())["functions"]
LIGHT = [name for name, function in FUNCTIONS.items() if "lake" not in function["layers"]]
# What the lake layer alone brings (pyproject.toml); `make build` tries the layers themselves.
HEAVY = ("numpy", "open_data_contract_standard", "pyarrow", "pyiceberg", "yaml")


@pytest.mark.parametrize("function", LIGHT)
def test_a_function_without_the_lake_layer_imports_none_of_its_libraries(function: str) -> None:
    script = f"import sys; import {function}.handler; print(*sorted(set(sys.modules) & {set(HEAVY)}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=LAMBDA_CODE, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_some_functions_are_light() -> None:
    assert {"sqs_processor", "notify_missing_schema"} <= set(LIGHT)


def test_the_queues_function_loads_nothing_of_sources_until_there_are_some() -> None:
    script = (
        "import sys; import sqs_processor.handler; "
        "print(*[m for m in sys.modules if m.startswith(('common.intake.sources', 'cbor2', 'google'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=LAMBDA_CODE, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
