"""A stand-in for EMR Serverless: job runs of the state machine, as driver processes on this machine.

| the service                                   | here                                                    |
|-----------------------------------------------|---------------------------------------------------------|
| StartJobRun, ClientToken: same token, same run | the same                                                |
| ValidationException for what it cannot run    | the same, of what the state machine may send             |
| SUBMITTED … RUNNING → SUCCESS, FAILED          | SUBMITTED, RUNNING, then how the process ended           |
| CancelJobRun: killed at once, CANCELLED        | the same: the process and all that it started           |
| ExecutionTimeoutMinutes                        | the same                                                 |
| workers, sizes, archives, roles, logs to S3    | one process, ``local[N,4]``, two cores; a log file here  |

Semantics as of the API reference and the developer guide. There is no HTTP endpoint: the one who calls is the
state machine's ``startJobRun.sync`` (``lean_ops.local.bridges``).
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from lean_ops.environment.repository import LAMBDA_CODE
from lean_ops.local import spark
from lean_ops.local.errors import LocalStackError
from lean_ops.local.lifeline import FD_VARIABLE, FOLDER_VARIABLE, Lifeline

APPLICATION: Final = "local"
ENDED: Final = frozenset({"SUCCESS", "FAILED", "CANCELLED"})
_DRIVER_SETTING: Final = "spark.emr-serverless.driverEnv."
_DEFAULT_MINUTES: Final = 720
_TOLD_BYTES: Final = 4096


class JobRefused(LocalStackError):  # noqa: N818 - the job is refused
    """The service would refuse the request (ValidationException)."""


@dataclass
class JobRun:
    """One run. ``state``: the service's own word."""

    id: str
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    ends: float
    begun: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    timed_out: bool = False
    billed_s: float | None = None

    @property
    def state(self) -> str:
        """Where it is."""
        if self.cancelled:
            return "CANCELLED"
        code = self.process.poll()
        if code is None:
            return "RUNNING"
        return "SUCCESS" if code == 0 and not self.timed_out else "FAILED"


class JobRuns:
    """The runs of one application, in ``folder``; they end with the process that started them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[str, JobRun] = {}
        self._by_token: dict[str, str] = {}
        self._lock = threading.Lock()
        self._line = Lifeline()

    def start(self, request: Mapping[str, Any]) -> dict[str, str]:
        """StartJobRun: the run's id. Raises JobRefused."""
        token = str(request.get("ClientToken", uuid.uuid4()))
        with self._lock:
            if token in self._by_token:
                return self._answer(self._by_token[token])
            arguments, environment = _asked(request)
            run = self._submit(request, arguments, environment)
            self._runs[run.id] = run
            self._by_token[token] = run.id
            return self._answer(run.id)

    def get(self, run_id: str) -> dict[str, Any]:
        """GetJobRun: state and, of what failed, why."""
        run = self._run(run_id)
        if run.state == "RUNNING" and time.monotonic() > run.ends:
            run.timed_out = True
            _end(run.process)
        state = run.state
        if state in ENDED and run.billed_s is None:
            run.billed_s = time.monotonic() - run.begun
        return {
            "applicationId": APPLICATION,
            "jobRunId": run.id,
            "name": run.name,
            "state": state,
            "stateDetails": _why(run) if state == "FAILED" else "",
            "totalExecutionDurationSeconds": int(run.billed_s or time.monotonic() - run.begun),
        }

    def cancel(self, run_id: str) -> None:
        """CancelJobRun: at once, with all that the run has started. One that has ended stays as it is."""
        run = self._run(run_id)
        if run.state in ENDED:
            return
        run.cancelled = True
        _end(run.process)

    def _run(self, run_id: str) -> JobRun:
        if run_id not in self._runs:
            raise JobRefused(f"job run: expected one that was started, found {run_id!r}; look at its id")
        return self._runs[run_id]

    def _answer(self, run_id: str) -> dict[str, str]:
        return {"applicationId": APPLICATION, "jobRunId": run_id, "arn": f"local:job-run/{run_id}"}

    def _submit(
        self, request: Mapping[str, Any], arguments: list[str], environment: dict[str, str]
    ) -> JobRun:
        run_id = uuid.uuid4().hex[:16]
        folder = self._folder / run_id
        folder.mkdir(parents=True)
        cores = max(1, min(2, os.cpu_count() or 1))
        settings = {**spark.settings(folder), "spark.ui.showConsoleProgress": "false"}
        submit = ["--master", f"local[{cores},4]"]
        submit += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        log = folder / "driver.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of this project
                [sys.executable, "-m", "lean_ops.local.driver", "spark.job", *arguments],
                env=os.environ
                | environment
                | spark.environment(LAMBDA_CODE)
                | {
                    "PYSPARK_SUBMIT_ARGS": shlex.join([*submit, "pyspark-shell"]),
                    FOLDER_VARIABLE: os.environ.get(FOLDER_VARIABLE, str(self._folder)),
                    FD_VARIABLE: str(self._line.child_fd),
                },
                pass_fds=(self._line.child_fd,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        minutes = int(request.get("ExecutionTimeoutMinutes", _DEFAULT_MINUTES))
        return JobRun(run_id, str(request.get("Name", "")), process, log, time.monotonic() + 60 * minutes)


def _asked(request: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Arguments of the driver and its environment; raises JobRefused."""
    if request.get("ApplicationId") != APPLICATION:
        raise JobRefused(
            f"application: expected one that exists, found {request.get('ApplicationId')!r}; "
            "`lean-ops up --with-spark` makes it"
        )
    if lacks := spark.missing():
        raise JobRefused(lacks)
    if not spark.HOME.exists():
        raise JobRefused(f"Spark {spark.VERSION}: expected it in {spark.HOME}; `lean-ops up --with-spark`")
    driver = request.get("JobDriver", {}).get("SparkSubmit", {})
    if not driver.get("EntryPoint"):
        raise JobRefused("jobDriver: expected sparkSubmit with an entryPoint, found none")
    words = shlex.split(driver.get("SparkSubmitParameters", ""))
    settings = dict(value.partition("=")[::2] for name, value in pairwise(words) if name == "--conf")
    if "spark.master" in settings or "--master" in words:
        raise JobRefused("sparkSubmitParameters: expected no master, found one: the service is it")
    environment = {
        name.removeprefix(_DRIVER_SETTING): value
        for name, value in settings.items()
        if name.startswith((f"{_DRIVER_SETTING}LEAN_OPS_", f"{_DRIVER_SETTING}POWERTOOLS_"))
    }
    return [str(argument) for argument in driver.get("EntryPointArguments", [])], environment


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _why(run: JobRun) -> str:
    if run.timed_out:
        return "the run took longer than its executionTimeoutMinutes"
    with run.log.open("rb") as log:
        log.seek(max(0, run.log.stat().st_size - _TOLD_BYTES))
        lines = log.read().decode(errors="replace").strip().splitlines()
    told = [line for line in lines if line.startswith('{"errorType"')]
    return (told or lines or [f"exit code {run.process.returncode}"])[-1]
