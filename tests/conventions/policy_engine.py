"""The policies of infra/policies, and what IAM decides of a call under one of them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from lean_ops.environment.repository import FUNCTION_CATALOGUE, ROOT, render

from .policy_calls import VALUES, Call

POLICIES: Final = ROOT / "infra/policies"
FUNCTIONS: Final = [
    name.replace("_", "-") for name in json.loads(FUNCTION_CATALOGUE.read_text())["functions"]
]
BASE: Final = "function"


def policy(name: str, values: Mapping[str, str] = VALUES) -> dict[str, Any]:
    """The policy of a role, rendered; the own name of a function stands in it."""
    return rendered(name, {**values, "function_name": f"{values['name_prefix']}-{name}"})


def rendered(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The policy as its role gets it: a function's with what every function may do (``modules/role``)."""
    document: dict[str, Any] = json.loads(render((POLICIES / f"{name}.json").read_text(), values))
    if name in FUNCTIONS:
        document["Statement"] += rendered(BASE, values)["Statement"]
    return document


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def decision(document: dict[str, Any], call: Call) -> str:
    """Allow, Deny or ImplicitDeny."""
    context = EvalContext(
        principal_arn="arn:aws:sts::000000000000:assumed-role/r/s",
        principal_type="AssumedRole",
        principal_account="000000000000",
        action=call.action,
        resource_arn=call.resource,
        region="eu-west-1",
        source_ip="10.0.0.1",
        secure_transport=True,
        service_context=dict(call.context),
    )
    verdict: str = evaluate(context, [parse_policy_document(document)]).decision
    return verdict
