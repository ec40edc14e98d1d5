"""What ``provision`` creates on the local stack, and what a second time changes."""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.runtime.topics import read_registry
from lean_ops.build.packaging import code_archive
from lean_ops.environment.repository import LAMBDA_CODE, contract_files, function_catalogue
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A stack of its own: the names of the pipeline are taken once."""
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True)
    stack.up()
    target = LocalTarget.running(stack.folder)
    provision(target, Tuning(visibility_timeout_s=7))
    yield target
    stack.down(wipe=True)


def test_the_source_queue_redrives_to_a_queue_that_keeps_for_14_days(target: Target) -> None:
    sqs = target.client("sqs")

    def attributes(queue: str) -> dict[str, str]:
        url = target.queue_url(queue)
        found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]  # type: ignore[assignment] # keys are literals there
        return found

    source, dead = attributes(target.source_queue), attributes(target.dead_letter_queue)
    redrive = json.loads(source["RedrivePolicy"])
    assert redrive == {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 6}
    assert source["VisibilityTimeout"] == "7"
    assert dead["MessageRetentionPeriod"] == str(14 * 24 * 3600)


def test_every_function_of_the_catalogue_is_there_with_its_settings(target: Target) -> None:
    client = target.client("lambda")
    for entry in function_catalogue():
        found = client.get_function_configuration(FunctionName=target.function(entry.name))
        assert (found["Handler"], found["MemorySize"], found["Timeout"]) == (
            entry.handler,
            entry.memory_mb,
            entry.timeout_s,
        )
        variables = found["Environment"]["Variables"]
        assert not any("${" in value for value in variables.values())


def test_every_topic_has_its_tables_and_its_stream(target: Target) -> None:
    tables = {name for _, name in target.catalog().list_tables(target.database)}
    streams = target.client("firehose").list_delivery_streams()["DeliveryStreamNames"]
    for topic in target.topics:
        layers = ["raw", "curated"]
        if topic in contract_files():
            layers += ["semantic", "quarantine"]
        assert {f"{layer}_{topic}" for layer in layers} <= tables
        assert target.settings.delivery_stream(topic) in streams


def test_the_registry_names_every_topic_and_its_contract(target: Target) -> None:
    found = read_registry(target.client("s3"), target.lake_bucket)
    assert {name: topic.contract for name, topic in found.topics.items()} == {
        topic: topic in contract_files() for topic in target.topics
    }


def test_tables_lie_in_the_lake_bucket_under_their_name(target: Target) -> None:
    table = target.catalog().load_table(target.settings.table("raw", "events"))
    assert table.location() == f"s3://{target.lake_bucket}/raw_events"
    assert table.format_version == 2


def test_the_look_up_tables_forget_by_themselves(target: Target) -> None:
    dynamodb = target.client("dynamodb")
    for table in (target.checkpoints_table, target.drift_log_table):
        found = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        assert found == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_contracts_are_where_the_jobs_look(target: Target) -> None:
    s3 = target.client("s3")
    for topic, path in contract_files().items():
        stored = s3.get_object(Bucket=target.lake_bucket, Key=f"contracts/{topic}.yaml")["Body"].read()
        assert stored == path.read_bytes()


def test_the_state_machine_has_no_placeholder_left(target: Target) -> None:
    described = target.client("stepfunctions").describe_state_machine(
        stateMachineArn=target.state_machine_arn
    )
    assert "${" not in described["definition"]
    assert target.function("curation") in described["definition"]


def test_a_second_time_brings_code_up_to_date_and_drops_nothing(target: Target, tmp_path: Path) -> None:
    secrets = target.client("secretsmanager")
    key = secrets.get_secret_value(SecretId=target.pii_key_secret)["SecretString"]
    uuid_before = target.catalog().load_table(target.settings.table("raw", "events")).metadata.table_uuid
    code = shutil.copytree(LAMBDA_CODE, tmp_path / "code")
    (code / "sqs_processor/changed.py").write_text("")

    provision(target, Tuning(batch_size=500), code)

    client = target.client("lambda")
    mappings = client.list_event_source_mappings()["EventSourceMappings"]
    assert [m["BatchSize"] for m in mappings] == [500]
    deployed = client.get_function_configuration(FunctionName=target.function("sqs_processor"))["CodeSha256"]
    assert base64.b64decode(deployed) == hashlib.sha256(code_archive("sqs_processor", code)).digest()
    assert secrets.get_secret_value(SecretId=target.pii_key_secret)["SecretString"] == key
    uuid_after = target.catalog().load_table(target.settings.table("raw", "events")).metadata.table_uuid
    assert uuid_after == uuid_before
