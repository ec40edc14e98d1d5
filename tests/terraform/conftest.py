"""The plan of every environment as JSON, made by ``terraform test`` with a mocked provider."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Resource:
    """One resource that a plan creates: where it is, its type, and its planned values."""

    address: str
    kind: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What one environment's plan creates."""

    env: str
    resources: tuple[Resource, ...]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Planned values of the resources of one type."""
        return [r.values for r in self.resources if r.kind == kind]

    def addresses(self, kind: str) -> set[str]:
        """Where the resources of one type are: ``module.<module>.<type>.<name>["<key>"]``."""
        return {r.address for r in self.resources if r.kind == kind}

    def names(self, kind: str, attribute: str = "name") -> set[str]:
        """Names of the resources of one type."""
        return {str(values[attribute]) for values in self.of(kind)}


def planned(env: str) -> Plan:
    done = subprocess.run(
        ["infra/with-provider", "terraform", "test", "-json", "-verbose",
         "-test-directory=tests/environments", f"-var-file=environments/{env}.tfvars"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    plans = [m["test_plan"] for m in messages if m["type"] == "test_plan"]
    assert done.returncode == 0 and len(plans) == 1, done.stdout[-2000:] + done.stderr
    changes = [c for c in plans[0]["resource_changes"] if c["mode"] == "managed"]
    assert all(c["change"]["actions"] == ["create"] for c in changes)
    return Plan(env, tuple(Resource(c["address"], c["type"], c["change"]["after"]) for c in changes))


@pytest.fixture(scope="session", params=["dev", "staging", "prod"])
def plan(request: pytest.FixtureRequest) -> Plan:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed; `make test-terraform` needs it")
    return planned(request.param)
