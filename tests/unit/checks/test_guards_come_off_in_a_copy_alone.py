"""``make destroy`` takes guards off in a copy; the tree keeps them, and prod is refused."""

import re
from pathlib import Path

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.checks import unguarded
from lean_ops.checks.plan_guard import STATEFUL
from lean_ops.environment.repository import ROOT


def guards(root: Path) -> int:
    files = [*root.glob("*.tf"), *root.glob("modules/*/*.tf")]
    return sum(path.read_text().count("prevent_destroy = true") for path in files)


def test_every_guarded_resource_is_opened_and_the_tree_is_as_before(tmp_path: Path) -> None:
    before = guards(ROOT)
    opened = unguarded.copy("dev", tmp_path / "copy")
    assert len(opened) == len(set(opened)) == before == guards(ROOT)
    assert {address.rpartition("/")[2].partition(".")[0] for address in opened} >= STATEFUL
    assert not list(ROOT.glob("**/*_override.tf"))


def test_an_override_names_the_resource_and_nothing_but_its_guards(tmp_path: Path) -> None:
    unguarded.copy("dev", tmp_path)
    text = (tmp_path / "modules/storage/unguarded_override.tf").read_text()
    assert set(re.findall(r"^ +(\w+) = (\w+)$", text, re.M)) == {
        ("force_destroy", "true"), ("prevent_destroy", "false"),
    }  # fmt: skip


def test_the_copy_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "left.tf").write_text("")
    unguarded.copy("staging", tmp_path)
    assert not (tmp_path / "left.tf").exists()
    assert (tmp_path / "environments/staging.tfvars").exists()


@pytest.mark.parametrize("env", ["prod", "production", "", "qa"])
def test_only_dev_and_staging_are_destroyed_by_a_command(env: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"expected one of dev, staging, found .*docs/deploy\.md"):
        unguarded.copy(env, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
