"""CI's roles may make the calls that the provider makes for every type of resource in a plan.

The calls of each type are those of the provider's create, read and update, from the AWS documentation of its
actions. Deletions of what holds data are absent: nobody deletes it through CI.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from lean_ops.checks.planned import Plan
from lean_ops.environment.repository import ROOT, render

SCOPE = "eu-west-1:000000000000"
PREFIX = "lean-ops-dev"
LAKE = f"arn:aws:s3:::{PREFIX}-lake-000000000000"
TAGS = {
    f"aws:{kind}tag/{tag}": value
    for kind in ("request", "resource")
    for tag, value in (("project", "lean-ops"), ("environment", "dev"))
}
BOUNDARY = f"arn:aws:iam::000000000000:policy/{PREFIX}-boundary"
VALUES = {
    "partition": "aws", "region": "eu-west-1", "account": "000000000000", "project": "lean-ops", "env": "dev",
    "name_prefix": PREFIX, "database": "lean_ops_dev", "lake_bucket": LAKE.rpartition(":")[2],
    "state_bucket": "state", "state_key": "key", "lock_table": "locks", "boundary_arn": BOUNDARY,
}  # fmt: skip


READING = ("ci-plan", "ci-plan-lake")
CHANGING = (*READING, "ci-apply", "ci-apply-lake", "ci-apply-roles")


@dataclass(frozen=True)
class Calls:
    """Calls for one type of resource: the ARN of an example, and actions on it (``service:`` left out)."""

    arn: str
    reads: str
    changes: str
    context: tuple[tuple[str, str], ...] = ()

    @property
    def service(self) -> str:
        """The service of the ARN."""
        return self.arn.split(":")[2]


FUNCTION = f"arn:aws:lambda:{SCOPE}:function:{PREFIX}-curation"
LOGS = f"arn:aws:logs:{SCOPE}:log-group:/aws/lambda/{PREFIX}-curation:x"
MACHINE = f"arn:aws:states:{SCOPE}:stateMachine:{PREFIX}-pipeline"
TOPIC = f"arn:aws:sns:{SCOPE}:{PREFIX}-chat"
QUEUE = f"arn:aws:sqs:{SCOPE}:{PREFIX}-source"
ROLE = f"arn:aws:iam::000000000000:role/{PREFIX}-curation"
TABLE = f"arn:aws:glue:{SCOPE}:table/lean_ops_dev/raw_events"
KEY = f"arn:aws:kms:{SCOPE}:key/k"
WORKGROUP = f"arn:aws:athena:{SCOPE}:workgroup/{PREFIX}"
SPARK_SERVICE = "ops.emr-serverless.amazonaws.com"
OF_FUNCTION = (("lambda:functionarn", FUNCTION),)

CALLS = {
    "aws_sqs_queue": Calls(
        QUEUE, "GetQueueAttributes ListQueueTags", "CreateQueue SetQueueAttributes TagQueue"
    ),
    "aws_sqs_queue_policy": Calls(QUEUE, "GetQueueAttributes", "SetQueueAttributes"),
    "aws_sqs_queue_redrive_allow_policy": Calls(QUEUE, "GetQueueAttributes", "SetQueueAttributes"),
    "aws_kinesis_firehose_delivery_stream": Calls(
        f"arn:aws:firehose:{SCOPE}:deliverystream/{PREFIX}-events",
        "DescribeDeliveryStream ListTagsForDeliveryStream",
        "CreateDeliveryStream UpdateDestination StartDeliveryStreamEncryption TagDeliveryStream",
    ),
    "aws_lambda_event_source_mapping": Calls(
        f"arn:aws:lambda:{SCOPE}:event-source-mapping:m",
        "GetEventSourceMapping ListTags",
        "CreateEventSourceMapping UpdateEventSourceMapping DeleteEventSourceMapping TagResource",
        OF_FUNCTION,
    ),
    "aws_lambda_function": Calls(
        FUNCTION,
        "GetFunction GetFunctionConfiguration GetFunctionCodeSigningConfig ListVersionsByFunction",
        "CreateFunction UpdateFunctionCode UpdateFunctionConfiguration PublishVersion DeleteFunction "
        "TagResource",
    ),
    "aws_lambda_alias": Calls(FUNCTION, "GetAlias", "CreateAlias UpdateAlias DeleteAlias"),
    "aws_lambda_permission": Calls(FUNCTION, "GetPolicy", "AddPermission RemovePermission"),
    "aws_lambda_function_event_invoke_config": Calls(
        FUNCTION,
        "GetFunctionEventInvokeConfig",
        "PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig DeleteFunctionEventInvokeConfig",
    ),
    "aws_lambda_layer_version": Calls(
        f"arn:aws:lambda:{SCOPE}:layer:{PREFIX}-lake:1", "GetLayerVersion", "DeleteLayerVersion"
    ),
    "aws_dynamodb_table": Calls(
        f"arn:aws:dynamodb:{SCOPE}:table/{PREFIX}-audit",
        "DescribeTable DescribeContinuousBackups DescribeTimeToLive ListTagsOfResource",
        "CreateTable UpdateTable UpdateContinuousBackups UpdateTimeToLive TagResource",
    ),
    "aws_glue_catalog_database": Calls(
        f"arn:aws:glue:{SCOPE}:database/lean_ops_dev",
        "GetDatabase GetTags",
        "CreateDatabase UpdateDatabase TagResource",
    ),
    "aws_glue_catalog_table": Calls(TABLE, "GetTable GetPartitionIndexes", "CreateTable"),
    "aws_s3_bucket": Calls(
        LAKE,
        "ListBucket GetBucketTagging GetBucketPolicy GetBucketAcl GetBucketCORS GetBucketWebsite "
        "GetBucketVersioning GetAccelerateConfiguration GetBucketRequestPayment GetBucketLogging "
        "GetLifecycleConfiguration GetReplicationConfiguration GetEncryptionConfiguration "
        "GetBucketObjectLockConfiguration",
        "CreateBucket PutBucketTagging",
    ),
    "aws_s3_bucket_versioning": Calls(LAKE, "GetBucketVersioning", "PutBucketVersioning"),
    "aws_s3_bucket_policy": Calls(LAKE, "GetBucketPolicy", "PutBucketPolicy"),
    "aws_s3_bucket_server_side_encryption_configuration": Calls(
        LAKE, "GetEncryptionConfiguration", "PutEncryptionConfiguration"
    ),
    "aws_s3_bucket_public_access_block": Calls(
        LAKE, "GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock"
    ),
    "aws_s3_bucket_ownership_controls": Calls(
        LAKE, "GetBucketOwnershipControls", "PutBucketOwnershipControls"
    ),
    "aws_s3_bucket_lifecycle_configuration": Calls(
        LAKE, "GetLifecycleConfiguration", "PutLifecycleConfiguration"
    ),
    "aws_s3_object": Calls(
        f"{LAKE}/artifacts/layers/lake.zip",
        "GetObject GetObjectTagging",
        "PutObject PutObjectTagging GetObjectVersion DeleteObject DeleteObjectVersion",
    ),
    "aws_secretsmanager_secret": Calls(
        f"arn:aws:secretsmanager:{SCOPE}:secret:{PREFIX}-pii-key-abcdef",
        "DescribeSecret GetResourcePolicy",
        "CreateSecret UpdateSecret TagResource",
    ),
    "aws_kms_key": Calls(
        KEY,
        "DescribeKey GetKeyPolicy GetKeyRotationStatus ListResourceTags",
        "CreateKey PutKeyPolicy EnableKeyRotation UpdateKeyDescription TagResource",
    ),
    "aws_kms_alias": Calls(f"arn:aws:kms:{SCOPE}:alias/{PREFIX}", "ListAliases", "CreateAlias UpdateAlias"),
    "aws_iam_role": Calls(
        ROLE,
        "GetRole ListRolePolicies ListAttachedRolePolicies ListInstanceProfilesForRole",
        "CreateRole TagRole UpdateRole UpdateAssumeRolePolicy DeleteRole",
        (("iam:permissionsboundary", BOUNDARY),),
    ),
    "aws_iam_role_policy": Calls(
        ROLE, "GetRolePolicy", "PutRolePolicy DeleteRolePolicy", (("iam:permissionsboundary", BOUNDARY),)
    ),
    "aws_sfn_state_machine": Calls(
        MACHINE,
        "DescribeStateMachine ListStateMachineVersions ListTagsForResource ValidateStateMachineDefinition",
        "CreateStateMachine UpdateStateMachine PublishStateMachineVersion TagResource",
    ),
    # Planned where an environment has Spark; its id is AWS's choice, so that its tags bound it.
    "aws_emrserverless_application": Calls(
        f"arn:aws:emr-serverless:{SCOPE}:/applications/00f1abc",
        "GetApplication ListTagsForResource",
        "CreateApplication UpdateApplication DeleteApplication TagResource UntagResource",
    ),
    "aws_sfn_alias": Calls(
        f"{MACHINE}:live", "DescribeStateMachineAlias", "CreateStateMachineAlias UpdateStateMachineAlias"
    ),
    "aws_scheduler_schedule_group": Calls(
        f"arn:aws:scheduler:{SCOPE}:schedule-group/{PREFIX}",
        "GetScheduleGroup ListTagsForResource",
        "CreateScheduleGroup TagResource",
    ),
    "aws_scheduler_schedule": Calls(
        f"arn:aws:scheduler:{SCOPE}:schedule/{PREFIX}/{PREFIX}-events",
        "GetSchedule",
        "CreateSchedule UpdateSchedule DeleteSchedule",
    ),
    "aws_sns_topic": Calls(
        TOPIC, "GetTopicAttributes ListTagsForResource", "CreateTopic SetTopicAttributes TagResource"
    ),
    "aws_sns_topic_policy": Calls(TOPIC, "GetTopicAttributes", "SetTopicAttributes"),
    "aws_sns_topic_subscription": Calls(
        TOPIC, "GetSubscriptionAttributes", "Subscribe SetSubscriptionAttributes Unsubscribe"
    ),
    "aws_cloudwatch_metric_alarm": Calls(
        f"arn:aws:cloudwatch:{SCOPE}:alarm:{PREFIX}-schema-drift",
        "DescribeAlarms ListTagsForResource",
        "PutMetricAlarm DeleteAlarms TagResource",
    ),
    "aws_cloudwatch_dashboard": Calls(
        f"arn:aws:cloudwatch::000000000000:dashboard/{PREFIX}",
        "GetDashboard",
        "PutDashboard DeleteDashboards",
    ),
    "aws_athena_workgroup": Calls(
        WORKGROUP,
        "GetWorkGroup ListTagsForResource",
        "CreateWorkGroup UpdateWorkGroup DeleteWorkGroup TagResource",
    ),
    "aws_athena_named_query": Calls(
        WORKGROUP, "GetNamedQuery", "CreateNamedQuery UpdateNamedQuery DeleteNamedQuery"
    ),
    "aws_budgets_budget": Calls(
        f"arn:aws:budgets::000000000000:budget/{PREFIX}-month",
        "ViewBudget ListTagsForResource",
        "ModifyBudget TagResource",
    ),
    "aws_cloudwatch_log_group": Calls(
        LOGS,
        "DescribeLogGroups ListTagsForResource",
        "CreateLogGroup PutRetentionPolicy AssociateKmsKey TagResource DeleteLogGroup",
    ),
    "aws_cloudwatch_log_stream": Calls(LOGS, "DescribeLogStreams", "CreateLogStream DeleteLogStream"),
    "aws_cloudwatch_query_definition": Calls(
        LOGS, "DescribeQueryDefinitions", "PutQueryDefinition DeleteQueryDefinition"
    ),
}
# What an applied resource asks for beside calls on itself.
ALSO = [
    ("iam:PassRole", ROLE, {"iam:passedtoservice": "lambda.amazonaws.com"}),
    ("iam:PassRole", ROLE, {"iam:passedtoservice": "scheduler.amazonaws.com"}),
    # The first application of an account brings the service's own role ("Using service-linked roles").
    (
        "iam:CreateServiceLinkedRole",
        f"arn:aws:iam::000000000000:role/aws-service-role/{SPARK_SERVICE}/AWSServiceRoleForAmazonEMRServerless",
        {"iam:awsservicename": SPARK_SERVICE},
    ),
    ("kms:CreateGrant", KEY, {"kms:grantisforawsresource": "true"}),
    ("kms:GenerateDataKey", KEY, {}),
    ("lambda:PublishLayerVersion", f"arn:aws:lambda:{SCOPE}:layer:{PREFIX}-lake", {}),
    ("lambda:GetLayerVersion", f"arn:aws:lambda:{SCOPE}:layer:{PREFIX}-lake:1", {}),
    ("s3:PutObject", f"{LAKE}/raw_events/metadata/00000.metadata.json", {}),
]


def allowed(
    roles: tuple[str, ...], action: str, arn: str, context: dict[str, Any], tags: dict[str, str] = TAGS
) -> bool:
    policies = [
        json.loads(render((ROOT / f"infra/policies/{role}.json").read_text(), VALUES)) for role in roles
    ]
    request = EvalContext(
        principal_arn=f"arn:aws:sts::000000000000:assumed-role/{PREFIX}-ci/s", principal_type="AssumedRole",
        principal_account="000000000000", action=action, resource_arn=arn, region="eu-west-1",
        source_ip="10.0.0.1", secure_transport=True, service_context=tags | context,
    )  # fmt: skip
    verdict: str = evaluate(request, [parse_policy_document(policy) for policy in policies]).decision
    return verdict == "Allow"


def refused(roles: tuple[str, ...], calls: Calls, names: str) -> list[str]:
    actions = [f"{calls.service}:{name}" for name in names.split()]
    return [action for action in actions if not allowed(roles, action, calls.arn, dict(calls.context))]


def test_every_type_of_the_plan_is_known(plan: Plan) -> None:
    assert {resource.kind for resource in plan.resources} <= CALLS.keys()


@pytest.mark.parametrize("kind", CALLS)
def test_the_planning_role_may_read_and_change_nothing(kind: str) -> None:
    calls = CALLS[kind]
    assert refused(READING, calls, calls.reads) == []
    assert refused(READING, calls, calls.changes) == [f"{calls.service}:{n}" for n in calls.changes.split()]


@pytest.mark.parametrize("kind", CALLS)
def test_the_applying_role_may_change_as_well(kind: str) -> None:
    calls = CALLS[kind]
    assert refused(CHANGING, calls, calls.changes) == []


@pytest.mark.parametrize(("action", "arn", "context"), ALSO, ids=[action for action, *_ in ALSO])
def test_the_applying_role_may_do_what_applied_resources_ask_for(
    action: str, arn: str, context: dict[str, str]
) -> None:
    assert allowed(CHANGING, action, arn, context)


# What is being made has no tags yet: AWS judges those of the request ("Controlling access to AWS resources
# using tags"); and the new key's count in KMS minutes later only.
UNTAGGED = {name: value for name, value in TAGS.items() if name.startswith("aws:requesttag/")}
FOREIGN_KEY = UNTAGGED | {"aws:resourcetag/project": "other", "aws:resourcetag/environment": "dev"}


@pytest.mark.parametrize(
    ("action", "arn"),
    [
        ("kms:CreateKey", "*"),
        *((f"kms:{name}", KEY) for name in CALLS["aws_kms_key"].reads.split()),
        ("kms:TagResource", KEY),
        ("kms:EnableKeyRotation", KEY),
    ],
)
def test_a_key_is_made_before_its_tags_count(action: str, arn: str) -> None:
    assert allowed(CHANGING, action, arn, {}, UNTAGGED)


def test_an_application_for_spark_is_tagged_before_its_tags_count_and_those_of_others_stay_theirs() -> None:
    application = CALLS["aws_emrserverless_application"].arn
    assert allowed(CHANGING, "emr-serverless:CreateApplication", "*", {}, UNTAGGED)
    assert allowed(CHANGING, "emr-serverless:TagResource", application, {}, UNTAGGED)
    for name in ("TagResource", "UpdateApplication", "DeleteApplication"):
        assert not allowed(CHANGING, f"emr-serverless:{name}", application, {}, FOREIGN_KEY)


@pytest.mark.parametrize(
    "action", ["TagResource", "PutKeyPolicy", "CreateGrant", "Decrypt", "GenerateDataKey"]
)
def test_a_key_of_others_stays_theirs(action: str) -> None:
    context = {"kms:grantisforawsresource": "true", "kms:viaservice": "s3.eu-west-1.amazonaws.com"}
    assert not allowed(CHANGING, f"kms:{action}", KEY, context, FOREIGN_KEY)
    assert allowed(CHANGING, f"kms:{action}", KEY, context)


# The others (a key, by its tags) are bounded by conditions.
NAMED = [kind for kind, calls in CALLS.items() if "_dev" in calls.arn or "-dev" in calls.arn or calls.context]


@pytest.mark.parametrize("kind", NAMED)
def test_neither_role_reaches_another_environment(kind: str) -> None:
    calls = CALLS[kind]
    foreign = Calls(
        calls.arn.replace("-dev", "-prod").replace("_dev", "_prod"), calls.reads, calls.changes,
        tuple((key, value.replace("-dev", "-prod")) for key, value in calls.context),
    )  # fmt: skip
    may = {f"{calls.service}:{name}" for name in calls.changes.split()} - set(
        refused(CHANGING, foreign, calls.changes)
    )
    # SNS takes no resource for a subscription, Logs none for a query; a mapping's ARN names no function.
    assert may <= {
        "lambda:TagResource", "logs:DeleteQueryDefinition", "logs:PutQueryDefinition",
        "sns:SetSubscriptionAttributes", "sns:Unsubscribe",
    }  # fmt: skip
