"""The entry of jobs on AWS where the archive is missing, or is for another interpreter: one sentence."""

import json
import subprocess
import sys
from pathlib import Path

from lean_ops.environment.repository import LAMBDA_CODE


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The entry alone, as Spark starts it: what it can import lies in ``folder``."""
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(LAMBDA_CODE / "spark" / "entry.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_archive_is_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    said = json.loads(done.stderr)
    assert said["errorType"] == "JobPackageBroken"
    assert "expected code and libraries in the archive that spark.archives names" in said["errorMessage"]
    assert "No module named 'spark'" in said["errorMessage"]
    assert "make build" in said["errorMessage"]


def test_a_whole_archive_is_given_the_arguments_and_its_exit_code_counts(tmp_path: Path) -> None:
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "__init__.py").touch()
    (tmp_path / "spark" / "job.py").write_text("def main(words):\n    print(words)\n    return 3\n")
    done = run(tmp_path, "curation", "events")
    assert (done.returncode, done.stdout.strip()) == (3, "['curation', 'events']")
