"""Spark needs a Java of one version: another, a broken one or none is one sentence before a job begins."""

import os
from pathlib import Path

import pytest

from lean_ops.local import fetching, spark
from lean_ops.local.job_runs import APPLICATION, JobRefused, JobRuns

SAID = {"8": "1.8.0_402", "11": "11.0.22", "17": "17.0.10", "21": "21", "early": "22-ea"}


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which no Java is installed."""
    monkeypatch.setattr(fetching, "_JAVAS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def installed(home: Path, script: str, mode: int = 0o755) -> Path:
    """A Java below ``home`` that is this script."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(script)
    java.chmod(mode)
    return java


def of_version(home: Path, version: str) -> Path:
    return installed(home, f"""#!/bin/sh\necho 'openjdk version "{version}" 2026-01-20' >&2\n""")


@pytest.mark.parametrize("version", ["8", "11", "21", "early"])
def test_a_java_of_another_version_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    of_version(tmp_path / "java", SAID[version])
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    assert spark.missing() == f"Spark {spark.VERSION} needs Java 17: install it, or name it in JAVA_HOME"
    with pytest.raises(JobRefused, match="needs Java 17"):
        JobRuns(tmp_path / "jobs").start({"ApplicationId": APPLICATION})


@pytest.mark.parametrize(
    ("script", "mode"),
    [
        ("#!/bin/sh\nexit 3\n", 0o755),
        ("#!/bin/sh\nkill -9 $$\n", 0o755),
        ("not a program", 0o755),
        ("", 0o644),
    ],
    ids=["fails", "dies", "no program", "may not be run"],
)
def test_a_broken_java_is_passed_over_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, mode: int
) -> None:
    installed(tmp_path / "broken", script, mode)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "broken"))
    assert "needs Java 17" in spark.missing()
    whole = of_version(tmp_path / "whole", SAID["17"])
    monkeypatch.setenv("PATH", os.pathsep.join([str(whole.parent), "/bin"]))
    assert spark.missing() == ""
    assert fetching.java(17, 17) == whole


def test_none_at_all_is_the_same_sentence() -> None:
    assert "needs Java 17" in spark.missing()


def test_a_command_that_fetches_and_is_not_there_is_named(tmp_path: Path) -> None:
    said = fetching.fetch(tmp_path / "engine", lambda folder: [fetching.from_maven("g:a:1", folder)])
    assert said == "mvn: expected to run it, found No such file or directory; install it"
    assert not list(tmp_path.glob("engine*"))
