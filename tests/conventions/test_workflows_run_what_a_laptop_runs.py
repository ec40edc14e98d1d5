"""The workflows are the Makefile's targets, the plan's jobs, and pinned actions with the least rights."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lean_ops.environment.repository import ROOT

GITHUB = ROOT / ".github"
FILES = sorted([*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")])
PIPELINE = yaml.safe_load((GITHUB / "workflows/ci-cd.yml").read_text())
TARGETS = {
    target
    for makefile in (ROOT / "Makefile", *(ROOT / "make").glob("*.mk"))
    for target in re.findall(r"^([a-z][a-z-]*):", makefile.read_text(), re.MULTILINE)
}


def steps() -> Iterator[dict[str, Any]]:
    for file in FILES:
        content = yaml.safe_load(file.read_text())
        for job in content.get("jobs", {"action": content.get("runs", {})}).values():
            yield from job.get("steps", [])


def test_every_step_that_runs_something_runs_targets_of_the_makefile() -> None:
    commands = [step["run"] for step in steps() if "run" in step]

    assert commands
    for command in commands:
        program, *words = command.split()
        assert program == "make", command
        assert {word for word in words if "=" not in word} <= TARGETS, command


def test_every_foreign_action_is_pinned_by_commit_with_its_version_beside_it() -> None:
    for file in FILES:
        for line in file.read_text().splitlines():
            if match := re.match(r"\s*uses: (\S+)", line):
                pinned = re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)
                assert pinned or match[1].startswith("./"), f"{file.name}: {line.strip()}"


def test_checkouts_leave_no_token_behind() -> None:
    checkouts = [step for step in steps() if step.get("uses", "").startswith("actions/checkout@")]

    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("file", sorted(GITHUB.glob("workflows/*.yml")), ids=lambda file: file.name)
def test_no_workflow_has_a_permission_by_default(file: Any) -> None:
    assert yaml.safe_load(file.read_text())["permissions"] == {}


def test_the_pipeline_has_the_name_the_triggers_and_the_jobs_of_the_plan() -> None:
    triggers = PIPELINE[True]  # YAML 1.1 reads the key `on` as a truth value

    assert PIPELINE["name"] == "Lean-Ops CI/CD"
    assert triggers["push"]["branches"] == ["main", "develop"]
    assert triggers["pull_request"]["branches"] == ["main"]
    assert {"lint", "test", "security", "plan", "deploy"} <= set(PIPELINE["jobs"])


def test_production_follows_every_check_and_staging_and_only_from_main() -> None:
    deploy = PIPELINE["jobs"]["deploy"]

    assert {"lint", "test", "security", "staging"} <= set(deploy["needs"])
    assert deploy["if"] == "github.ref == 'refs/heads/main'"
    assert deploy["with"]["github-environment"] == "production"


def test_no_workflow_names_a_long_lived_key() -> None:
    for file in FILES:
        assert "secrets." not in file.read_text(), file.name
