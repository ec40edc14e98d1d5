"""Each thing that can be broken on the stack is broken, found, and mended by the advice."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import Result
from pyiceberg.types import StringType

from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.local.provision import provision
from lean_ops.local.target import LocalTarget
from lean_ops.operate import leases, pipeline
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.doctor import Severity, examine, lake
from lean_ops.operate.holds import Place
from lean_ops.operate.rebuild import Rebuild, discard

from ..support.pipeline import QUICK
from ..support.weather import readings

LeanOps = Callable[..., Result]


@pytest.fixture(scope="module", autouse=True)
def history(target: Target, send: Callable[..., None]) -> None:
    """One delivery of weather that was run."""
    send(readings(1, 2, every_days=20))
    run(target)


def run(target: Target) -> None:
    for _ in pipeline.follow(target, pipeline.start(target, "weather")):
        pass


def findings(target: Target) -> list[tuple[str, str, str]]:
    """Check, subject and what was found, of every problem. Other tests of the process leave notes behind."""
    found = examine(target)
    return [
        (one.check, f.subject, f.found)
        for one in found.checked
        for f in one.findings
        if f.severity is Severity.PROBLEM
    ]


def only(target: Target) -> tuple[str, str, str]:
    """The one problem that there is."""
    found = findings(target)
    assert len(found) == 1, found
    return found[0]


@contextmanager
def mended_by_provisioning(target: Target) -> Iterator[None]:
    try:
        yield
    finally:
        provision(target, QUICK)


def test_a_healthy_stack_has_no_problem_and_the_command_says_so(lean_ops: LeanOps) -> None:
    result = lean_ops("doctor")
    assert result.exit_code == 0, result.output
    assert "All is well." in result.output
    document = json.loads(lean_ops("doctor", "--json").output)
    assert document["healthy"] is True
    assert len(document["checks"]) == 23


def test_a_problem_is_exit_code_one_with_advice(target: Target, lean_ops: LeanOps) -> None:
    Place(target, "weather").pause("INC-7")
    result = lean_ops("doctor")
    assert result.exit_code == 1
    assert "INC-7" in result.output
    assert "→ `lean-ops resume --topic weather`" in result.output
    Place(target, "weather").resume()


def test_queues_that_lose_messages(target: Target) -> None:
    client, dead = target.client("sqs"), target.queue_url(target.dead_letter_queue)
    with mended_by_provisioning(target):
        client.set_queue_attributes(QueueUrl=dead, Attributes={"MessageRetentionPeriod": "345600"})
        check, subject, found = only(target)
        assert (check, subject) == ("queues", target.dead_letter_queue)
        assert found == "expected to keep messages 14 days, found 4"
    source = target.queue_url(target.source_queue)
    with mended_by_provisioning(target):
        client.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": ""})
        assert "expected redrive into" in only(target)[2]


def test_a_mapping_that_is_switched_off(target: Target) -> None:
    client = target.client("lambda")
    (mapping,) = client.list_event_source_mappings()["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    assert only(target)[0] == "mapping"
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def test_a_stream_that_is_missing(target: Target) -> None:
    with mended_by_provisioning(target):
        name = target.settings.delivery_stream("weather")
        target.client("firehose").delete_delivery_stream(DeliveryStreamName=name)
        assert only(target)[:2] == ("streams", name)


def test_a_function_that_differs_from_the_catalogue_or_is_missing(target: Target) -> None:
    client, name = target.client("lambda"), target.function("curation")
    with mended_by_provisioning(target):
        client.update_function_configuration(FunctionName=name, MemorySize=512)
        assert only(target) == ("functions", name, "expected it as in functions.json, found MemorySize 512")
    with mended_by_provisioning(target):
        client.delete_function(FunctionName=target.function("notify_missing_schema"))
        assert only(target)[1] == target.function("notify_missing_schema")


def test_a_state_machine_that_was_changed_by_hand(target: Target) -> None:
    client = target.client("stepfunctions")
    with mended_by_provisioning(target):
        deployed = client.describe_state_machine(stateMachineArn=target.state_machine_arn)["definition"]
        client.update_state_machine(
            stateMachineArn=target.state_machine_arn, definition=deployed.replace("930", "90")
        )
        check, _, found = only(target)
        assert check == "state machine"
        assert found.endswith("found others in RunCurationJob, RunSemanticJob")


def test_a_contract_that_cannot_be_read_or_is_missing(target: Target) -> None:
    s3, key = target.client("s3"), "contracts/weather.yaml"
    with mended_by_provisioning(target):
        s3.put_object(Bucket=target.lake_bucket, Key=key, Body=b"kind: Nonsense")
        assert "expected DataContract, found 'Nonsense'" in only(target)[2]
    with mended_by_provisioning(target):
        s3.delete_object(Bucket=target.lake_bucket, Key=key)
        assert only(target)[:2] == ("contracts", "contract of weather")


RULES = """        quality:
          - {name: cold, metric: invalidValues, arguments: {validValues: [0]}, mustBe: 0, severity: warning}
          - {name: frost, query: "SELECT count(*) FROM ${table} WHERE temperature_f < 32", mustBe: 0}
          - {name: writes, query: "DELETE FROM ${table}", mustBe: 0, severity: warning}
          - {name: ends, query: "SELECT count(*) FROM range(9999999) a, range(9999999) b", mustBe: 0}
    quality:
      - {metric: rowCount, mustBeLessThan: 3, severity: critical}
"""


def test_rules_about_all_rows_are_measured_by_runs_and_hold_the_topic_back(
    target: Target, lean_ops: LeanOps, send: Callable[..., None]
) -> None:
    s3, key = target.client("s3"), "contracts/weather.yaml"
    text = s3.get_object(Bucket=target.lake_bucket, Key=key)["Body"].read().decode()
    text = text.replace("version: 1.0.0", "version: 1.0.1")
    with mended_by_provisioning(target):
        s3.put_object(Bucket=target.lake_bucket, Key=key, Body=(text.rstrip() + "\n" + RULES).encode())
        send(readings(2, 3, every_days=20))
        run(target)
        found = {(check, subject): what for check, subject, what in findings(target)}
        assert found.keys() == {("quality", "contract of weather"), ("holds", "topic weather")}
        assert (
            "rule 'rowCount': expected that rowCount is less than 3, found "
            in found["quality", "contract of weather"]
        )
        assert "critical rules are broken: rowCount" in found["holds", "topic weather"]
        notes = [f.found for c in examine(target).checked for f in c.findings if c.check == "quality"]
        assert any("rule 'cold'" in note for note in notes)
        said = lean_ops("contract", "test", "--topic", "weather", "--timeout", "1", "--json")
        assert said.exit_code == 1
        rules = {one["name"]: one for one in json.loads(said.stdout)["rules"]}
        assert rules["frost"]["found"].isdigit()
        assert "expected one SELECT, found DELETE" in rules["writes"]["why"]
        assert "expected rows within 1 s, found it running" in rules["ends"]["why"]
        assert lean_ops("resume", "--topic", "weather", "--everybody").exit_code == 0
    send(readings(3, 4, every_days=20))
    run(target)  # under the contract of before, which has no rule
    assert findings(target) == []


def test_a_key_that_is_missing(target: Target) -> None:
    client = target.client("secretsmanager")
    value = client.get_secret_value(SecretId=target.pii_key_secret)["SecretString"]
    client.delete_secret(SecretId=target.pii_key_secret, ForceDeleteWithoutRecovery=True)
    assert only(target)[0] == "secret"
    client.create_secret(Name=target.pii_key_secret, SecretString=value)


def test_an_alarm_that_is_up(target: Target) -> None:
    client, name = target.client("cloudwatch"), f"{target.name_prefix}-dead-letter-age"
    client.put_metric_alarm(
        AlarmName=name,
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Threshold=1,
        MetricName="m",
        Namespace="n",
        Period=60,
        Statistic="Sum",
    )
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="8 days old")
    check, subject, found = only(target)
    assert (check, subject) == ("alarms", name)
    assert "8 days old" in found
    client.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="over")


def test_a_table_that_differs_from_its_specification(target: Target) -> None:
    catalog, name = target.catalog(), target.settings.table("curated", "events")
    table = catalog.load_table(name)
    with table.transaction() as change:
        change.set_properties({"write.merge.mode": "copy-on-write"})
    assert only(target) == (
        "tables",
        name,
        "expected property write.merge.mode = merge-on-read, found copy-on-write",
    )
    with table.transaction() as change:
        change.set_properties({"write.merge.mode": "merge-on-read"})
    with table.update_schema(allow_incompatible_changes=True) as schema:
        schema.delete_column("_rescued")
    assert "expected column _rescued" in only(target)[2]
    with table.update_schema() as schema:
        schema.add_column("_rescued", StringType())


def test_a_table_that_is_missing(target: Target) -> None:
    catalog, name = target.catalog(), target.settings.table("quarantine", "events")
    location = catalog.load_table(name).metadata_location
    catalog.drop_table(name)
    assert only(target) == ("tables", name, "expected the table, found none")
    catalog.register_table(name, location)


def test_a_checkpoint_that_is_not_in_the_source(target: Target) -> None:
    key = {"checkpoint_id": {"S": "weather#curated"}}
    client = target.client("dynamodb")
    item = client.get_item(TableName=target.checkpoints_table, Key=key)["Item"]
    expired = {**item, "source_token": {"S": "17"}, "rewound": {"BOOL": True}}
    client.put_item(TableName=target.checkpoints_table, Item=expired)
    check, subject, found = only(target)
    assert (check, subject) == ("progress", "weather: curated")
    assert "17 is not in the history of raw" in found
    client.put_item(TableName=target.checkpoints_table, Item=item)


def test_a_layer_that_lags(target: Target, monkeypatch: pytest.MonkeyPatch, lean_ops: LeanOps) -> None:
    lean_ops("checkpoints", "reset", "curated", "--topic", "weather", "--reason", "a test")
    assert findings(target) == []
    monkeypatch.setattr(lake, "_LAG", timedelta(0))
    assert "are unread since" in only(target)[2]
    monkeypatch.undo()
    run(target)


def test_a_run_that_takes_too_long(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = target.state_machine_arn
    lease = leases.Lease("weather", f"{arn}:x", "RUNNING")
    monkeypatch.setattr(leases, "read", lambda _target, topic: replace(lease, topic=topic))

    class Machine:
        def describe_execution(self, **_: Any) -> dict[str, datetime]:
            return {"startDate": datetime.now(UTC) - timedelta(hours=3)}

    client = LocalTarget.client
    monkeypatch.setattr(
        LocalTarget,
        "client",
        lambda target, service: Machine() if service == "stepfunctions" else client(target, service),
    )
    found = [finding.found for finding in lake.holds(replace(target, topics=("weather",)))]
    assert len(found) == 1
    assert "a run is in progress since" in found[0]
    monkeypatch.undo()


def test_what_an_operator_left_half_done_is_a_note(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    Rebuild.open(target, "weather", MergedLayer.CURATED, first_day=None)
    notes = [f for one in examine(target).checked if one.check == "operations" for f in one.findings]
    assert [f.severity for f in notes if "rebuild was begun" in f.found] == [Severity.NOTE]
    discard(target, "weather", MergedLayer.CURATED)
    left = audit.entries(target)[0]
    killed = replace(left, outcome=audit.Outcome.STARTED, seen_at=datetime.now(UTC) - timedelta(hours=1))
    monkeypatch.setattr(audit, "entries", lambda _target, **_: [killed])
    assert [f.found for f in lake.operations(target) if "never ended" in f.found]


def test_a_check_that_cannot_look_is_a_finding(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    client = LocalTarget.client

    def refused(of: Target, service: Any) -> Any:
        if service == "sqs":
            raise ClientError(
                {"Error": {"Code": "AccessDenied", "Message": "sqs:GetQueueUrl"}}, "GetQueueUrl"
            )
        return client(of, service)

    monkeypatch.setattr(LocalTarget, "client", refused)
    found = findings(target)
    assert {check for check, _, _ in found} == {"queues", "mapping", "waiting", "delivery"}
    assert {subject for _, subject, _ in found} == {"this check"}
    assert all("AccessDenied" in text for _, _, text in found)


def test_everything_that_was_broken_is_mended(target: Target) -> None:
    assert findings(target) == []
