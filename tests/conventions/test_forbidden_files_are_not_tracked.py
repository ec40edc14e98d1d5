"""State, plans, archives and caches stay out of the repository, and .gitignore keeps them out."""

import subprocess
from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest

from lean_ops.environment.repository import ROOT

# Each pattern stands in .gitignore as it is here; the remedy is what the message says.
FORBIDDEN = {
    ".terraform/": "Terraform makes it anew: git rm -r --cached",
    "*.tfstate": "state holds secrets: git rm --cached, and change what it holds",
    "*.tfstate.backup": "state holds secrets: git rm --cached, and change what it holds",
    "tfplan": "a plan holds secrets: git rm --cached, and change what it holds",
    "*.tfplan": "a plan holds secrets: git rm --cached, and change what it holds",
    "modules/compute/.build/": "make build makes it anew: git rm -r --cached",
    "*.zip": "make build makes archives anew: git rm --cached",
    "_backup/": "the history is the backup: git rm -r --cached",
}


def offences(paths: Iterable[str]) -> list[str]:
    """One sentence for each of ``paths`` that matches a forbidden pattern, as .gitignore reads them."""
    return [
        f"{path}: expected no file like {pattern} to be tracked; {remedy} {path}"
        for path in paths
        for pattern, remedy in FORBIDDEN.items()
        if _matches(PurePosixPath(path), pattern)
    ]


def _matches(path: PurePosixPath, pattern: str) -> bool:
    if pattern.endswith("/"):
        return any(f"{folder}/".endswith(f"/{pattern}") for folder in (f"/{f}" for f in path.parents))
    return path.match(pattern)


def test_no_forbidden_file_is_tracked() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert offences(tracked.stdout.splitlines()) == []


@pytest.mark.parametrize(
    "path",
    [
        "terraform.tfstate",
        "environments/dev.tfstate.backup",
        "tfplan",
        "out/prod.tfplan",
        ".terraform/providers/x",
        "infra/bootstrap/.terraform/x",
        "modules/compute/.build/manifest.json",
        "layer.zip",
        "_backup/main.tf",
    ],
)
def test_a_forbidden_file_is_named_with_what_to_do(path: str) -> None:
    (sentence,) = offences([path])[:1]

    assert sentence.startswith(path)
    assert "git rm" in sentence


def test_files_that_belong_here_are_left_alone() -> None:
    assert offences(["main.tf", ".terraform.lock.hcl", "tests/zip.py", "tools/lean_ops/cli.py"]) == []


def test_gitignore_keeps_every_forbidden_file_out() -> None:
    assert set(FORBIDDEN) <= set((ROOT / ".gitignore").read_text().splitlines())
