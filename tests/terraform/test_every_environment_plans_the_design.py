"""The plan of each environment holds every resource of the design, under its name, from the shared files."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from common.contract.contracts import load_contract
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER, TableSpec
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from lean_ops.checks.planned import Plan
from lean_ops.environment import alarm_catalogue
from lean_ops.environment.repository import (
    ROOT,
    TABLE_SPECIFICATIONS,
    contract_files,
    function_catalogue,
    operations_queries,
    render,
    saved_queries,
)
from lean_ops.environment.target import Target

from ..conventions.policy_engine import rendered

ACCOUNT = "000000000000"
REGION = "eu-west-1"
NAMED = re.compile(
    r"(alias/|/aws/(lambda|kinesisfirehose|vendedlogs/states)/)?lean-ops-(dev|staging|prod)(-[a-z0-9-]+|/[a-z-]+|(/[a-z0-9_]+){2})?"
)


@pytest.fixture
def target(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The same environment as the command line knows it."""
    monkeypatch.setattr(Target, "account", ACCOUNT)
    return Target.aws(plan.env, region=REGION)


def test_every_name_starts_with_project_and_environment(plan: Plan) -> None:
    glue = {"aws_glue_catalog_table", "aws_glue_catalog_database"}
    # Named inside what they belong to, or naming another resource.
    others = {
        "aws_sfn_alias", "aws_lambda_alias", "aws_cloudwatch_log_stream", "aws_lambda_event_source_mapping",
    }  # fmt: skip
    for resource in plan.resources:
        for attribute in ("name", "function_name", "alarm_name", "dashboard_name", "layer_name", "bucket"):
            name = resource.values.get(attribute)
            if not name or resource.kind in others:
                continue
            if resource.kind in glue:
                assert "-" not in name, resource.address
                continue
            assert NAMED.fullmatch(name), f"{resource.address}: {attribute} is {name}"
            assert f"lean-ops-{plan.env}" in name


def test_names_are_those_that_the_command_line_expects(plan: Plan, target: Target) -> None:
    assert plan.names("aws_sqs_queue") == {target.source_queue, target.dead_letter_queue}
    state = {target.checkpoints_table, target.drift_log_table, target.audit_table}
    assert plan.names("aws_dynamodb_table") == state
    assert plan.names("aws_s3_bucket", "bucket") == {target.lake_bucket}
    assert plan.names("aws_glue_catalog_database") == {target.database}
    assert plan.names("aws_sfn_state_machine") == {target.state_machine}
    assert target.pii_key_secret in plan.names("aws_secretsmanager_secret")
    functions = {target.function(entry.name) for entry in function_catalogue()}
    assert plan.names("aws_lambda_function", "function_name") == functions
    streams = {target.settings.delivery_stream(topic) for topic in target.topics}
    assert plan.names("aws_kinesis_firehose_delivery_stream") == streams
    tables = {f"{layer}_{topic}" for topic in target.topics for layer in LAYERS}
    tables |= {f"{OPERATIONS_LAYER}_{name}" for name in OPERATIONS}
    assert plan.names("aws_glue_catalog_table") == tables


def alarm_names(plan: Plan) -> set[str]:
    subjects: dict[str | None, Iterable[str | None]] = {
        None: [None],
        "topic": [None],  # the worst of all; no environment here has topics of its own alarms
        "function": alarm_catalogue.watched_functions(),
    }
    return {
        "-".join(part for part in ("lean-ops", plan.env, entry, subject) if part)
        for entry, alarm in alarm_catalogue.load().alarms.items()
        for subject in subjects[alarm.per]
    }


def test_every_alarm_of_the_catalogue_is_planned(plan: Plan) -> None:
    assert plan.names("aws_cloudwatch_metric_alarm", "alarm_name") == alarm_names(plan)


def test_every_resource_of_the_design_is_planned(plan: Plan) -> None:
    catalogue, monitoring = function_catalogue(), alarm_catalogue.load()
    topics, functions = len(contract_files()), len(catalogue)
    layers = len({layer for entry in catalogue for layer in entry.layers})
    schedules = len([entry for entry in catalogue if entry.schedule])
    listeners = sum(len(entry.alarm_topics) for entry in catalogue)
    asynchronous = len([entry for entry in catalogue if entry.schedule or entry.alarm_topics])
    roles = functions + schedules + 2  # Firehose's and the state machine's
    found = Counter(r.kind for r in plan.resources)
    assert found == Counter({
        "aws_sqs_queue": 2, "aws_sqs_queue_policy": 2, "aws_sqs_queue_redrive_allow_policy": 1,
        "aws_lambda_event_source_mapping": 1, "aws_kinesis_firehose_delivery_stream": topics,
        "aws_cloudwatch_log_stream": 1, "aws_cloudwatch_log_group": functions + 2,
        "aws_s3_bucket": 1, "aws_s3_bucket_versioning": 1, "aws_s3_bucket_policy": 1,
        "aws_s3_bucket_server_side_encryption_configuration": 1, "aws_s3_bucket_public_access_block": 1,
        "aws_s3_bucket_ownership_controls": 1, "aws_s3_bucket_lifecycle_configuration": 1,
        "aws_s3_object": topics + layers + 1, "aws_glue_catalog_database": 1,
        "aws_glue_catalog_table": 4 * topics + len(OPERATIONS),
        "aws_dynamodb_table": 3, "aws_lambda_function": functions, "aws_lambda_alias": functions,
        "aws_lambda_layer_version": layers,
        "aws_lambda_permission": listeners, "aws_sns_topic_subscription": listeners,
        "aws_lambda_function_event_invoke_config": asynchronous,
        "aws_iam_role": roles, "aws_iam_role_policy": roles,
        "aws_sfn_state_machine": 1, "aws_sfn_alias": 1, "aws_scheduler_schedule_group": 1,
        "aws_scheduler_schedule": schedules,
        "aws_cloudwatch_metric_alarm": len(alarm_names(plan)), "aws_cloudwatch_dashboard": 1,
        "aws_cloudwatch_query_definition": len([*ROOT.glob("modules/monitoring/queries/*.logsinsights")]),
        "aws_sns_topic": len(monitoring.topics), "aws_sns_topic_policy": len(monitoring.topics),
        "aws_athena_workgroup": 1,
        "aws_athena_named_query": len(saved_queries("events", "lake")) + len(operations_queries()),
        "aws_kms_key": 1, "aws_kms_alias": 1, "aws_budgets_budget": 1, "aws_secretsmanager_secret": 3,
    }) - Counter()  # fmt: skip


def test_the_registry_says_what_the_local_stack_says(plan: Plan, target: Target) -> None:
    (content,) = [o["content"] for o in plan.of("aws_s3_object") if o["key"] == REGISTRY_KEY]
    contracts = contract_files()
    expected = registry_of({topic: Topic(contract=topic in contracts) for topic in target.topics})
    assert json.loads(content) == json.loads(expected.written())


def test_functions_are_what_the_catalogue_says(plan: Plan, target: Target) -> None:
    functions = {f["function_name"]: f for f in plan.of("aws_lambda_function")}
    for entry in function_catalogue():
        function = functions[target.function(entry.name)]
        assert function["handler"] == entry.handler
        assert function["runtime"] == entry.runtime
        assert (function["memory_size"], function["timeout"]) == (entry.memory_mb, entry.timeout_s)
        assert function["architectures"] == ["arm64"]
        variables = function["environment"][0]["variables"]
        assert variables.keys() == entry.environment.keys()
        assert not [v for v in variables.values() if "${" in v]


def test_functions_start_when_the_catalogue_says(plan: Plan, target: Target) -> None:
    schedules = {s["name"]: s for s in plan.of("aws_scheduler_schedule")}
    subscriptions = plan.addresses("aws_sns_topic_subscription")
    permissions = plan.addresses("aws_lambda_permission")
    for entry in function_catalogue():
        name = target.function(entry.name)
        if entry.schedule:
            expected = render(entry.schedule, {"schedule_rate": "15 minutes"})
            assert schedules[name]["schedule_expression"] == expected
            assert json.loads(schedules[name]["target"][0]["input"]) == {"trigger": "schedule"}
        else:
            assert name not in schedules
        for topic in entry.alarm_topics:
            key = f"{entry.name}-{topic}"
            assert f'module.compute.aws_sns_topic_subscription.function["{key}"]' in subscriptions
            assert f'module.compute.aws_lambda_permission.alarm["{key}"]' in permissions


def iceberg_table(plan: Plan, name: str) -> dict[str, Any]:
    (table,) = [t for t in plan.of("aws_glue_catalog_table") if t["name"] == name]
    iceberg = table["open_table_format_input"][0]["iceberg_input"][0]
    return {**iceberg["iceberg_table_input"][0], "version": iceberg["version"]}


@pytest.mark.parametrize("topic", contract_files())
@pytest.mark.parametrize("layer", LAYERS)
def test_tables_are_created_from_the_specifications(
    plan: Plan, target: Target, layer: str, topic: str
) -> None:
    contract = load_contract(contract_files()[topic].read_text(), topic)
    spec = TableSpec.load(TABLE_SPECIFICATIONS, layer, low_volume=contract.low_volume)
    check_table(plan, target, f"{layer}_{topic}", spec)


@pytest.mark.parametrize("name", OPERATIONS)
def test_tables_of_what_runs_did_are_created_from_theirs(plan: Plan, target: Target, name: str) -> None:
    spec = TableSpec.load(TABLE_SPECIFICATIONS, f"{OPERATIONS_LAYER}_{name}")
    check_table(plan, target, f"{OPERATIONS_LAYER}_{name}", spec)


def check_table(plan: Plan, target: Target, name: str, spec: TableSpec) -> None:
    found = iceberg_table(plan, name)
    assert found["location"] == f"s3://{target.lake_bucket}/{name}"
    assert found["properties"] | {"format-version": found["version"]} == spec.properties
    fields = found["schema"][0]["fields"]
    columns = [(f["id"], f["name"], json.loads(f["type"]), f["required"]) for f in fields]
    assert columns == [(f.field_id, f.name, str(f.field_type), f.required) for f in spec.schema.fields]
    partitions = [
        (f["source_id"], f["field_id"], f["transform"], f["name"])
        for f in found["partition_spec"][0]["fields"]
    ]
    assert partitions == [
        (f.source_id, f.field_id, str(f.transform), f.name) for f in spec.partition_spec.fields
    ]
    order = [
        (f["source_id"], f["direction"], f["null_order"])
        for block in found["sort_order"]
        for f in block["fields"]
    ]
    assert order == [(f.source_id, f.direction.value, f.null_order.value) for f in spec.sort_order.fields]


def test_saved_queries_are_the_files_that_the_tests_run(plan: Plan, target: Target) -> None:
    expected = {
        f"{target.name_prefix}/events/{name}": text
        for name, text in saved_queries("events", target.database).items()
    } | {f"{target.name_prefix}/operations/{name}": text for name, text in operations_queries().items()}
    queries = plan.of("aws_athena_named_query")
    assert {query["name"]: query["query"] for query in queries} == expected
    assert {query["workgroup"] for query in queries} == {target.name_prefix}
    assert all(expected[query["name"]].startswith(f"-- {query['description']}\n") for query in queries)


def test_nobody_but_the_function_looks_after_the_tables(plan: Plan) -> None:
    assert plan.of("aws_glue_catalog_table_optimizer") == []


def test_policies_are_the_files_of_the_repository_rendered(plan: Plan, target: Target) -> None:
    policies = plan.of("aws_iam_role_policy")
    values = {
        "partition": "aws", "region": REGION, "account": ACCOUNT, "project": "lean-ops", "env": plan.env,
        "name_prefix": target.name_prefix, "database": target.database, "lake_bucket": target.lake_bucket,
        "kms_key_arn": re.findall(r'arn:aws:kms:[^"]*', policies[0]["policy"])[0],
    }  # fmt: skip
    for role in policies:
        own = dict(values)
        name = role["name"].removeprefix(f"{target.name_prefix}-")
        if name.startswith("schedule-"):
            own |= {"function_name": f"{target.name_prefix}-{name.removeprefix('schedule-')}"}
            name = "function-schedule"
        else:
            own |= {"function_name": role["name"]}
        assert json.loads(role["policy"]) == rendered(name, own), role["name"]


def test_the_rendered_state_machine_passes_a_validator(plan: Plan, tmp_path: Path) -> None:
    (machine,) = plan.of("aws_sfn_state_machine")
    assert "${" not in machine["definition"]
    properties = {
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "Definition": json.loads(machine["definition"]),
    }
    resource = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"Resources": {"Pipeline": resource}}))
    lint = subprocess.run([ROOT / ".venv-tools/bin/cfn-lint", template], capture_output=True, check=False)
    assert lint.returncode == 0, lint.stdout


@pytest.mark.parametrize("workspace", ["staging", "prod"])
def test_a_workspace_of_another_environment_is_refused(
    workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_WORKSPACE", workspace)
    done = subprocess.run(
        ["infra/with-provider", "terraform", "test", "-no-color",
         "-test-directory=tests/environments", "-var-file=environments/dev.tfvars"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f'expected the workspace "default" or "dev", found "{workspace}"' in " ".join(done.stderr.split())
