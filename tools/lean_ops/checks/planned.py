"""What Terraform would create for an environment, without an account: its plan through a mocked provider.

``terraform test -json -verbose`` plans the root module with the values of ``environments/<env>.tfvars`` and
prints the plan in Terraform's JSON form. ``infra/with-provider`` finds the provider or its schema.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.runtime.errors import PermanentError
from lean_ops.environment.repository import ROOT


class PlanFailed(PermanentError):  # noqa: N818 - the plan failed; "error" would say less
    """Terraform refused to plan an environment."""


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


def planned(env: str, root: Path = ROOT) -> Plan:
    """The plan of ``env``: of its managed resources, all of which are new.

    ``root`` is a copy of the repository whose modules are installed. Raises PlanFailed with what Terraform
    said.
    """
    done = subprocess.run(  # noqa: S603 - arguments of our own, no shell
        [root / "infra/with-provider", "terraform", "test", "-json", "-verbose",
         "-test-directory=tests/environments", f"-var-file=environments/{env}.tfvars"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    plans = [message["test_plan"] for message in messages if message["type"] == "test_plan"]
    if done.returncode or len(plans) != 1:
        diagnostics = [message["diagnostic"] for message in messages if message.get("@level") == "error"]
        said = [f"{diagnostic['summary']}: {diagnostic['detail']}" for diagnostic in diagnostics]
        raise PlanFailed(f"plan of {env}: expected one, found: {'; '.join(said) or done.stderr.strip()}")
    changes = [c for c in plans[0]["resource_changes"] if c["mode"] == "managed"]
    return Plan(env, tuple(Resource(c["address"], c["type"], c["change"]["after"]) for c in changes))
