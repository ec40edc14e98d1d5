"""Handlers use ``common``; ``common`` uses no handler, no handler another, and nothing uses the tools."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAMBDA = ROOT / "modules/compute/lambda"
FUNCTIONS = {path.parent.name for path in LAMBDA.glob("*/handler.py")}
FILES = sorted(LAMBDA.rglob("*.py"))


def imported(source: str) -> set[str]:
    """Top-level names of everything a module imports, wherever in the module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(LAMBDA)))
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    own = path.relative_to(LAMBDA).parts[0]
    above = (FUNCTIONS | {"lean_ops"}) - ({own} if own in FUNCTIONS else set())
    assert not imported(path.read_text()) & above


def test_the_check_sees_a_forbidden_import() -> None:
    assert "semantic" in imported("def f():\n    from semantic.handler import handler\n")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_handler_is_short(name: str) -> None:
    assert len((LAMBDA / name / "handler.py").read_text().splitlines()) < 200


def test_sqs_processor_stays_light() -> None:
    """Its cold start is paid at every burst of events: neither Arrow nor Iceberg may be imported."""
    heavy = {"duckdb", "numpy", "open_data_contract_standard", "pyarrow", "pydantic", "pyiceberg", "yaml"}
    seen: set[Path] = set()
    todo = [LAMBDA / "sqs_processor/handler.py"]
    while todo:
        path = todo.pop()
        seen.add(path)
        source = path.read_text()
        assert not imported(source) & heavy, path
        todo += [p for p in _modules_of(source) if p not in seen]
    assert LAMBDA / "common/intake/events.py" in seen


def _modules_of(source: str) -> list[Path]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            candidates = [LAMBDA / (part.replace(".", "/") + ".py") for part in parts]
            found += [path for path in candidates if path.exists()]
    return found
