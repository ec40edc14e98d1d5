"""Keys, queues, topics, the bucket and roles let in exactly whom their policies name, over TLS alone."""

import json
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy, evaluate_trust_policy

from lean_ops.environment.repository import ROOT, render

from .policy_calls import KEY, SOURCE, VALUES, arn

TOPIC = arn("sns", VALUES["topic_name"])
ALARM = arn("cloudwatch", "alarm:lean-ops-dev-pipeline-failed")
BUDGET = "arn:aws:budgets::000000000000:budget/lean-ops-dev-month"
LOGS = arn("logs", "log-group:/aws/lambda/lean-ops-dev-curation")
GITHUB = VALUES["oidc_host"]
PROVIDER = f"arn:aws:iam::000000000000:oidc-provider/{GITHUB}"


def document(name: str) -> dict[str, Any]:
    text = (ROOT / f"infra/policies/{name}.json").read_text()
    found: dict[str, Any] = json.loads(render(text, VALUES))
    return found


def request(action: str, resource: str, context: dict[str, str], tls: bool = True) -> EvalContext:
    return EvalContext(
        principal_arn="arn:aws:iam::000000000000:root", principal_type="Root",
        principal_account="000000000000", action=action, resource_arn=resource, region="eu-west-1",
        source_ip="10.0.0.1", secure_transport=tls, service_context=context,
    )  # fmt: skip


GROUP = VALUES["source_arn"]
HERE, ELSEWHERE = "000000000000", "111111111111"
ALARM_OF_PROD, LOGS_OF_PROD = ALARM.replace("-dev-", "-prod-"), LOGS.replace("-dev-", "-prod-")


@pytest.mark.parametrize(
    ("service", "context", "expected"),
    [
        ("cloudwatch", {"aws:sourceaccount": HERE, "aws:sourcearn": ALARM}, "Allow"),
        ("cloudwatch", {"aws:sourceaccount": ELSEWHERE, "aws:sourcearn": ALARM}, "ImplicitDeny"),
        ("cloudwatch", {"aws:sourceaccount": HERE, "aws:sourcearn": ALARM_OF_PROD}, "ImplicitDeny"),
        ("events", {"aws:sourceaccount": HERE, "aws:sourcearn": ALARM}, "ImplicitDeny"),
        ("budgets", {"aws:sourceaccount": HERE, "aws:sourcearn": BUDGET}, "Allow"),
        ("budgets", {"aws:sourceaccount": ELSEWHERE, "aws:sourcearn": BUDGET}, "ImplicitDeny"),
        ("budgets", {"aws:sourceaccount": HERE, "aws:sourcearn": ALARM}, "ImplicitDeny"),
    ],
)
def test_alarms_of_this_environment_reach_its_topics(
    service: str, context: dict[str, str], expected: str
) -> None:
    asked = request("sns:Publish", TOPIC, context)
    found = evaluate_resource_policy(document("alarm-topic"), asked, f"{service}.amazonaws.com")
    assert found.decision == expected


@pytest.mark.parametrize(
    ("service", "action", "context", "expected"),
    [
        ("cloudwatch", "kms:GenerateDataKey", {"aws:sourceaccount": HERE}, "Allow"),
        ("cloudwatch", "kms:GenerateDataKey", {"aws:sourceaccount": ELSEWHERE}, "ImplicitDeny"),
        ("budgets", "kms:GenerateDataKey", {"aws:sourceaccount": HERE}, "Allow"),
        ("budgets", "kms:GenerateDataKey", {"aws:sourceaccount": ELSEWHERE}, "ImplicitDeny"),
        ("logs.eu-west-1", "kms:Encrypt", {"kms:encryptioncontext:aws:logs:arn": LOGS}, "Allow"),
        (
            "logs.eu-west-1",
            "kms:Encrypt",
            {"kms:encryptioncontext:aws:logs:arn": LOGS_OF_PROD},
            "ImplicitDeny",
        ),
        ("s3", "kms:Decrypt", {"aws:sourceaccount": HERE}, "ImplicitDeny"),
    ],
)
def test_the_key_serves_alarms_and_logs_of_this_environment(
    service: str, action: str, context: dict[str, str], expected: str
) -> None:
    policy = document("encryption-key")
    # The account's own statement is about its roles, not about services.
    policy["Statement"] = [s for s in policy["Statement"] if s["Sid"] != "GovernByIdentityPolicies"]
    asked = request(action, KEY, context)
    assert evaluate_resource_policy(policy, asked, f"{service}.amazonaws.com").decision == expected


@pytest.mark.parametrize(
    ("name", "action", "resource"),
    [
        ("queue", "sqs:SendMessage", SOURCE),
        ("queue", "sqs:ReceiveMessage", SOURCE),
        ("lake-bucket", "s3:GetObject", "arn:aws:s3:::lake/raw_events/x"),
        ("lake-bucket", "s3:ListBucket", "arn:aws:s3:::lake"),
        ("alarm-topic", "sns:Publish", TOPIC),
    ],
)
def test_nobody_comes_in_without_tls(name: str, action: str, resource: str) -> None:
    plain = request(action, resource, {}, tls=False)
    assert evaluate_resource_policy(document(name), plain).decision == "Deny"
    assert evaluate_resource_policy(document(name), request(action, resource, {})).decision == "ImplicitDeny"


@pytest.mark.parametrize(
    ("subject", "audience", "expected"),
    [
        ("repo:owner/name:environment:dev", "sts.amazonaws.com", True),
        ("repo:owner/name:environment:prod", "sts.amazonaws.com", False),
        ("repo:owner/name:ref:refs/heads/main", "sts.amazonaws.com", False),
        ("repo:owner/name-fork:environment:dev", "sts.amazonaws.com", False),
        ("repo:other/name:environment:dev", "sts.amazonaws.com", False),
        ("repo:owner/name:environment:dev", "https://github.com/owner", False),
    ],
)
def test_ci_takes_a_role_from_its_repository_and_environment(
    subject: str, audience: str, expected: bool
) -> None:
    token = {f"{GITHUB}:sub": subject, f"{GITHUB}:aud": audience}
    asked = request("sts:AssumeRoleWithWebIdentity", "*", token)
    assert evaluate_trust_policy(document("trust-github"), PROVIDER, asked) is expected


@pytest.mark.parametrize(
    ("trust", "account", "source", "expected"),
    [
        ("trust-account", HERE, None, "Allow"),
        ("trust-account", ELSEWHERE, None, "ImplicitDeny"),
        ("trust-source", HERE, GROUP, "Allow"),
        ("trust-source", HERE, GROUP.replace("-dev", "-prod"), "ImplicitDeny"),
        ("trust-source", HERE, None, "ImplicitDeny"),
        ("trust-source", ELSEWHERE, GROUP, "ImplicitDeny"),
    ],
)
def test_a_service_takes_a_role_for_what_it_is_meant_for(
    trust: str, account: str, source: str | None, expected: str
) -> None:
    policy = document(trust)
    for statement in policy["Statement"]:
        statement["Resource"] = "*"  # a trust policy is about its role; the engine wants it said
    asked = {"aws:sourceaccount": account} | ({"aws:sourcearn": source} if source else {})
    found = evaluate_resource_policy(policy, request("sts:AssumeRole", "*", asked), VALUES["service"])
    assert found.decision == expected


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"sts:externalid": HERE}, "Allow"),
        ({"sts:externalid": ELSEWHERE}, "ImplicitDeny"),
        ({}, "ImplicitDeny"),
    ],
)
def test_firehose_may_say_the_account_as_external_id(context: dict[str, str], expected: str) -> None:
    policy = document("trust-account")
    for statement in policy["Statement"]:
        statement["Resource"] = "*"
    asked = request("sts:AssumeRole", "*", context)
    assert evaluate_resource_policy(policy, asked, VALUES["service"]).decision == expected


@pytest.mark.parametrize(
    ("principal", "external_id", "expected"),
    [
        (VALUES["principal_arn"], VALUES["external_id"], True),
        (VALUES["principal_arn"], "y", False),
        (VALUES["principal_arn"], None, False),
        ("arn:aws:iam::111111111111:user/other", VALUES["external_id"], False),
    ],
)
def test_an_outsider_is_the_agreed_one(principal: str, external_id: str | None, expected: bool) -> None:
    asked = request("sts:AssumeRole", "*", {"sts:externalid": external_id} if external_id else {})
    assert evaluate_trust_policy(document("trust-external"), principal, asked) is expected
