"""The engine that judges the policies of this repository decides what IAM's own rules say.

Each case is one rule of "Policy evaluation logic" or "IAM JSON policy elements" in the IAM user guide, for
the elements that the policies use. A test of the last one notices when they begin to use another operator.
"""

import json
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from lean_ops.environment.repository import ROOT

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:q"


def allow(action: str = "sqs:SendMessage", resource: str = QUEUE, **condition: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}


def deny(**condition: Any) -> dict[str, Any]:
    return allow(**condition) | {"Effect": "Deny"}


def decision(statements: list[dict[str, Any]], **context: Any) -> str:
    request = EvalContext(
        principal_arn="arn:aws:sts::000000000000:assumed-role/r/s", principal_type="AssumedRole",
        principal_account="000000000000", action="sqs:SendMessage", resource_arn=QUEUE, region="eu-west-1",
        source_ip="10.0.0.1", secure_transport=bool(context.pop("tls", True)), service_context=context,
    )  # fmt: skip
    document = {"Version": "2012-10-17", "Statement": statements}
    return str(evaluate(request, [parse_policy_document(document)]).decision)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], "ImplicitDeny"),
        ([allow()], "Allow"),
        ([allow(), deny()], "Deny"),
        ([deny(), allow()], "Deny"),
        ([allow(action="SQS:sendmessage")], "Allow"),  # actions are not case-sensitive
        ([allow(action="sqs:Send*")], "Allow"),
        ([allow(action="sqs:Receive*")], "ImplicitDeny"),
        ([allow(resource=QUEUE.replace(":q", ":?"))], "Allow"),
        ([allow(resource=QUEUE.replace(":q", ":Q"))], "ImplicitDeny"),  # resources are
        ([allow(resource="arn:aws:sqs:*:*:*")], "Allow"),
        ([allow(resource=f"{QUEUE}-*")], "ImplicitDeny"),
        ([deny(Bool={"aws:SecureTransport": "false"}), allow()], "Allow"),
    ],
)
def test_an_explicit_denial_wins_and_silence_denies(statements: list[dict[str, Any]], expected: str) -> None:
    assert decision(statements) == expected


def test_an_unencrypted_request_is_told_apart() -> None:
    assert decision([deny(Bool={"aws:SecureTransport": "false"}), allow()], tls=False) == "Deny"


CONDITIONS = [
    ("StringEquals", {"kms:viaservice": "sqs"}, {"kms:viaservice": "sqs"}, "Allow"),
    ("StringEquals", {"kms:viaservice": ["s3", "sqs"]}, {"kms:viaservice": "sqs"}, "Allow"),
    ("StringEquals", {"kms:viaservice": "sqs"}, {"kms:viaservice": "s3"}, "ImplicitDeny"),
    ("StringEquals", {"kms:viaservice": "sqs"}, {}, "ImplicitDeny"),
    ("StringLike", {"s3:prefix": "raw_*"}, {"s3:prefix": "raw_events/"}, "Allow"),
    ("StringLike", {"s3:prefix": "raw_*"}, {"s3:prefix": "semantic_events/"}, "ImplicitDeny"),
    ("StringLikeIfExists", {"s3:prefix": "raw_*"}, {}, "Allow"),
    ("StringLikeIfExists", {"s3:prefix": "raw_*"}, {"s3:prefix": "semantic_events/"}, "ImplicitDeny"),
    ("ArnLike", {"aws:sourcearn": f"{QUEUE}-*"}, {"aws:sourcearn": f"{QUEUE}-1"}, "Allow"),
    ("ArnLike", {"aws:sourcearn": f"{QUEUE}-*"}, {"aws:sourcearn": QUEUE}, "ImplicitDeny"),
    ("ArnEquals", {"aws:sourcearn": QUEUE}, {"aws:sourcearn": QUEUE}, "Allow"),
    ("ArnEquals", {"aws:sourcearn": QUEUE}, {"aws:sourcearn": f"{QUEUE}2"}, "ImplicitDeny"),
    ("Bool", {"kms:grantisforawsresource": "true"}, {"kms:grantisforawsresource": "true"}, "Allow"),
    ("Bool", {"kms:grantisforawsresource": "true"}, {"kms:grantisforawsresource": "false"}, "ImplicitDeny"),
    ("Bool", {"kms:grantisforawsresource": "true"}, {}, "ImplicitDeny"),
    ("ForAllValues:StringEquals", {"k:keys": ["a", "b"]}, {"k:keys": ["a"]}, "Allow"),
    ("ForAllValues:StringEquals", {"k:keys": ["a", "b"]}, {"k:keys": ["a", "c"]}, "ImplicitDeny"),
    ("ForAllValues:StringEquals", {"k:keys": ["a", "b"]}, {}, "Allow"),
    ("ForAllValues:StringLike", {"k:keys": ["*#a", "b#*"]}, {"k:keys": ["x#a", "b#x"]}, "Allow"),
    ("ForAllValues:StringLike", {"k:keys": ["*#a"]}, {"k:keys": ["x#a", "x#b"]}, "ImplicitDeny"),
    ("Null", {"aws:resourcetag/project": "true"}, {}, "Allow"),
    ("Null", {"aws:resourcetag/project": "true"}, {"aws:resourcetag/project": "x"}, "ImplicitDeny"),
]


@pytest.mark.parametrize(("operator", "expected", "found", "verdict"), CONDITIONS)
def test_a_condition_holds_as_its_operator_says(
    operator: str, expected: dict[str, Any], found: dict[str, Any], verdict: str
) -> None:
    condition: dict[str, Any] = {operator: expected}
    assert decision([allow(**condition)], **found) == verdict


def test_two_operators_must_both_hold() -> None:
    both = allow(StringEquals={"a:b": "1"}, ArnLike={"aws:sourcearn": QUEUE})
    assert decision([both], **{"a:b": "1", "aws:sourcearn": QUEUE}) == "Allow"
    assert decision([both], **{"a:b": "1"}) == "ImplicitDeny"


def test_every_operator_of_the_policies_has_a_case() -> None:
    used = {
        operator
        for path in (ROOT / "infra/policies").glob("*.json")
        for statement in json.loads(path.read_text())["Statement"]
        for operator in statement.get("Condition", {})
    }
    assert used <= {operator for operator, *_ in CONDITIONS}
