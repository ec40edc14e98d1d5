"""Each check of `make check` fails on the fault that it is there for, and names the file.

A copy of the tracked files gets one fault; the very targets that CI runs look at it, with the tools of this
checkout. Others plant a vulnerable dependency (test_vulnerable_dependencies_are_found), tracked state or
archives (test_forbidden_files_are_not_tracked), rights (test_policies_allow_what_is_used_and_nothing_else),
plans (test_a_plan_that_loses_data_is_refused).
"""

import random
import shutil
import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lean_ops.environment.repository import ROOT

TOOLS = (".venv", ".venv-tools", ".go-tools")
WORKFLOW = ".github/workflows/deploy.yml"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, in a repository of their own."""
    copy = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    for tool in TOOLS:
        if (ROOT / tool).exists():
            (copy / tool).symlink_to(ROOT / tool)
    commit(copy, "init", "-q")
    commit(copy, "add", ".")
    commit(copy, "commit", "-qm", "as it is")
    return copy


@pytest.fixture
def checkout(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "checkout"
    shutil.copytree(original, copy, symlinks=True)
    return copy


def commit(checkout: Path, *words: str) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, *words], cwd=checkout, check=True)


def make(checkout: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run a target with the tools as they are: a copy must never install anything through its links."""
    kept = [word for tool in TOOLS for word in ("-o", f"{tool}/.installed")]
    return subprocess.run(
        ["make", *kept, target], cwd=checkout, capture_output=True, text=True, check=False, timeout=300
    )


def needs(tool: str) -> pytest.MarkDecorator:
    present = (ROOT / tool).exists()
    return pytest.mark.skipif(not present, reason=f"{tool} is not built: run `make lint security` once")


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def plant(checkout: Path) -> None:
        text = (checkout / name).read_text()
        assert old in text, f"{name} no longer holds {old!r}"
        (checkout / name).write_text(text.replace(old, new, 1))

    return plant


def append(name: str, text: str) -> Callable[[Path], None]:
    def plant(checkout: Path) -> None:
        with (checkout / name).open("a") as file:
            file.write(text)

    return plant


PIN = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"
FAULTS = [
    pytest.param(
        "audit-workflows", replace(WORKFLOW, PIN, "actions/checkout@v6"), (WORKFLOW, "unpinned-uses"),
        id="an action that is not pinned", marks=needs(".venv-tools/bin/zizmor"),
    ),
    pytest.param(
        "audit-workflows", replace(WORKFLOW, "permissions: {}", "permissions: write-all"),
        (WORKFLOW, "excessive-permissions"),
        id="rights for every job", marks=needs(".venv-tools/bin/zizmor"),
    ),
    pytest.param(
        "lint-workflows", replace(WORKFLOW, "runs-on:", "run-on:"), (WORKFLOW, "run-on"),
        id="a workflow that GitHub refuses", marks=needs(".go-tools/actionlint"),
    ),
    pytest.param(
        "scan-code",
        append("modules/compute/lambda/curation/handler.py", "\nimport os\nos.chmod('/tmp/rows', 0o777)\n"),
        ("curation/handler.py", "B103"),
        id="a file that everyone may write", marks=needs(".venv-tools/bin/bandit"),
    ),
    pytest.param(
        "lint-python", append("tools/lean_ops/operate/pipeline.py", "import colorsys\n"),
        ("tools/lean_ops/operate/pipeline.py", "F401"),
        id="an import that nothing needs",
    ),
    pytest.param(
        "format-check", append("tools/lean_ops/cli.py", "x=1\n"), ("tools/lean_ops/cli.py",),
        id="a file that is not formatted",
    ),
    pytest.param(
        "scan-infrastructure",
        append("infra/bootstrap/state.tf", '\nresource "aws_s3_bucket" "open" {\n  bucket = "open"\n}\n'),
        ("/infra/bootstrap/state.tf", "aws_s3_bucket.open"),
        id="a bucket without protection", marks=needs(".venv-tools/bin/checkov"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("target", "plant", "said"), FAULTS)
def test_a_planted_fault_is_found_and_its_file_named(
    checkout: Path, target: str, plant: Callable[[Path], None], said: tuple[str, ...]
) -> None:
    plant(checkout)

    done = make(checkout, target)

    assert done.returncode != 0
    for word in said:
        assert word in done.stdout + done.stderr


@needs(".go-tools/gitleaks")
def test_a_secret_in_any_commit_is_found(checkout: Path) -> None:
    draw = random.Random(7)
    token = "ghp_" + "".join(draw.choices(string.ascii_letters + string.digits, k=36))
    assert make(checkout, "scan-secrets").returncode == 0

    (checkout / "settings.py").write_text(f'TOKEN = "{token}"\n')
    commit(checkout, "add", "settings.py")
    commit(checkout, "commit", "-qm", "oops")
    (checkout / "settings.py").unlink()
    commit(checkout, "commit", "-qam", "removed again")

    done = make(checkout, "scan-secrets")
    assert done.returncode != 0
    assert "settings.py" in done.stdout + done.stderr
    assert token not in done.stdout + done.stderr


@needs(".go-tools/tflint")
def test_terraform_that_is_not_used_or_not_formatted_is_found(checkout: Path) -> None:
    variable = '\nvariable "unused" {\n  description = "Nothing."\n  type        = string\n}\n'
    append("modules/state/variables.tf", variable)(checkout)

    done = subprocess.run(
        [".go-tools/tflint", "--recursive", f"--config={checkout}/.tflint.hcl"],
        cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "variables.tf" in done.stdout
    assert "unused" in done.stdout
