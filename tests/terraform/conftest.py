"""The plan of every environment, where Terraform and its provider (or the provider's schema) are at hand."""

import os

import pytest

from lean_ops.checks.planned import Plan, planned


@pytest.fixture(scope="session", autouse=True)
def _provider() -> None:
    """A plain `pytest` leaves this folder out (tests/conftest.py); who names it is told what it needs."""
    if "TERRAFORM_PROVIDER" not in os.environ:
        pytest.skip("run by `make test-terraform`, or: infra/with-provider .venv/bin/pytest tests/terraform")


@pytest.fixture(scope="session", params=["dev", "staging", "prod"])
def plan(request: pytest.FixtureRequest) -> Plan:
    return planned(request.param)
