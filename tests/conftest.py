"""Every test starts from a clean environment: no AWS setting of the person running it is seen."""

import os
from pathlib import Path

import pytest

TERRAFORM = Path(__file__).parent / "terraform"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave the tests of plans to `make test-terraform`, which brings Terraform's provider."""
    return True if collection_path == TERRAFORM and "TERRAFORM_PROVIDER" not in os.environ else None


@pytest.fixture(autouse=True)
def _no_aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "LEAN_OPS_", "PYICEBERG_", "POWERTOOLS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
