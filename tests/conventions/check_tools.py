"""The check tools of `make tools`, for tests that ask them."""

from pathlib import Path

import pytest

from lean_ops.environment.repository import ROOT


def check_tool(name: str) -> Path:
    """The program ``name`` of the check tools' environment; the test is skipped where it is not installed."""
    program = ROOT / ".venv-tools/bin" / name
    if not program.exists():
        pytest.skip(
            f"asks {name} of the check tools, which are not installed: run `make tools`, or `make test`"
        )
    return program
