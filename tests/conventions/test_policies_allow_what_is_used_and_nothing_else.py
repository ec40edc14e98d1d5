"""Each role may do what its code does, nothing that other roles do, and nothing that no code does.

The policies are rendered and evaluated by the policy engine of the emulator that the local stack pins: it
implements IAM's evaluation (explicit denials, resource patterns, condition operators) and is kept. The
services' own simulator needs an account.
"""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lean_ops.environment.repository import LAMBDA_CODE, STATE_MACHINE

from .check_tools import check_tool
from .policy_calls import (
    CALLS,
    CHECKPOINTS,
    DATA,
    JOB_RULE,
    MACHINE,
    MADE_BY,
    MADE_BY_LAMBDA,
    VALUES,
    WILDCARDS,
    Call,
    arn,
)
from .policy_engine import BASE, FUNCTIONS, POLICIES, decision, listed, policy, rendered

ROOT = Path(__file__).parents[2]
SERVICES = [
    "delivery",
    "function-schedule",
    "iot-rule",
    "pipeline",
    "pipeline-spark",
    "snowflake-catalog",
    "snowflake-storage",
    "spark-job",
]
# Of roles that are not this project's: nothing bounds them here.
PEOPLE = ["athena-reader"]
ROLES = [*FUNCTIONS, *SERVICES, *PEOPLE]
CI = ["boundary", "ci-apply", "ci-apply-lake", "ci-apply-roles", "ci-plan", "ci-plan-lake", "ci-smoke"]
RESOURCE_POLICIES = ["alarm-topic", "encryption-key", "lake-bucket", "queue"]
TRUST = ["trust-account", "trust-external", "trust-github", "trust-lambda", "trust-source"]


def test_every_policy_file_has_its_place() -> None:
    names = {path.stem for path in POLICIES.glob("*.json")}
    assert names == {*ROLES, BASE, *CI, *RESOURCE_POLICIES, *TRUST}
    assert CALLS.keys() == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_make_its_own_calls(role: str) -> None:
    refused = [call for call in CALLS[role] if decision(policy(role), call) != "Allow"]
    assert refused == []


def right(call: Call) -> tuple[str, str]:
    """What a call needs: an action on a folder of the lake, through a service, or on one resource.

    A view is named like its table, and policies name tables by how they begin.
    """
    if call.action.startswith("kms:"):
        return call.action, dict(call.context)["kms:viaservice"]
    resource = re.sub(r"(:table/\w+/\w+)_current$", r"\1", call.resource)
    return call.action, re.sub(r"(:::lake/[^/]+)/.*", r"\1", resource)


@pytest.mark.parametrize("role", FUNCTIONS + SERVICES)
def test_a_role_may_not_make_the_calls_of_others(role: str) -> None:
    own = {right(call) for call in CALLS[role]}
    others = [call for other in FUNCTIONS + SERVICES for call in CALLS[other] if right(call) not in own]
    allowed = [call for call in others if decision(policy(role), call) == "Allow"]
    assert allowed == []
    assert len(others) > len(own)


@pytest.mark.parametrize("role", PEOPLE)
def test_people_who_read_may_change_nothing_that_a_role_changes(role: str) -> None:
    """They may look at whatever table there is, as roles do."""
    looks = re.compile(r"\w+:(Get|List|Decrypt|GenerateDataKey)")
    changes = [c for other in FUNCTIONS + SERVICES for c in CALLS[other] if not looks.match(c.action)]
    assert len(changes) > len(CALLS[role])
    assert [call for call in changes if decision(policy(role), call) == "Allow"] == []


def test_the_look_up_reads_no_rows_and_a_job_lists_its_own_layers() -> None:
    rows = Call("s3:GetObject", f"arn:aws:s3:::lake/curated_events/{DATA}")
    assert decision(policy("get-all-checkpoints"), rows) == "ImplicitDeny"
    foreign = Call("s3:ListBucket", "arn:aws:s3:::lake", (("s3:prefix", "semantic_events/"),))
    assert decision(policy("curation"), foreign) == "ImplicitDeny"


def parts(statement: dict[str, Any], element: str) -> Iterator[dict[str, Any]]:
    """The statement once for each action, or each resource, alone."""
    for value in listed(statement[element]):
        yield statement | {element: value}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("element", ["Action", "Resource"])
def test_every_grant_is_used(role: str, element: str) -> None:
    """Every action of every statement, and every resource, allows some call of the role."""
    unused = [
        (part["Sid"], part[element])
        for statement in policy(role)["Statement"]
        for part in parts(statement, element)
        if not any(decision({"Statement": [part]}, call) == "Allow" for call in CALLS[role])
    ]
    assert unused == []


def test_the_pipeline_calls_what_its_definition_says() -> None:
    """And nothing else, beside logs, traces and the key of its table."""
    definition = json.loads(STATE_MACHINE.read_text())
    functions = {f"{f.replace('-', '_')}_arn": f for f in FUNCTIONS}
    said: set[tuple[str, str]] = set()
    for state in definition["States"].values():
        match state.get("Resource", "").rpartition(":::")[2]:
            case "lambda:invoke":
                function = functions[state["Parameters"]["FunctionName"].strip("${}")]
                said.add(("lambda:InvokeFunction", arn("lambda", f"function:lean-ops-dev-{function}:live")))
            case "dynamodb:updateItem":
                said.add(("dynamodb:UpdateItem", CHECKPOINTS))
            case "states:startExecution":
                said.add(("states:StartExecution", MACHINE))
            case "emr-serverless:startJobRun.sync":
                said |= {(c.action, c.resource) for c in CALLS["pipeline-spark"]}
                said |= {(f"events:{a}", JOB_RULE) for a in ("PutRule", "PutTargets", "DescribeRule")}
            case other:
                assert other == "", f"an integration without a right: {other}"
    plumbing = ("logs:", "xray:", "kms:")
    may = {(c.action, c.resource) for role in ("pipeline", "pipeline-spark") for c in CALLS[role]}
    assert said == {(action, resource) for action, resource in may if not action.startswith(plumbing)}


def reached(module: str, seen: set[str]) -> Iterator[Path]:
    """Files of this repository that importing ``module`` reads."""
    path = LAMBDA_CODE / (module.replace(".", "/") + ".py")
    path = path if path.exists() else LAMBDA_CODE / module.replace(".", "/") / "__init__.py"
    if module in seen or not path.exists():
        return
    seen.add(module)
    yield path
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from reached(node.module, seen)
            for alias in node.names:
                yield from reached(f"{node.module}.{alias.name}", seen)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_grant_of_a_function_is_a_call_in_its_code(function: str) -> None:
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for path in reached(f"{function.replace('-', '_')}.handler", set())
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    granted = {a for s in policy(function)["Statement"] for a in listed(s["Action"])} - MADE_BY_LAMBDA
    assert [a for a in sorted(granted) if not MADE_BY[a] & calls] == []


def stars(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Each statement of a policy that is granted on every resource, with what to say about it."""
    for statement in json.loads(text)["Statement"]:
        if statement["Effect"] == "Allow" and "*" in listed(statement.get("Resource", [])):
            line = text[: text.index(f'"{statement["Sid"]}"')].count("\n") + 1
            where = f"infra/policies/{name}.json:{line}: statement {statement['Sid']}"
            remedy = "narrow it, or say in WILDCARDS (policy_calls.py) why AWS takes nothing narrower"
            yield statement["Sid"], f'{where}: expected ARNs, found "Resource": "*"; {remedy}'


def test_a_star_is_only_where_nothing_narrower_exists() -> None:
    traced = {(name, "SendTraces") for name in (BASE, "pipeline")}
    found = {
        (path.stem, sid): sentence
        for path in POLICIES.glob("*.json")
        for sid, sentence in stars(path.stem, path.read_text())
    }
    assert [found[star] for star in found.keys() - traced - WILDCARDS.keys()] == []
    assert WILDCARDS.keys() <= found.keys(), "a reason for a star that is gone"


def test_a_planted_star_is_named_with_its_line_and_what_to_do() -> None:
    text = (POLICIES / "curation.json").read_text()
    statement = {"Sid": "ReadAll", "Effect": "Allow", "Action": "s3:GetObject", "Resource": ["*"]}
    planted = json.loads(text)
    planted["Statement"].insert(0, statement)

    ((sid, sentence), *_) = stars("curation", json.dumps(planted, indent=2))

    assert sid == "ReadAll"
    assert sentence.startswith("infra/policies/curation.json:5: statement ReadAll: expected ARNs")
    assert "narrow it" in sentence


@pytest.mark.parametrize("name", [*ROLES, *CI])
def test_no_statement_grants_all_actions_of_a_service(name: str) -> None:
    assert not [
        a
        for s in policy(name)["Statement"]
        for a in listed(s["Action"])
        if s["Effect"] == "Allow" and "*" in a
    ]


@pytest.mark.parametrize("name", ROLES)
def test_keys_are_used_through_a_service_only(name: str) -> None:
    for statement in policy(name)["Statement"]:
        if any(a.startswith("kms:") for a in listed(statement["Action"])):
            assert "kms:ViaService" in statement["Condition"]["StringEquals"]


_ESCALATIONS = """
import json, sys
from cloudsplaining.scan.policy_document import PolicyDocument
found = {name: [e["type"] for e in PolicyDocument(document).allows_privilege_escalation]
         for name, document in json.load(sys.stdin).items()}
json.dump(found, sys.stdout)
"""
# Who deploys makes roles and hands them to services; what such a role may do is bounded.
ESCALATIONS = {"ci-apply-roles": {"iam:CreateRole": "boundary", "iam:PutRolePolicy": "boundary"}}


def test_no_role_can_give_itself_more() -> None:
    documents = {name: policy(name) for name in [*ROLES, *CI]}
    done = subprocess.run(
        [check_tool("python"), "-c", _ESCALATIONS],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name for name, escalations in json.loads(done.stdout).items() if escalations}
    assert found <= ESCALATIONS.keys()
    for statement in policy("ci-apply-roles")["Statement"]:
        actions = set(listed(statement["Action"]))
        if statement["Effect"] == "Allow" and actions & ESCALATIONS["ci-apply-roles"].keys():
            boundary = statement["Condition"]["StringEquals"]["iam:PermissionsBoundary"]
            assert boundary == VALUES["boundary_arn"]
        if "iam:PassRole" in actions and statement["Effect"] == "Allow":
            assert "iam:PassedToService" in statement["Condition"]["StringEquals"]


def test_the_deploying_role_cannot_touch_itself_or_the_boundary() -> None:
    own = "arn:aws:iam::000000000000:role/lean-ops-dev-ci-apply"
    boundary = (("iam:permissionsboundary", VALUES["boundary_arn"]),)
    for action in ("PutRolePolicy", "DeleteRole", "DeleteRolePermissionsBoundary"):
        assert decision(policy("ci-apply-roles"), Call(f"iam:{action}", own, boundary)) == "Deny"
    other = "arn:aws:iam::000000000000:role/lean-ops-dev-curation"
    assert decision(policy("ci-apply-roles"), Call("iam:CreateRole", other, boundary)) == "Allow"
    assert decision(policy("ci-apply-roles"), Call("iam:CreateRole", other)) == "ImplicitDeny"


@pytest.mark.parametrize("role", [role for role in ROLES if role not in PEOPLE])
def test_the_boundary_leaves_every_role_its_calls(role: str) -> None:
    tags = (("aws:resourcetag/project", "lean-ops"), ("aws:resourcetag/environment", "dev"))
    calls = [c._replace(context=(*c.context, *tags)) for c in CALLS[role]]
    assert [c for c in calls if decision(policy("boundary"), c) != "Allow"] == []


# The longest that the variables of root module and bootstrap admit, in a region of the longest name.
PREFIX = f"{'p' * 20}-staging"
LONGEST = VALUES | {
    "region": "ap-northeast-1", "project": "p" * 20, "env": "staging", "name_prefix": PREFIX,
    "database": PREFIX.replace("-", "_"), "lake_bucket": f"{PREFIX}-lake-000000000000",
    "kms_key_arn": f"arn:aws:kms:ap-northeast-1:000000000000:key/{'0' * 36}",
    "state_bucket": f"{PREFIX}-terraform-state-000000000000", "lock_table": f"{PREFIX}-terraform-locks",
    "state_key": f"{'p' * 20}/staging/terraform.tfstate",
    "queue_name": f"{PREFIX}-source", "topic_name": f"{PREFIX}-governance",
    "boundary_arn": f"arn:aws:iam::000000000000:policy/{PREFIX}-boundary",
    "spark_application_id": "0" * 16,
    "function_name": f"{PREFIX}-{max(FUNCTIONS, key=len)}", "service": "scheduler.amazonaws.com",
    "source_arn": f"arn:aws:scheduler:ap-northeast-1:000000000000:schedule-group/{PREFIX}",
    # GitHub: 39 characters of an owner, 100 of a repository.
    "repository": f"{'o' * 39}/{'r' * 100}", "github_environment": "staging-plan",
}  # fmt: skip
# Characters without white space (IAM and KMS quotas; policies of queues, topics and buckets take more).
LIMITS = {
    **dict.fromkeys(ROLES, 10_240), **dict.fromkeys(CI, 6_144), **dict.fromkeys(TRUST, 2_048),
    **dict.fromkeys(RESOURCE_POLICIES, 20_480),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_policies_fit_their_kind_with_the_longest_names(name: str) -> None:
    document = rendered(name, LONGEST)
    assert len(json.dumps(document, separators=(",", ":"))) <= LIMITS[name]


def test_a_start_is_judged_on_the_machine_and_through_its_alias_only() -> None:
    for role in ("dispatcher", "pipeline"):
        machine, alias = MACHINE, (("states:statemachinequalifier", "live"),)
        assert decision(policy(role), Call("states:StartExecution", machine, alias)) == "Allow"
        assert decision(policy(role), Call("states:StartExecution", machine)) == "ImplicitDeny"
        other = (("states:statemachinequalifier", "other"),)
        assert decision(policy(role), Call("states:StartExecution", machine, other)) == "ImplicitDeny"


def test_no_policy_is_written_in_terraform() -> None:
    text = "".join(p.read_text() for p in ROOT.glob("**/*.tf") if ".terraform" not in p.parts)
    assert not re.search(r"aws_iam_policy_document|\"Version\"|2012-10-17", text)
