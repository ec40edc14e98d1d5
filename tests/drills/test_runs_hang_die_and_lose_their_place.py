"""Fault drills: a run that hangs, one that dies after its commit, a checkpoint that expired.

Each ends healed by the next run alone, with every message that was sent in every layer exactly once.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result

from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Message
from lean_ops.environment.target import Target
from lean_ops.local.provision import provision
from lean_ops.operate import pipeline

from ..support.pipeline import QUICK
from ..support.weather import readings

LeanOps = Callable[..., Result]
Send = Callable[[Iterator[Message]], None]
READINGS = list(readings(1, 2, every_days=7))
WEATHER = ("--topic", "weather")
HANGS = "import time\n\ndef handler(event, context):\n    time.sleep(20)\n    raise TimeoutError\n"


@pytest.fixture(scope="module")
def deliveries() -> Iterator[list[Message]]:
    """The readings in eight deliveries."""
    return iter([READINGS[turn::8] for turn in range(8)])


@pytest.fixture(scope="module", autouse=True)
def begun(target: Target, send: Send, deliveries: Iterator[list[Message]]) -> None:
    """One delivery is in every layer before the drills."""
    send(iter(next(deliveries)))
    run(target)


def run(target: Target) -> list[str]:
    arn = pipeline.start(target, "weather")
    path = [visit.name for visit in pipeline.follow(target, arn)]
    assert pipeline.outcome(target, arn).succeeded
    return path


def assert_balanced(target: Target, ledger: Ledger) -> None:
    """Of the topic of these drills, everything that was sent is in every layer, once."""
    result = ledger.reconcile(observation.observe(target))
    assert [str(d) for d in result.differences if "weather" in str(d)] == []
    sent = set(keys(target, "raw"))
    for layer in ("curated", "semantic"):
        assert sorted(keys(target, layer)) == sorted(sent), layer


def keys(target: Target, layer: str) -> list[str]:
    table = target.catalog().load_table(target.settings.table(layer, "weather"))
    found: list[Any] = table.scan(selected_fields=("idempotency_key",)).to_arrow()[0].to_pylist()
    return found


def snapshots(target: Target, layer: str) -> list[int]:
    table = target.catalog().load_table(target.settings.table(layer, "weather"))
    return [s.snapshot_id for s in table.snapshots()]


def test_a_run_that_hangs_is_seen_stopped_and_taken_over(
    target: Target, lean_ops: LeanOps, send: Send, deliveries: Iterator[list[Message]], ledger: Ledger
) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("curation/handler.py", HANGS)
    name = target.function("curation")
    target.client("lambda").update_function_code(FunctionName=name, ZipFile=code.getvalue())
    send(iter(next(deliveries)))
    hanging = pipeline.start(target, "weather")
    client = target.client("stepfunctions")
    while "RunCurationJob" not in {
        e.get("stateEnteredEventDetails", {}).get("name")
        for e in client.get_execution_history(executionArn=hanging)["events"]
    }:
        assert client.describe_execution(executionArn=hanging)["status"] == "RUNNING"
    shown = lean_ops("run", *WEATHER).output
    assert pipeline.BUSY in shown
    assert f"Another run does the work: {hanging}" in shown
    reason = ("--reason", "INC-3: hangs")
    assert hanging in lean_ops("stop", *WEATHER, *reason).output
    assert pipeline.outcome(target, hanging).status == "ABORTED"
    assert "No run of weather runs" in lean_ops("stop", *WEATHER, *reason).output
    provision(target, QUICK)
    assert run(target)[-1] == "FullPipelineSuccess"
    assert_balanced(target, ledger)


def test_an_operation_waits_for_the_function_that_a_stopped_run_left_behind(lean_ops: LeanOps) -> None:
    """The run of the drill before was aborted, but a later one has succeeded: nothing is left to wait for."""
    done = lean_ops("checkpoints", "reset", "curated", *WEATHER, "--reason", "a drill", "--wait", "0")
    assert done.exit_code == 0, done.exception


def test_a_run_that_died_after_its_commit_is_neither_lost_nor_repeated(
    target: Target, send: Send, deliveries: Iterator[list[Message]], ledger: Ledger
) -> None:
    run(target)
    client = target.client("dynamodb")
    places = [{"checkpoint_id": {"S": f"weather#{layer}"}} for layer in ("curated", "semantic")]
    before = [client.get_item(TableName=target.checkpoints_table, Key=key)["Item"] for key in places]
    send(iter(next(deliveries)))
    run(target)
    for item in before:  # as if the run had ended between its commits and the updates of its checkpoints
        client.put_item(TableName=target.checkpoints_table, Item=item)
    commits = [snapshots(target, layer) for layer in ("curated", "semantic")]
    assert run(target)[-1] == "NoNewData"
    assert [snapshots(target, layer) for layer in ("curated", "semantic")] == commits
    send(iter(next(deliveries)))
    assert run(target)[-1] == "FullPipelineSuccess"
    assert_balanced(target, ledger)


def test_a_checkpoint_that_expired_costs_a_full_read_that_says_so_and_changes_nothing_else(
    target: Target, lean_ops: LeanOps, send: Send, deliveries: Iterator[list[Message]], ledger: Ledger
) -> None:
    before = keys(target, "curated")
    send(iter(next(deliveries)))
    raw = target.catalog().load_table(target.settings.table("raw", "weather"))
    current = raw.current_snapshot()
    assert current is not None
    older = [s.snapshot_id for s in raw.snapshots() if s.snapshot_id != current.snapshot_id]
    raw.maintenance.expire_snapshots().by_ids(older).commit()
    found = json.loads(lean_ops("doctor", "--json").output)
    said = [f["found"] for check in found["checks"] for f in check["findings"]]
    assert any("is not in the history of raw" in text for text in said), said
    assert "expired: reads all" in lean_ops("checkpoints", *WEATHER).output
    assert run(target)[-1] == "FullPipelineSuccess"
    group = f"/aws/lambda/{target.function('curation')}"
    events = target.client("logs").filter_log_events(logGroupName=group)["events"]
    assert any("is not in the history of" in e["message"] for e in events)
    assert len(keys(target, "curated")) > len(before)
    assert_balanced(target, ledger)
    assert run(target)[-1] == "NoNewData"
