import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from lean_ops.environment.target import Target, TargetRefused, TargetUnreachable
from lean_ops.local.target import LocalTarget


def test_every_name_starts_with_project_and_environment() -> None:
    target = Target("dev", project="fleet", region="eu-west-1")
    assert target.source_queue == "fleet-dev-source"
    assert target.dead_letter_queue == "fleet-dev-dlq"
    assert target.state_machine == "fleet-dev-pipeline"
    assert target.function("sqs_processor") == "fleet-dev-sqs-processor"
    assert target.checkpoints_table == "fleet-dev-checkpoints"
    assert target.drift_log_table == "fleet-dev-drift-log"
    assert target.pii_key_secret == "fleet-dev-pii-key"


def test_the_lake_bucket_carries_the_account_on_aws_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "account", "000000000000")
    assert Target("dev").lake_bucket == "lean-ops-dev-lake-000000000000"
    assert LocalTarget("local", endpoints={"": "http://127.0.0.1:1"}).lake_bucket == "lean-ops-local-lake"


def test_the_database_has_no_hyphen() -> None:
    assert Target("dev").database == "lean_ops_dev"


def test_tables_and_streams_are_named_as_the_functions_name_them() -> None:
    settings = Target("dev", topics=("events", "air_quality")).settings
    assert settings.table("raw", "air_quality") == "lean_ops_dev.raw_air_quality"
    assert settings.delivery_stream("air_quality") == "lean-ops-dev-air-quality"


def test_a_local_client_ignores_the_persons_aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.invalid")
    endpoints = {"": "http://127.0.0.1:1", "firehose": "http://127.0.0.1:2"}
    target = LocalTarget("local", region="eu-west-1", endpoints=endpoints)
    assert target.client("sqs").meta.endpoint_url == "http://127.0.0.1:1"
    assert target.client("firehose").meta.endpoint_url == "http://127.0.0.1:2"
    assert target.state_machine_arn == (
        "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-local-pipeline"
    )


def local(port: int) -> LocalTarget:
    return LocalTarget("local", region="eu-west-1", endpoints={"": f"http://127.0.0.1:{port}"})


def test_threads_that_ask_at_once_share_one_client_of_a_service() -> None:
    target, ready = local(1), threading.Barrier(8)

    def ask(_: int) -> object:
        ready.wait()
        return target.client("sqs")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert target.client("s3") is not target.client("sqs")


def test_another_stack_and_whoever_closes_a_client_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local(1).client("sqs").meta.endpoint_url != local(2).client("sqs").meta.endpoint_url
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    target = Target.aws("dev", region="eu-west-1")
    assert target.queue_client() is not target.client("sqs")
    assert target.queue_client() is not target.queue_client()


def test_a_profile_that_does_not_exist_is_unreachable_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    target = Target.aws("dev", region="eu-west-1")
    with pytest.raises(TargetUnreachable, match=r"lean-ops-dev on AWS.*does-not-exist"), target.reached():
        target.client("sqs")


def test_missing_credentials_are_unreachable_with_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    target = Target.aws("dev", region="eu-west-1")
    expected = r"environment lean-ops-dev on AWS, region eu-west-1, profile default: .*NoCredentialsError"
    with pytest.raises(TargetUnreachable, match=expected), target.reached():
        target.queue_url(target.source_queue)


def test_a_refused_call_is_named_in_one_sentence() -> None:
    target = Target("dev", region="eu-west-1")
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessageBatch")
    expected = r"lean-ops-dev on AWS.*SendMessageBatch to succeed, found AccessDenied: no; .*your permissions"
    with pytest.raises(TargetRefused, match=expected), target.reached():
        raise refused
