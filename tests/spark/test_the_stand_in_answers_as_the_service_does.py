"""The stand-in for EMR Serverless: tokens, refusals, states, time-out, cancellation."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lean_ops.local import job_runs, spark
from lean_ops.local.job_runs import APPLICATION, ENDED, JobRefused, JobRuns
from lean_ops.local.lifeline import FD_VARIABLE, FOLDER_VARIABLE, Lifeline


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[JobRuns]:
    if lacks := spark.missing() or spark.install():
        pytest.skip(lacks)
    yield JobRuns(tmp_path)


def request(*arguments: str, **changes: Any) -> dict[str, Any]:
    """A job that a driver knows, or ends for not knowing it."""
    submit = {
        "EntryPoint": "spark/job.py",
        "EntryPointArguments": list(arguments),
        "SparkSubmitParameters": "",
    }
    return {
        "ApplicationId": APPLICATION,
        "JobDriver": {"SparkSubmit": submit | changes.pop("submit", {})},
        **changes,
    }


def ended(runs: JobRuns, run_id: str) -> dict[str, Any]:
    while (run := runs.get(run_id))["state"] not in ENDED:
        time.sleep(0.1)
    return run


def test_the_same_token_is_the_same_run_and_another_one_is_not(runs: JobRuns) -> None:
    first, again, other = (runs.start(request("no such", ClientToken=token)) for token in ("a", "a", "b"))
    assert first["jobRunId"] == again["jobRunId"] != other["jobRunId"]
    for run in (first, other):
        found = ended(runs, run["jobRunId"])
        assert found["state"] == "FAILED"
        assert "InvalidInput" in found["stateDetails"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"ApplicationId": "none"}, "application: expected one that exists, found 'none'"),
        ({"submit": {"EntryPoint": ""}}, "expected sparkSubmit with an entryPoint"),
        ({"submit": {"SparkSubmitParameters": "--conf spark.master=local"}}, "expected no master"),
    ],
)
def test_what_the_service_refuses_is_refused(runs: JobRuns, changes: dict[str, Any], found: str) -> None:
    with pytest.raises(JobRefused, match=found):
        runs.start(request("curation", **changes))


def test_a_run_that_takes_too_long_fails_and_a_cancelled_one_is_cancelled(runs: JobRuns) -> None:
    late = runs.start(request("no such", ExecutionTimeoutMinutes=0))["jobRunId"]
    assert runs.get(late)["state"] == "FAILED"
    assert "executionTimeoutMinutes" in runs.get(late)["stateDetails"]
    cancelled = runs.start(request("no such"))["jobRunId"]
    runs.cancel(cancelled)
    assert runs.get(cancelled)["state"] == "CANCELLED"
    runs.cancel(late)
    assert runs.get(late)["state"] == "FAILED", "what has ended stays as it is"


def test_a_driver_has_the_environment_that_is_sent_and_no_other_setting(
    runs: JobRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []

    def start(*_: Any, env: dict[str, str], **__: Any) -> _Ended:
        started.append(env)
        return _Ended()

    monkeypatch.setattr(job_runs, "subprocess", SimpleNamespace(Popen=start, DEVNULL=None))
    driver = "spark.emr-serverless.driverEnv"
    parameters = (
        f"--conf {driver}.LEAN_OPS_ENV=x --conf {driver}.PYSPARK_PYTHON=./y --conf spark.executor.cores=4"
    )
    runs.start(request("curation", submit={"SparkSubmitParameters": parameters}))
    assert started[0]["LEAN_OPS_ENV"] == "x"
    assert started[0]["PYSPARK_PYTHON"] != "./y"
    assert "local[" in started[0]["PYSPARK_SUBMIT_ARGS"]
    assert FD_VARIABLE in started[0], "a driver ends with the process that started it"
    assert os.environ.get("LEAN_OPS_ENV") is None


def test_a_driver_ends_with_the_process_that_started_it_however_that_ends(tmp_path: Path) -> None:
    line = Lifeline()
    process = subprocess.Popen(
        [sys.executable, "-m", "lean_ops.local.driver", "http.server", "--bind", "127.0.0.1", "0"],
        env=os.environ | {FD_VARIABLE: str(line.child_fd), FOLDER_VARIABLE: str(tmp_path)},
        pass_fds=(line.child_fd,),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline(), "it runs"
        line.cut()
        assert process.wait() == -signal.SIGKILL


class _Ended:
    pid = 0
    returncode = 0

    def poll(self) -> int:
        return 0
