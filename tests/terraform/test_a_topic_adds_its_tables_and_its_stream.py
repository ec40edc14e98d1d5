"""A topic adds its tables, its stream and its contract to the plan: no role, alarm, schedule or log group."""

from lean_ops.checks.many_topics import added, plan_of
from lean_ops.environment.repository import contract_files


def test_a_topic_adds_six_resources_and_no_function_changes() -> None:
    fewer, more = plan_of(len(contract_files())), plan_of(12)
    assert added(fewer, more) == {
        "aws_glue_catalog_table": 4,
        "aws_kinesis_firehose_delivery_stream": 1,
        "aws_s3_object": 1,
    }
    settings, policies = (
        [{one[key]: one[value] for one in found.plan.of(kind)} for found in (fewer, more)]
        for kind, key, value in (
            ("aws_lambda_function", "function_name", "environment"),
            ("aws_iam_role_policy", "name", "policy"),
        )
    )
    assert settings[0] == settings[1]
    assert policies[0].keys() == policies[1].keys()
