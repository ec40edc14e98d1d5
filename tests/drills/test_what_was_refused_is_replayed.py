"""Drills: what kept events waiting is mended, they are replayed, and the tables and the ledger are whole.

One stack for all drills, in this order: the ledger is held against everything that was sent until then.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table
from pyiceberg.types import StringType
from typer.testing import CliRunner, Result

from common.contract.store import contract_key
from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Kind, Message
from lean_ops.cli import app
from lean_ops.commands.options import STACKS
from lean_ops.environment import audit
from lean_ops.environment.repository import contract_files
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline
from lean_ops.simulate import sender
from lean_ops.simulate.history import History, Scenario

SCENARIO = Scenario(
    events=600,
    days=0.2,
    devices=200,
    late_rate=0.0,
    broken_rate=0.01,
    violation_rate=0.0,
    end=datetime.now(UTC),
)
FLOOD = 2_000
GOOD = 500
# Longer than any batch takes on a busy machine: one that comes again while its function works would be in
# RAW, or among the dead letters, twice.
TUNING = Tuning(visibility_timeout_s=120, buffer_interval_s=1, batching_window_s=0)
LAYERS = ("curated_events", "semantic_events", "quarantine_events")


class Environment:
    """A stack, its ledger, and the command line on it."""

    def __init__(self, folder: Path, ledger: Ledger, name: str) -> None:
        self.folder, self.ledger, self.name = folder, ledger, name

    @property
    def target(self) -> Target:
        return LocalTarget.running(self.folder)

    def send(self, messages: Iterator[Message]) -> None:
        with closing(self.target.queue_client()) as client:
            sender.send(
                messages, client, self.target.queue_url(self.target.source_queue), self.ledger.begin({})
            )
        self.settle()

    def settle(self) -> None:
        assert observation.settle(self.target, timeout_s=300) == 0

    def run(self, topic: str = "events") -> None:
        arn = pipeline.start(self.target, topic)
        list(pipeline.follow(self.target, arn))
        outcome = pipeline.outcome(self.target, arn)
        assert outcome.succeeded, outcome

    def table(self, name: str) -> Table:
        return self.target.catalog().load_table(f"{self.target.database}.{name}")

    def rows(self, name: str) -> pa.Table:
        return self.table(name).scan().to_arrow().sort_by("idempotency_key")

    def snapshot(self) -> dict[str, pa.Table]:
        return {name: self.rows(name) for name in LAYERS}

    def lean_ops(self, *arguments: str) -> Any:
        """The JSON document that a command prints."""
        result: Result = CliRunner().invoke(app, [*arguments, "--stack", self.name, "--json"])
        assert result.exception is None, result.exception
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("drills")
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.05)
    stack.up()
    provision(LocalTarget.running(stack.folder), TUNING)
    link = STACKS / f"test-drills-{os.getpid()}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stack.folder)
    yield Environment(stack.folder, Ledger(folder / "ledger"), link.name)
    link.unlink()
    stack.down(wipe=True)


def test_deliveries_that_fail_are_replayed_and_the_ledger_balances(stack: Environment) -> None:
    with stack.table("raw_events").update_schema() as update:
        update.add_column("unexpected", StringType())
    stack.send(History(SCENARIO).messages())
    assert stack.rows("raw_events").num_rows == 0
    waiting = stack.lean_ops("replay", "delivery", "--dry-run")
    assert [count["reason"] for count in waiting["counts"]] == ["Iceberg.MissingColumnWithinRecord"]
    good = sum(m.kind is not Kind.BROKEN for m in History(SCENARIO))
    assert waiting["messages"] == good

    with stack.table("raw_events").update_schema() as update:
        update.delete_column("unexpected")
    done = stack.lean_ops("replay", "delivery", "--topic", "events", "--note", "drill", "--rate", "0")
    assert done["done"]["sent"] == good
    stack.settle()
    stack.run()
    result = stack.ledger.reconcile(observation.observe(stack.target))
    assert result.balanced, [str(check) for check in result.differences]
    assert result.repeated == 0
    assert stack.lean_ops("replay", "delivery", "--dry-run")["messages"] == 0


def test_replaying_the_same_deliveries_again_changes_no_row(stack: Environment) -> None:
    before = stack.snapshot()
    s3, bucket = stack.target.client("s3"), stack.target.lake_bucket
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix="delivery-errors/_replayed/")["Contents"]:
        s3.copy_object(
            Bucket=bucket,
            Key=entry["Key"].replace("_replayed/", ""),
            CopySource={"Bucket": bucket, "Key": entry["Key"]},
        )
    assert stack.lean_ops("replay", "delivery", "--rate", "0")["done"]["sent"] > 0
    stack.settle()
    stack.run()
    after = stack.snapshot()
    for name in LAYERS:
        assert after[name].equals(before[name]), name


def test_a_wrong_contract_quarantines_and_the_mended_one_lets_every_row_through(stack: Environment) -> None:
    right = contract_files()["events"].read_text()
    wrong = right.replace("- value: thermostat", "- value: nothing")
    put_contract(stack.target, wrong)
    stack.send(History(replace(SCENARIO, seed=2, broken_rate=0.0)).messages())
    stack.run()
    refused = stack.rows("quarantine_events").num_rows
    assert refused > 50

    dry = stack.lean_ops("replay", "quarantine", "--dry-run", "--reason", "device_type:enum")
    assert dry["messages"] == refused
    put_contract(stack.target, right)
    done = stack.lean_ops("replay", "quarantine", "--note", "drill")
    assert (done["done"]["accepted"], done["done"]["refused"]) == (refused, 0)
    curated, semantic = stack.rows("curated_events"), stack.rows("semantic_events")
    curated = curated.filter(curated["_tombstone"].is_null())
    for column in ("idempotency_key", "message_id", "publish_time", "ingestion_ts"):
        assert semantic[column].equals(curated[column]), column
    assert semantic["_source_merge_seq"].equals(curated["_merge_seq"])

    before = stack.snapshot()
    again = stack.lean_ops("replay", "quarantine")
    assert (again["done"]["waiting"], again["done"]["changed"]) == (0, 0)
    assert again["done"]["settled"] == refused
    stack.run()
    assert all(stack.rows(name).equals(before[name]) for name in LAYERS)


def test_a_poison_flood_leaves_its_neighbours_alone_and_what_is_mended_is_replayed(
    stack: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stack.rows("raw_events").num_rows
    earlier = stack.lean_ops("dlq", "show")["messages"]
    good = list(History(replace(SCENARIO, seed=3, events=GOOD, retry_rate=0.0, broken_rate=0.0)))
    stack.send(iter(interleaved(good, poison())))
    assert stack.rows("raw_events").num_rows == before + len(good)

    shown = stack.lean_ops("dlq", "show", "--topic", "meters")
    assert shown["counts"] == [{"reason": "UNKNOWN_TOPIC", "topic": "meters", "messages": FLOOD // 2}]
    assert shown["others"] == earlier + FLOOD // 2
    assert stack.lean_ops("dlq", "archive")["written"] == earlier + FLOOD

    # Nothing is mended yet: what is sent comes back, and is not sent in circles.
    futile = stack.lean_ops("replay", "dlq", "--topic", "meters", "--limit", "20", "--rate", "0")
    assert futile["done"]["sent"] == 20
    stack.settle()

    monkeypatch.setenv("LEAN_OPS_TOPICS", "meters")
    provision(stack.target, TUNING)
    done = stack.lean_ops("replay", "dlq", "--reason", "UNKNOWN_TOPIC", "--topic", "meters", "--rate", "0")
    assert done["done"] == {"sent": FLOOD // 2}
    stack.settle()
    left = stack.lean_ops("dlq", "show")
    assert left["messages"] == earlier + FLOOD // 2
    assert "meters" not in {count["topic"] for count in left["counts"]}
    stack.run("meters")
    rows = stack.rows("curated_meters")
    assert rows.num_rows == FLOOD // 2

    # From the archive all of them are sent once more; no row changes.
    archived = stack.lean_ops("replay", "dlq", "--from-archive", "--topic", "meters", "--rate", "0")
    assert archived["done"]["sent"] == FLOOD // 2
    stack.settle()
    stack.run("meters")
    assert stack.rows("raw_meters").num_rows == FLOOD
    assert stack.rows("curated_meters").equals(rows)


def test_every_replay_is_on_record_with_its_selection_and_counts(stack: Environment) -> None:
    entries = audit.entries(stack.target, operation="replay.")
    assert {entry.outcome for entry in entries} == {audit.Outcome.SUCCEEDED}
    assert [entry.operation for entry in reversed(entries)] == [
        "replay.delivery",
        "replay.delivery",
        "replay.quarantine",
        "replay.quarantine",
        "replay.dlq",
        "replay.dlq",
        "replay.dlq",
    ]
    assert entries[0].selection == {"topic": "meters", "from": "archive", "days": 30}
    assert entries[-1].reason == "drill"


def put_contract(target: Target, text: str) -> None:
    target.client("s3").put_object(Bucket=target.lake_bucket, Key=contract_key("events"), Body=text.encode())


def poison() -> Iterator[Message]:
    """Half of a topic that nobody has registered, half no JSON at all."""
    for number in range(FLOOD // 2):
        event = {
            "message_id": f"meter-{number}",
            "idempotency_key": f"meter-{number}",
            "topic_name": "meters",
            "publish_time": "2026-02-28T12:00:00Z",
            "payload": {"kwh": number},
        }
        yield Message(json.dumps(event), "meters", Kind.BROKEN, reject_code="UNKNOWN_TOPIC")
        yield Message(f"poison {number}", "events", Kind.BROKEN, reject_code="NOT_JSON")


def interleaved(good: list[Message], bad: Iterator[Message]) -> Iterator[Message]:
    waiting = iter(good)
    for number, message in enumerate(bad):
        yield message
        if number % (FLOOD // len(good)) == 0 and (neighbour := next(waiting, None)):
            yield neighbour
    yield from waiting
