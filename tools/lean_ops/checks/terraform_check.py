"""``python -m lean_ops.checks.terraform_check``: what can be proved of the Terraform code without an account.

Runs every check in order, stops at the first that fails and shows what it said; then prints the figures that
``docs/benchmarks.md`` keeps. Started by ``make test-terraform``, which brings tools and provider.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.runtime.errors import PermanentError
from lean_ops.build.building import build, report
from lean_ops.checks.planned import planned
from lean_ops.environment.repository import ROOT

_TFLINT: Final = ROOT / ".go-tools/tflint"
_CHECKOV: Final = ROOT / ".venv-tools/bin/checkov"
POLICIES: Final = ROOT / "infra/policies"


class CheckFailed(PermanentError):  # noqa: N818 - the check failed; "error" would say less
    """A check of the Terraform code found something."""


@dataclass(frozen=True)
class Step:
    """One check: what it looks at, and the command that does."""

    name: str
    command: tuple[str, ...]


# Every check exits with an error at the first finding.
STEPS: Final = (
    Step("format", ("terraform", "fmt", "-check", "-recursive", "-diff")),
    Step("schema of the platform", ("terraform", "validate", "-no-color")),
    Step("schema of the bootstrap", ("terraform", "-chdir=infra/bootstrap", "validate", "-no-color")),
    Step("modules and refusals", ("terraform", "test", "-no-color")),
    Step("plans of dev, staging, prod", (sys.executable, "-m", "pytest", "-q", "tests/terraform")),
    Step("tflint", (str(_TFLINT), "--recursive", "--config", str(ROOT / ".tflint.hcl"))),
    Step("checkov", (str(_CHECKOV), "--directory", ".", "--config-file", ".checkov.yaml")),
)


def run(step: Step) -> float:
    """Seconds that ``step`` took; raises CheckFailed with what it said."""
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603 - commands of STEPS, no shell
        step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise CheckFailed(
            f"{step.name}: expected no finding of `{' '.join(step.command)}`, found:\n{done.stdout}"
        )
    return time.monotonic() - started


def wildcard_statements() -> dict[str, list[str]]:
    """Policies by the statement of theirs that allows something on resource ``*``.

    Which statements may, and why, is held by tests/conventions/policy_calls.py.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(POLICIES.glob("*.json")):
        for statement in json.loads(path.read_text())["Statement"]:
            if statement["Effect"] == "Allow" and statement.get("Resource") in ("*", ["*"]):
                found[statement["Sid"]].append(path.stem)
    return dict(found)


def check() -> list[str]:
    """Run all checks; lines of figures. Raises CheckFailed, or an error of the build."""
    started = time.monotonic()
    sizes = report(build())
    print(f"{'build':28} {time.monotonic() - started:6.1f} s", flush=True)
    for step in STEPS:
        print(f"{step.name:28} {run(step):6.1f} s", flush=True)
    wildcards = wildcard_statements()
    seconds, provider = time.monotonic() - started, os.environ["TERRAFORM_PROVIDER"]
    return [
        f"all checks: {seconds:.0f} s on {os.cpu_count()} cores; provider: {provider}",
        f"resources planned for dev: {len(planned('dev').resources)}",
        "tflint: 0 findings; checkov: 0 failed",
        f"statements with resource *: {sum(map(len, wildcards.values()))}; by name: "
        + "; ".join(f"{statement} ({', '.join(policies)})" for statement, policies in wildcards.items()),
        *sizes,
    ]


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every check passed, 1 with the finding otherwise, 2 for a wrong call."""
    if arguments or "TERRAFORM_PROVIDER" not in os.environ:
        print(
            "terraform_check: expected no argument and a provider; run make test-terraform", file=sys.stderr
        )
        return 2
    try:
        print(*check(), sep="\n")
    except PermanentError as error:
        print(f"terraform_check: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
