"""Everything that holds data is encrypted with the environment's key, kept, and not deleted by mistake."""

import json
from typing import Any

import pytest

from lean_ops.checks.planned import Plan
from lean_ops.environment.repository import function_catalogue

DAY_S = 86_400
KEY = "arn:aws:kms:eu-west-1:000000000000:key/00000000-0000-0000-0000-000000000000"


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    (one,) = found
    return one


def test_state_is_restorable_and_protected_from_deletion(plan: Plan) -> None:
    for table in plan.of("aws_dynamodb_table"):
        assert table["billing_mode"] == "PAY_PER_REQUEST"
        assert table["deletion_protection_enabled"]
        assert only(table["point_in_time_recovery"])["enabled"]
        assert only(table["server_side_encryption"]) == {"enabled": True, "kms_key_arn": KEY}


def test_leases_and_drift_expire_and_the_audit_does_not(plan: Plan) -> None:
    expiring = {t["name"] for t in plan.of("aws_dynamodb_table") if any(ttl["enabled"] for ttl in t["ttl"])}
    assert expiring == {f"lean-ops-{plan.env}-{name}" for name in ("checkpoints", "drift-log")}


def test_queues_keep_messages_as_long_as_they_may(plan: Plan) -> None:
    queues = {q["name"].rpartition("-")[2]: q for q in plan.of("aws_sqs_queue")}
    assert {name: q["kms_master_key_id"] for name, q in queues.items()} == {"source": KEY, "dlq": KEY}
    assert queues["dlq"]["message_retention_seconds"] == 14 * DAY_S
    assert queues["source"]["message_retention_seconds"] == 4 * DAY_S


def test_a_message_stays_hidden_for_six_timeouts_and_the_window(plan: Plan) -> None:
    timeout = {entry.name: entry.timeout_s for entry in function_catalogue()}["sqs_processor"]
    mapping = only(plan.of("aws_lambda_event_source_mapping"))
    (source,) = [q for q in plan.of("aws_sqs_queue") if q["name"].endswith("-source")]
    window = mapping["maximum_batching_window_in_seconds"]
    assert source["visibility_timeout_seconds"] == 6 * timeout + window
    assert 10 <= mapping["batch_size"] <= 10_000
    assert 2 <= only(mapping["scaling_config"])["maximum_concurrency"] <= 1_000


def test_streams_only_append_and_keep_what_fails(plan: Plan) -> None:
    for stream in plan.of("aws_kinesis_firehose_delivery_stream"):
        iceberg = only(stream["iceberg_configuration"])
        assert iceberg["append_only"]
        assert iceberg["s3_backup_mode"] == "FailedDataOnly"
        assert only(iceberg["s3_configuration"])["error_output_prefix"].startswith("delivery-errors/")
        assert only(stream["server_side_encryption"]) == {
            "enabled": True, "key_arn": KEY, "key_type": "CUSTOMER_MANAGED_CMK",
        }  # fmt: skip


def test_the_lake_is_private_versioned_and_encrypted(plan: Plan) -> None:
    access = only(plan.of("aws_s3_bucket_public_access_block"))
    assert all(
        access[name]
        for name in (
            "block_public_acls",
            "block_public_policy",
            "ignore_public_acls",
            "restrict_public_buckets",
        )
    )
    versioning = only(plan.of("aws_s3_bucket_versioning"))
    assert only(versioning["versioning_configuration"])["status"] == "Enabled"
    rule = only(only(plan.of("aws_s3_bucket_server_side_encryption_configuration"))["rule"])
    default = only(rule["apply_server_side_encryption_by_default"])
    assert (default["sse_algorithm"], default["kms_master_key_id"]) == ("aws:kms", KEY)
    ownership = only(only(plan.of("aws_s3_bucket_ownership_controls"))["rule"])
    assert ownership["object_ownership"] == "BucketOwnerEnforced"


def test_no_rule_expires_an_object_of_a_table(plan: Plan) -> None:
    rules = only(plan.of("aws_s3_bucket_lifecycle_configuration"))["rule"]
    expiring = {filter_["prefix"] for rule in rules if rule["expiration"] for filter_ in rule["filter"]}
    assert expiring == {"delivery-errors/", "dead-letters/", "athena-results/"}


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("aws_sns_topic", "kms_master_key_id"),
        ("aws_cloudwatch_log_group", "kms_key_id"),
        ("aws_secretsmanager_secret", "kms_key_id"),
    ],
)
def test_topics_logs_and_secrets_use_the_key(plan: Plan, kind: str, attribute: str) -> None:
    assert {resource[attribute] for resource in plan.of(kind)} == {KEY}


def test_the_key_is_renewed_and_waits_a_month_before_it_goes(plan: Plan) -> None:
    key = only(plan.of("aws_kms_key"))
    assert key["enable_key_rotation"]
    assert key["deletion_window_in_days"] == 30


def test_everything_that_runs_is_logged_and_traced(plan: Plan) -> None:
    groups = plan.names("aws_cloudwatch_log_group")
    for function in plan.of("aws_lambda_function"):
        assert f"/aws/lambda/{function['function_name']}" in groups
        assert only(function["tracing_config"])["mode"] == "Active"
    machine = only(plan.of("aws_sfn_state_machine"))
    assert only(machine["logging_configuration"])["level"] == "ALL"
    assert only(machine["tracing_configuration"])["enabled"]
    assert all(group["retention_in_days"] >= 365 for group in plan.of("aws_cloudwatch_log_group"))


def test_the_dispatcher_looks_at_every_topic_every_quarter_of_an_hour(plan: Plan) -> None:
    looks = only([s for s in plan.of("aws_scheduler_schedule") if s["name"].endswith("-dispatcher")])
    assert looks["schedule_expression"] == "rate(15 minutes)"
    assert looks["state"] != "DISABLED"


def test_environments_differ_in_size_alone(plan: Plan) -> None:
    concurrency = {"dev": 5, "staging": 10, "prod": 50}
    mapping = only(plan.of("aws_lambda_event_source_mapping"))
    assert only(mapping["scaling_config"])["maximum_concurrency"] == concurrency[plan.env]


def test_services_take_roles_for_their_own_resources(plan: Plan) -> None:
    """Scheduler by its group, Step Functions by its machine; Firehose tells the account, by either word."""
    sources: dict[str, set[str]] = {}
    accounts: dict[str, list[str]] = {}
    for role in plan.of("aws_iam_role"):
        for statement in json.loads(role["assume_role_policy"])["Statement"]:
            service, condition = statement["Principal"]["Service"], statement.get("Condition", {})
            source = condition.get("ArnLike", {}).get("aws:SourceArn", "")
            sources.setdefault(service, set()).add(source.rpartition(":")[2])
            accounts.setdefault(service, []).extend(condition.get("StringEquals", {}))
    assert sources == {
        "firehose.amazonaws.com": {""},
        "lambda.amazonaws.com": {""},
        "scheduler.amazonaws.com": {f"schedule-group/lean-ops-{plan.env}"},
        "states.amazonaws.com": {f"lean-ops-{plan.env}-pipeline*"},
    }
    assert set(accounts["firehose.amazonaws.com"]) == {"sts:ExternalId", "aws:SourceAccount"}


def test_results_of_queries_are_encrypted_bounded_and_gone_after_a_week(plan: Plan) -> None:
    workgroup = only(only(plan.of("aws_athena_workgroup"))["configuration"])
    results = only(workgroup["result_configuration"])
    assert only(results["encryption_configuration"]) == {
        "encryption_option": "SSE_KMS",
        "kms_key_arn": KEY,
    }
    assert workgroup["enforce_workgroup_configuration"]
    assert workgroup["bytes_scanned_cutoff_per_query"] == 100 * 2**30
    assert only(workgroup["engine_version"])["selected_engine_version"] == "Athena engine version 3"
    bucket, _, prefix = results["output_location"].removeprefix("s3://").partition("/")
    assert {bucket} == plan.names("aws_s3_bucket", "bucket")
    rules = only(plan.of("aws_s3_bucket_lifecycle_configuration"))["rule"]
    rule = only([one for one in rules if one["filter"] and one["filter"][0].get("prefix") == prefix])
    assert only(rule["expiration"])["days"] == 7
    assert only(rule["noncurrent_version_expiration"])["noncurrent_days"] == 1
