"""What AWS runs and what the local stack runs come from the same files: there is no second copy of any."""

import hashlib
import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from lean_ops.environment import repository
from lean_ops.environment.repository import ROOT

# What both read, and the Terraform file that does. A folder stands for its files.
SHARED = {
    repository.FUNCTION_CATALOGUE: "modules/compute/main.tf",
    repository.STATE_MACHINE: "modules/orchestration/main.tf",
    repository.TABLE_SPECIFICATIONS: "modules/storage/tables.tf",
    repository.CONTRACTS: "locals.tf",
    repository.SAVED_QUERIES: "modules/readers/athena.tf",
}
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    if name and (ROOT / name).is_file()
]


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
def test_terraform_reads_the_file_that_the_local_stack_reads(path: Path) -> None:
    reader = ROOT / SHARED[path]
    named = {m[1] for m in re.finditer(r"\$\{path\.(?:module|root)\}/([\w./-]+)", reader.read_text())}
    folders = {(reader.parent / name.rstrip("/")).resolve() for name in named}
    assert path in folders or path in {folder.parent for folder in folders}


def test_both_render_the_policies_of_one_folder() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("modules/*/*.tf"))
    named = re.findall(r'"([^"\s]*infra/policies)', text)
    assert named and set(named) == {"${path.module}/../../infra/policies"}


def test_no_file_has_a_second_copy() -> None:
    copies = defaultdict(list)
    for path in TRACKED:
        if path.suffix in {".json", ".yaml", ".yml"}:
            copies[hashlib.sha256(path.read_bytes()).hexdigest()].append(path)
    assert [paths for paths in copies.values() if len(paths) > 1] == []


@pytest.mark.parametrize(
    ("mark", "one"),
    [
        ('"memory_mb"', "modules/compute/functions.json"),
        ('"StartAt"', "modules/orchestration/pipeline.asl.json"),
        ("kind: DataContract", "contracts/"),
        ('"partition-spec"', "modules/storage/tables/"),
        ('"2012-10-17"', "infra/policies/"),
    ],
)
def test_only_one_place_holds_a_kind_of_file(mark: str, one: str) -> None:
    """By what such a file says first; pages and tests may speak of it."""
    found = [
        path.relative_to(ROOT).as_posix()
        for path in TRACKED
        if path.suffix in {".json", ".yaml", ".yml"} and mark in path.read_text()
    ]
    assert found
    assert [name for name in found if not name.startswith((one, "tests/"))] == []


def test_every_output_of_a_module_is_used() -> None:
    text = "".join(p.read_text() for p in [*ROOT.glob("*.tf"), *ROOT.glob("modules/*/*.tf")])
    used = set(re.findall(r"module\.\w+(?:\[[^\]]+\])?\.(\w+)", text))
    for path in ROOT.glob("modules/*/outputs.tf"):
        assert set(re.findall(r'^output "(\w+)"', path.read_text(), re.M)) <= used, path


def test_shared_files_are_valid_json_as_they_stand() -> None:
    files = [
        repository.FUNCTION_CATALOGUE,
        repository.STATE_MACHINE,
        ROOT / "modules/monitoring/catalogue.json",
        *repository.TABLE_SPECIFICATIONS.glob("*.json"),
        *(ROOT / "infra/policies").glob("*.json"),
    ]
    for path in files:
        json.loads(path.read_text())


def test_platform_and_bootstrap_lock_the_same_provider() -> None:
    """Terraform wants a lock file beside each configuration; they say the same."""
    bootstrap = ROOT / "infra/bootstrap/.terraform.lock.hcl"
    assert bootstrap.read_text() == (ROOT / ".terraform.lock.hcl").read_text()
