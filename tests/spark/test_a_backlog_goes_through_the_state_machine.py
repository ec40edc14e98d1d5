"""On a stack with Spark: the state machine's choice, the job as the service runs it, and what stops it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from lean_ops.commands.options import STACKS
from lean_ops.environment.target import Target
from lean_ops.local import spark
from lean_ops.local.provision import provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget, keep_spark
from lean_ops.operate import jobs, pipeline
from lean_ops.operate.pipeline import Engine
from lean_ops.simulate.history import History, Scenario

from ..support.pipeline import QUICK, Send, ledger, send, stack, target

__all__ = ["ledger", "send", "stack", "target"]


@pytest.fixture(scope="module", autouse=True)
def _with_spark(stack: Stack) -> Iterator[None]:
    if lacks := spark.missing() or spark.install():
        pytest.skip(lacks)
    keep_spark(stack.folder, wanted=True)
    provision(LocalTarget.running(stack.folder), QUICK)
    yield


def drivers() -> list[psutil.Process]:
    """Drivers of the jobs of this process's stacks."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile, or is a zombie
            if "spark.job" in process.cmdline():
                found.append(process)
    return found


def await_driver(target: Target, arn: str) -> None:
    """Wait until the run's job says how far it is."""
    while jobs.progress(target, "events", arn) is None:
        assert pipeline.outcome(target, arn).status == "RUNNING"
        time.sleep(0.2)


def rows(target: LocalTarget, layer: str) -> int:
    found = target.catalog().load_table(f"{target.database}.{layer}_events").current_snapshot()
    return int(found.summary["total-records"] or 0) if found is not None and found.summary else 0


def test_a_stopped_run_ends_its_job_a_killed_one_is_done_again_and_either_engine_goes_on(
    target: LocalTarget, send: Send
) -> None:
    send(iter(History(Scenario(events=600, seed=5, days=3, devices=20))))
    arn = pipeline.start(target, "events", engine=Engine.SPARK)
    await_driver(target, arn)
    client = target.client("stepfunctions")
    client.stop_execution(executionArn=arn)
    while drivers():
        time.sleep(0.2)
    assert rows(target, "curated") == 0

    arn = pipeline.start(target, "events", engine=Engine.SPARK)
    await_driver(target, arn)
    for driver in drivers():
        driver.kill()
    path = [visit.name for visit in pipeline.follow(target, arn)]
    ended = pipeline.outcome(target, arn)
    assert ended.succeeded, ended
    assert {"RunCurationOnSpark", "RunSemanticOnSpark"} <= set(path)
    assert not {"RunCurationJob", "RunSemanticJob"} & set(path)
    known = rows(target, "curated")
    assert known > 500
    events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    assert "TaskFailed" in {event["type"] for event in events}, (
        "the driver died, and its state was tried again"
    )

    # Nothing is left for a function: it reads on from the same checkpoints.
    arn = pipeline.start(target, "events", force=True, engine=Engine.LAMBDA)
    visits: list[Any] = list(pipeline.follow(target, arn))
    assert pipeline.outcome(target, arn).succeeded
    job = next(visit for visit in visits if visit.name == "RunCurationJob")
    assert job.output["curation"]["records_written"] == 0
    assert rows(target, "curated") == known


@pytest.fixture(scope="module")
def name(stack: Stack) -> Iterator[str]:
    """The stack's name for commands."""
    link = STACKS / f"test-spark-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stack.folder)
    yield link.name
    link.unlink()


def test_a_layer_is_rebuilt_on_spark_as_the_pipeline_makes_it(target: LocalTarget, name: str) -> None:
    """In a process of its own, as a command is: there is one Spark a process."""
    known = rows(target, "curated")
    words = ["rebuild", "--layer", "curated", "--reason", "a test", "--engine", "spark", "--yes", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", "from lean_ops.cli import main; main()", *words, "--stack", name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]
    assert (found["only_live"], found["only_rebuilt"], found["different"]) == (0, 0, 0)
    assert found["live_rows"] == found["rebuilt_rows"] == known > 500


def test_a_job_that_fails_says_why_and_changes_nothing(target: LocalTarget) -> None:
    client = target.client("stepfunctions")
    definition = json.loads(
        client.describe_state_machine(stateMachineArn=target.state_machine_arn)["definition"]
    )
    state = definition["States"]["RunCurationOnSpark"]
    state["Retry"] = []
    state["Parameters"]["JobDriver"]["SparkSubmit"]["EntryPointArguments.$"] = "States.Array('no such job')"
    name = "job-that-fails"
    role = "arn:aws:iam::000000000000:role/local"
    arn = client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)[
        "stateMachineArn"
    ]
    run = client.start_execution(
        stateMachineArn=arn, input=json.dumps({"topic": "events", "force": True, "engine": "spark"})
    )["executionArn"]
    while (ended := client.describe_execution(executionArn=run))["status"] == "RUNNING":
        time.sleep(0.2)
    assert ended["status"] == "FAILED"
    cause = json.loads(ended["cause"])
    assert cause["State"] == "FAILED"
    assert "InvalidInput" in cause["StateDetails"]
