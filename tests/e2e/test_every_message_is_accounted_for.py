"""Simulated devices through the real functions: the ledger balances, and a repetition changes nothing."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from common.intake.events import DELETE
from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Kind, Message
from lean_ops.accounts.reconciliation import Reconciliation
from lean_ops.environment import lake
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline
from lean_ops.operate.pipeline import Outcome
from lean_ops.simulate import sender
from lean_ops.simulate.history import History, Scenario

from ..support import tables
from ..support.weather import readings

EVENTS = 1_500


@dataclass(frozen=True)
class Pipeline:
    """A stack with its ledger."""

    target: Target
    ledger: Ledger
    scenario: Scenario

    def send(self, messages: Iterator[Message], name: str) -> None:
        url = self.target.queue_url(self.target.source_queue)
        with closing(self.target.queue_client()) as client:
            sender.send(messages, client, url, self.ledger.begin({"test": name}))
        assert observation.settle(self.target, timeout_s=300) == 0

    def run(self, topic: str = "events", *, force: bool = False) -> tuple[list[str], Outcome]:
        arn = pipeline.start(self.target, topic, force=force)
        path = [visit.name for visit in pipeline.follow(self.target, arn)]
        outcome = pipeline.outcome(self.target, arn)
        assert outcome.succeeded, outcome
        return path, outcome

    def reconcile(self) -> Reconciliation:
        return self.ledger.reconcile(observation.observe(self.target))

    def table(self, name: str) -> Table:
        return self.target.catalog().load_table(f"{self.target.database}.{name}")

    def rows(self, name: str) -> pa.Table:
        """All rows of a table with every column, sorted by key."""
        return tables.rows(self.table(name))

    def wrong_rows(self, topic: str) -> list[object]:
        scan = self.table(f"curated_{topic}").scan(selected_fields=("idempotency_key", "message_id"))
        return list(self.ledger.wrong_rows(topic, scan.to_arrow_batch_reader()))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Two halves of a history with a run after each, and weeks of weather."""
    folder = tmp_path_factory.mktemp("pipeline")
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.05)
    stack.up()
    target = replace(LocalTarget.running(stack.folder), topics=("bare", "events", "weather"))
    provision(target, Tuning(visibility_timeout_s=5, buffer_interval_s=1))
    scenario = Scenario(
        events=EVENTS,
        days=0.25,
        broken_rate=0.02,
        violation_rate=0.02,
        delete_share=0.2,
        end=datetime.now(UTC),
    )
    pipe = Pipeline(target, Ledger(folder / "ledger"), scenario)
    history = History(scenario).messages()
    pipe.send(islice(history, EVENTS // 2), "first half")
    pipe.run()
    pipe.send(history, "second half")
    pipe.send(readings(1, 2, 3, every_days=5), "weather")
    pipe.run()
    pipe.run("weather")
    yield pipe
    stack.down(wipe=True)


def test_sent_is_raw_and_dead_letters_and_every_key_is_served(done: Pipeline) -> None:
    result = done.reconcile()
    assert result.balanced, [str(check) for check in result.differences]


@pytest.mark.parametrize("topic", ["events", "weather"])
def test_every_row_of_curated_is_the_version_that_must_win(done: Pipeline, topic: str) -> None:
    assert done.wrong_rows(topic) == []


def test_dead_letters_are_the_broken_messages_unchanged_each_with_its_reason(done: Pipeline) -> None:
    broken = [m for m in History(done.scenario) if m.kind is Kind.BROKEN]
    assert len(broken) > 12
    client, url = done.target.client("sqs"), done.target.queue_url(done.target.dead_letter_queue)
    found: dict[str, tuple[str, str]] = {}
    while batch := client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in batch:
            attributes = message["MessageAttributes"]
            found[message["MessageId"]] = (message["Body"], attributes["error_code"]["StringValue"])
            assert attributes["error_detail"]["StringValue"]
            assert datetime.fromisoformat(attributes["first_seen"]["StringValue"]).tzinfo
    # On a busy machine the queue delivers again, and a message may have two letters; none has no letter.
    assert set(found.values()) == {(m.body, m.reject_code) for m in broken}
    assert len(found) >= len(broken)


def test_payloads_are_in_raw_byte_for_byte(done: Pipeline) -> None:
    sent = {m.message_id: m for m in History(done.scenario) if m.kind is not Kind.BROKEN}
    rows = done.rows("raw_events").select(["message_id", "json_payload", "operation"]).to_pylist()
    assert {row["operation"] for row in rows} == {None, DELETE}
    for row in rows:
        message = sent[row["message_id"]]
        assert (row["json_payload"] is None) == (row["operation"] == DELETE) == message.deletes
        assert message.deletes or f'"payload":{row["json_payload"]}' in message.body


def test_semantic_is_typed_and_holds_no_personal_data_in_clear(done: Pipeline) -> None:
    semantic = done.rows("semantic_events")
    assert pa.types.is_decimal(semantic.schema.field("reading_value").type)
    clear = {
        json.loads(m.body)["payload"].get("operator", {}).get("email")
        for m in History(done.scenario)
        if m.kind is not Kind.BROKEN and not m.deletes
    } - {None}
    assert clear
    for table in ("semantic_events", "quarantine_events"):
        text = repr(done.rows(table).to_pylist())
        assert not [email for email in clear if email in text]


def test_new_fields_became_columns_and_were_logged_once(done: Pipeline) -> None:
    columns = set(done.rows("curated_events").column_names)
    assert "reading__battery_pct" in columns
    log = done.target.client("dynamodb").scan(TableName=done.target.drift_log_table)["Items"]
    entries = [item["entry"]["S"] for item in log if item["topic"]["S"] == "events"]
    assert entries.count("new-column#reading__battery_pct") == 1


def test_sending_everything_again_and_forcing_a_run_changes_no_row(done: Pipeline) -> None:
    layers = ("curated_events", "semantic_events", "quarantine_events")
    before = {name: done.rows(name) for name in layers}
    good = (m for m in History(done.scenario) if m.kind is not Kind.BROKEN)
    done.send(good, "replay")
    done.run(force=True)
    path, _ = done.run(force=True)
    assert path[-1] == "FullPipelineSuccess"
    for name in layers:
        assert done.rows(name).equals(before[name]), name


def test_a_topic_without_contract_stops_at_curated_is_noticed_once_and_catches_up(done: Pipeline) -> None:
    scenario = replace(done.scenario, events=300, topic="bare", seed=7, broken_rate=0.0)
    done.send(iter(History(scenario)), "bare")
    assert done.run("bare")[0][-1] == "CurationOnlySuccess"
    done.send(iter(History(replace(scenario, seed=8))), "bare again")
    assert done.run("bare")[0][-1] == "CurationOnlySuccess"
    log = done.target.client("dynamodb").scan(TableName=done.target.drift_log_table)["Items"]
    assert [i["entry"]["S"] for i in log if i["entry"]["S"].startswith("missing-contract")] == [
        "missing-contract#bare"
    ]
    _register_contract(done.target, "bare")
    path, _ = done.run("bare")
    assert "CatchUpSemantic" in path
    served = done.rows("semantic_bare").num_rows + done.rows("quarantine_bare").num_rows
    there = done.rows("curated_bare")["_tombstone"].null_count
    assert served >= there > 0


def _register_contract(target: Target, topic: str) -> None:
    """What ``lean-ops up`` does for a new file in contracts/."""
    from common.contract.contracts import load_contract
    from common.lake.specifications import TableSpec
    from lean_ops.environment.repository import CONTRACTS, TABLE_SPECIFICATIONS

    text = (CONTRACTS / "events.yaml").read_text().replace("- name: events", f"- name: {topic}")
    contract = load_contract(text, topic)
    for layer in ("semantic", "quarantine"):
        spec = TableSpec.load(TABLE_SPECIFICATIONS, layer)
        if layer == "semantic":
            spec = spec.with_columns(contract.semantic_columns())
        spec.create(
            target.catalog(),
            f"{target.database}.{layer}_{topic}",
            f"s3://{target.lake_bucket}/{layer}_{topic}",
        )
    target.client("s3").put_object(
        Bucket=target.lake_bucket, Key=f"contracts/{topic}.yaml", Body=text.encode()
    )


def test_duckdb_reads_the_same_rows_as_pyiceberg(done: Pipeline) -> None:
    with lake.connect(done.target) as connection:
        for name in ("raw_events", "curated_events", "semantic_events", "quarantine_events"):
            ((rows, ids),) = lake.run(connection, f"FROM {name} SELECT count(*), count(DISTINCT message_id)")[
                1
            ]
            table = done.rows(name)
            assert (rows, ids) == (table.num_rows, len(set(table["message_id"].to_pylist())))


def test_a_checkpoint_lost_after_the_commit_is_found_in_the_table(done: Pipeline) -> None:
    done.run(force=True)
    for layer in ("curated", "semantic"):
        done.target.client("dynamodb").delete_item(
            TableName=done.target.checkpoints_table, Key={"checkpoint_id": {"S": f"events#{layer}"}}
        )
    snapshots = [len(done.table(f"{layer}_events").snapshots()) for layer in ("curated", "semantic")]
    done.run()
    assert snapshots == [len(done.table(f"{layer}_events").snapshots()) for layer in ("curated", "semantic")]


def test_two_runs_started_together_do_the_work_once(done: Pipeline) -> None:
    done.send(iter(History(replace(done.scenario, seed=99, events=200, broken_rate=0.0))), "together")
    arns = [pipeline.start(done.target, "events") for _ in range(2)]
    ends = [[visit.name for visit in pipeline.follow(done.target, arn)][-1] for arn in arns]
    assert sorted(ends) == ["AnotherRunActive", "FullPipelineSuccess"]
    assert done.reconcile().balanced
