"""Checks of what is deployed: functions, state machine, contracts, the hashing key, alarms."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.exceptions import ClientError

from common.contract.contracts import load_contract
from common.contract.store import contract_exists, read_contract
from common.runtime.errors import ContractError, ServiceFailure
from common.runtime.topics import named, read_registry
from lean_ops.environment.repository import contract_files, function_catalogue, state_machine_definition
from lean_ops.environment.target import Target
from lean_ops.operate.doctor.findings import Finding, Severity

_UNSURE: Final = "${"  # a value with a placeholder: Terraform knows it, this machine may not
_BROKEN: Final = frozenset({"Failed", "Inactive"})  # "Pending" passes by itself
_ALIAS: Final = ":live"  # how releases address a function; the local stack has no aliases


def functions(target: Target) -> Iterator[Finding]:
    """Every function of the catalogue is deployed as it says there, active, and may be invoked."""
    client = target.client("lambda")
    for entry in function_catalogue():
        name = target.function(entry.name)
        try:
            found = client.get_function_configuration(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            yield Finding(name, "expected a function, found none", target.deploy_advice)
            continue
        expected = {
            "Handler": entry.handler,
            "Runtime": entry.runtime,
            "MemorySize": entry.memory_mb,
            "Timeout": entry.timeout_s,
        }
        differences = {key: found.get(key) for key, value in expected.items() if found.get(key) != value}
        variables = found.get("Environment", {}).get("Variables", {})
        for key, value in entry.environment.items():
            if key not in variables or (_UNSURE not in value and variables[key] != value):
                differences[key] = variables.get(key, "nothing")
        if differences:
            listed = ", ".join(f"{key} {value}" for key, value in differences.items())
            yield Finding(name, f"expected it as in functions.json, found {listed}", target.deploy_advice)
        if found.get("State") in _BROKEN or found.get("LastUpdateStatus") in _BROKEN:
            why = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason given"
            yield Finding(
                name, f"expected it active, found {found.get('State')}: {why}", target.deploy_advice
            )
        # Asks whether the caller may invoke it with what it has; nothing runs.
        client.invoke(FunctionName=name, InvocationType="DryRun")


def state_machine(target: Target) -> Iterator[Finding]:
    """The deployed definition is the repository's."""
    client = target.client("stepfunctions")
    try:
        found = client.describe_state_machine(stateMachineArn=target.state_machine_arn)
    except client.exceptions.StateMachineDoesNotExist:
        yield Finding(target.state_machine, "expected a state machine, found none", target.deploy_advice)
        return
    prefix = f"arn:{target.partition}:lambda:{target.session.region_name}:{target.account}:function:"
    values = {f"{e.name}_arn": prefix + target.function(e.name) for e in function_catalogue()}
    values |= {
        "partition": target.partition,
        "checkpoints_table": target.checkpoints_table,
        "state_machine_arn": target.state_machine_arn,
    }
    deployed = json.loads(found["definition"].replace(f'{_ALIAS}"', '"'))
    expected = state_machine_definition(values | _of_spark(deployed))
    if deployed != expected:
        states = sorted(
            name
            for name in expected["States"].keys() | deployed.get("States", {}).keys()
            if expected["States"].get(name) != deployed.get("States", {}).get(name)
        )
        wrong = f"expected the definition of this checkout, found others in {', '.join(states) or 'its head'}"
        yield Finding(target.state_machine, wrong, target.deploy_advice)
    if found.get("status", "ACTIVE") != "ACTIVE":
        yield Finding(target.state_machine, f"expected ACTIVE, found {found['status']}", target.deploy_advice)


def _of_spark(deployed: dict[str, Any]) -> dict[str, str]:
    """What the deployed states for Spark say of the environment: application, role, artefacts, settings."""
    values: dict[str, Any] = {}
    for job, name in (("curation", "RunCurationOnSpark"), ("semantic", "RunSemanticOnSpark")):
        given = deployed.get("States", {}).get(name, {}).get("Parameters", {})
        submit = given.get("JobDriver", {}).get("SparkSubmit", {})
        values |= {
            "spark_application_id": given.get("ApplicationId"),
            "spark_job_role_arn": given.get("ExecutionRoleArn"),
            "spark_entry_point": submit.get("EntryPoint"),
            f"spark_{job}_parameters": submit.get("SparkSubmitParameters"),
        }
    return {name: str(value) for name, value in values.items()}


def topics(target: Target) -> Iterator[Finding]:
    """The registry, by which functions know the topics, names those of this checkout."""
    try:
        known = read_registry(target.client("s3"), target.lake_bucket).names
    except ServiceFailure as error:
        yield Finding("registry of topics", str(error), target.deploy_advice)
        return
    if not known >= set(target.topics):
        yield Finding(
            "registry of topics",
            f"expected {named(target.topics)} in the registry, found {named(known)}",
            target.deploy_advice,
        )
    elif others := known - set(target.topics):
        yield Finding(
            "registry of topics",
            f"it names {named(others)} as well, which commands here do not know",
            "set LEAN_OPS_TOPICS to them, or use a checkout that has their contracts",
            Severity.NOTE,
        )


def contracts(target: Target) -> Iterator[Finding]:
    """Every topic's deployed contract can be read, and is the one of this checkout."""
    s3, files = target.client("s3"), contract_files()
    for topic in target.topics:
        if not contract_exists(s3, target.lake_bucket, topic):
            if topic in files:
                wrong = f"expected contracts/{topic}.yaml to be deployed, found no contract"
                yield Finding(f"contract of {topic}", wrong, target.deploy_advice)
            else:
                yield Finding(
                    f"contract of {topic}",
                    "none: the topic stops at Curated",
                    f"write contracts/{topic}.yaml (docs/contracts.md) if it should go on",
                    Severity.NOTE,
                )
            continue
        text = read_contract(s3, target.lake_bucket, topic)
        try:
            load_contract(text, topic)
        except ContractError as error:
            yield Finding(f"contract of {topic}", str(error), f"mend it, then {target.deploy_advice}")
            continue
        if topic in files and files[topic].read_text() != text:
            yield Finding(
                f"contract of {topic}",
                f"the deployed contract differs from contracts/{topic}.yaml of this checkout",
                f"check which is meant, then `lean-ops contract publish --topic {topic}`, which brings its "
                f"rows along, or {target.deploy_advice}",
                Severity.NOTE,
            )


def secret(target: Target) -> Iterator[Finding]:
    """The key that personal data is hashed with is there; nobody reads it to know."""
    client = target.client("secretsmanager")
    try:
        versions = client.describe_secret(SecretId=target.pii_key_secret).get("VersionIdsToStages", {})
    except client.exceptions.ResourceNotFoundException:
        versions = {}
    if not any("AWSCURRENT" in stages for stages in versions.values()):
        yield Finding(
            target.pii_key_secret,
            "expected a key, found no secret or one without a value: topics with personal data stop at "
            "Curated",
            "put one (docs/deploy.md); never another one later, or hashes can no longer be joined",
        )


def alarms(target: Target) -> Iterator[Finding]:
    """No alarm is up."""
    pages = target.client("cloudwatch").get_paginator("describe_alarms")
    for page in pages.paginate(AlarmNamePrefix=f"{target.name_prefix}-", StateValue="ALARM"):
        for alarm in page["MetricAlarms"]:
            name = alarm["AlarmName"].removeprefix(f"{target.name_prefix}-")
            since = f"{alarm['StateUpdatedTimestamp']:%Y-%m-%d %H:%M}"
            yield Finding(
                alarm["AlarmName"],
                f"in alarm since {since}: {alarm['StateReason']}",
                f"docs/runbook.md, section {name}",
            )


def permissions(target: Target) -> Iterator[Finding]:
    """The person at the keyboard may do what the commands do, as far as asking tells without doing."""
    probes: dict[str, Callable[[], object]] = {
        "start runs (states:ListExecutions)": lambda: target.client("stepfunctions").list_executions(
            stateMachineArn=target.state_machine_arn, maxResults=1
        ),
        "read the audit trail (dynamodb:Scan)": lambda: target.client("dynamodb").scan(
            TableName=target.audit_table, Limit=1
        ),
        "read the lake (s3:ListBucket)": lambda: target.client("s3").list_objects_v2(
            Bucket=target.lake_bucket, MaxKeys=1
        ),
        "read logs (logs:DescribeLogGroups)": lambda: target.client("logs").describe_log_groups(
            logGroupNamePrefix=f"/aws/lambda/{target.name_prefix}-", limit=1
        ),
    }
    for what, probe in probes.items():
        try:
            probe()
        except ClientError as error:
            yield Finding(
                target.caller,
                f"cannot {what}: {error.response['Error'].get('Message', error)}",
                "use a role that may (docs/deploy.md)",
            )
