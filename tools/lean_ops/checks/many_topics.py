"""Plans of environments with many topics, without an account: how long they take, and what a topic adds.

A copy of the repository gets a contract for each topic and is planned through the mocked provider
(``lean_ops.checks.planned``). Started by ``tests/benchmarks/bench_terraform.py``, and with few topics by the
tests.
"""

import os
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lean_ops.checks.planned import Plan, planned
from lean_ops.environment.repository import ROOT, contract_files

_COPIED = (
    "contracts",
    "environments",
    "infra",
    "modules",
    "tests/environments",
    "tests/mocks",
    ".terraform.lock.hcl",
)


@dataclass(frozen=True)
class Planned:
    """The plan of so many topics. ``peak_mib``: of Terraform and the provider, the larger of the two.

    ``cpu_s``: of both together, which other work on the machine does not change.
    """

    topics: int
    seconds: float
    cpu_s: float
    peak_mib: float
    plan: Plan


@contextmanager
def with_topics(count: int) -> Iterator[Path]:
    """A copy of the repository with ``count`` topics, each with a contract; at least those that it has."""
    with TemporaryDirectory(prefix="lean-ops-topics-") as folder:
        root = Path(folder)
        for name in (*_COPIED, *(path.name for path in ROOT.glob("*.tf"))):
            source, target = ROOT / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                # Archives are 80 MB; a plan reads them by their path.
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(".build", ".terraform"))
            elif source.exists():
                shutil.copy(source, target)
        (root / "modules/compute/.build").symlink_to(ROOT / "modules/compute/.build")
        known = contract_files()
        text = known["events"].read_text()
        for number in range(count - len(known)):
            topic = f"plant_{number:04}"
            contract = text.replace("name: events", f"name: {topic}")
            (root / f"contracts/{topic}.yaml").write_text(contract)
        registry = os.environ.get("TERRAFORM_PROVIDER") == "registry"
        command = ["init", "-backend=false", "-input=false", "-lockfile=readonly"] if registry else ["get"]
        subprocess.run(["terraform", *command], cwd=root, check=True, capture_output=True)  # noqa: S603, S607 - as in infra/with-provider
        yield root


def plan_of(count: int) -> Planned:
    """Plan an environment with ``count`` topics; raises PlanFailed."""
    with with_topics(count) as root:
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        plan = planned("dev", root)
        seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The peak is of all children so far, so that plans are measured from the smallest on.
    return Planned(count, seconds, cpu, after.ru_maxrss / 1024, plan)


def added(fewer: Planned, more: Planned) -> dict[str, float]:
    """Resources that a topic adds, by type."""
    few, many = (Counter(one.kind for one in found.plan.resources) for found in (fewer, more))
    return {
        kind: (count - few[kind]) / (more.topics - fewer.topics)
        for kind, count in sorted(many.items())
        if count != few[kind]
    }
