"""The copy without guards is a configuration that Terraform can apply and destroy whole (mocked provider)."""

import os
import shutil
import subprocess
from pathlib import Path

from lean_ops.checks import unguarded
from lean_ops.environment.repository import ROOT

RUN = """
mock_provider "aws" {
  source = "./tests/mocks"
}

run "apply_and_destroy" {
  command = apply
}
"""


def applied_and_destroyed(folder: Path) -> subprocess.CompletedProcess[str]:
    """``terraform test`` applies dev, and destroys it when the run is over."""
    shutil.copytree(ROOT / "tests/mocks", folder / "tests/mocks")
    (folder / "tests/destroy.tftest.hcl").write_text(RUN)
    environ = os.environ | {"TF_VAR_build_directory": str(ROOT / "modules/compute/.build")}
    terraform = ["terraform", f"-chdir={folder}"]
    subprocess.run([*terraform, "get"], env=environ, capture_output=True, check=True)
    return subprocess.run(
        [*terraform, "test", "-no-color", "-var-file=environments/dev.tfvars"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_without_its_guards_an_environment_goes_whole(tmp_path: Path) -> None:
    unguarded.copy("dev", tmp_path)
    done = applied_and_destroyed(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Success! 1 passed" in done.stdout


def test_with_its_guards_it_stays(tmp_path: Path) -> None:
    unguarded.copy("dev", tmp_path)
    for override in tmp_path.rglob("unguarded_override.tf"):
        override.unlink()
    assert "Instance cannot be destroyed" in applied_and_destroyed(tmp_path).stdout
