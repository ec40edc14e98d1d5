"""What holds data cannot be destroyed by a plan, and tables are left to their commits."""

import re
from pathlib import Path

import pytest

from lean_ops.checks.plan_guard import STATEFUL

ROOT = Path(__file__).parents[2]
# The bootstrap's state bucket and lock table are held to the same.
BLOCK = re.compile(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', re.M | re.S)
BLOCKS = [
    (path.relative_to(ROOT).as_posix(), *found)
    for path in sorted([*ROOT.glob("*.tf"), *ROOT.glob("modules/*/*.tf"), *ROOT.glob("infra/**/*.tf")])
    for found in BLOCK.findall(path.read_text())
]


@pytest.mark.parametrize(
    ("path", "kind", "name", "body"),
    [block for block in BLOCKS if block[1] in STATEFUL],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)
def test_every_stateful_resource_prevents_its_destruction(path: str, kind: str, name: str, body: str) -> None:
    assert "prevent_destroy = true" in body, f"{path}: {kind}.{name}"


def test_each_stateful_type_is_in_use() -> None:
    assert {kind for _, kind, *_ in BLOCKS} >= STATEFUL


def test_no_plan_changes_a_table_after_its_creation() -> None:
    (body,) = [body for _, kind, _, body in BLOCKS if kind == "aws_glue_catalog_table"]
    assert re.search(r"ignore_changes\s*=\s*all", body)


def test_nothing_runs_commands_from_terraform() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("**/*.tf") if ".terraform" not in path.parts)
    assert not re.search(r"null_resource|local-exec|remote-exec", text)
