"""The calls that every role makes, as IAM sees them: one row a role, beside the policies of infra/policies.

A new function adds its row to ``CALLS``, under the name of its policy file, a line to ``MADE_BY`` for each
action that no function had before, and one to ``WILDCARDS`` where AWS takes no resource.
"""

from typing import NamedTuple

KEY = "arn:aws:kms:eu-west-1:000000000000:key/k"
VALUES = {
    "partition": "aws", "region": "eu-west-1", "account": "000000000000", "project": "lean-ops", "env": "dev",
    "name_prefix": "lean-ops-dev", "database": "lean_ops_dev", "lake_bucket": "lake", "kms_key_arn": KEY,
    "queue_name": "lean-ops-dev-source",
    "topic_name": "lean-ops-dev-chat", "service": "glue.amazonaws.com",
    "source_arn": "arn:aws:scheduler:eu-west-1:000000000000:schedule-group/lean-ops-dev",
    "state_bucket": "state", "state_key": "lean-ops/dev/terraform.tfstate",
    "lock_table": "lean-ops-dev-terraform-locks",
    "boundary_arn": "arn:aws:iam::000000000000:policy/lean-ops-dev-boundary", "repository": "owner/name",
    "principal_arn": "arn:aws:iam::111111111111:user/s", "external_id": "x",
    "spark_application_id": "00f1abc",
    "oidc_host": "token.actions.githubusercontent.com", "github_environment": "dev",
}  # fmt: skip


class Call(NamedTuple):
    """A call that a role makes, as IAM sees it."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


SCOPE = "eu-west-1:000000000000"


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{SCOPE}:{rest}"


def key(action: str, service: str, *context: tuple[str, str]) -> Call:
    return Call(f"kms:{action}", KEY, (("kms:viaservice", f"{service}.eu-west-1.amazonaws.com"), *context))


def tables(action: str, *names: str) -> list[Call]:
    """Glue asks for the catalog, the database and the table."""
    resources = ["catalog", "database/lean_ops_dev", *(f"table/lean_ops_dev/{name}" for name in names)]
    return [Call(f"glue:{action}", arn("glue", resource)) for resource in resources]


def objects(action: str, *keys: str) -> list[Call]:
    return [Call(f"s3:{action}", f"arn:aws:s3:::lake/{key}") for key in keys]


def listing(*prefixes: str) -> list[Call]:
    """Listing a prefix, and the look that tells an absent object from a forbidden one (404 or 403)."""
    bucket = "arn:aws:s3:::lake"
    return [
        Call("s3:ListBucket", bucket),
        *(Call("s3:ListBucket", bucket, (("s3:prefix", p),)) for p in prefixes),
    ]


def log(function: str) -> list[Call]:
    group = arn("logs", f"log-group:/aws/lambda/lean-ops-dev-{function}:log-stream:x")
    return [
        Call("logs:CreateLogStream", group), Call("logs:PutLogEvents", group),
        Call("xray:PutTraceSegments", "*"), Call("xray:PutTelemetryRecords", "*"),
    ]  # fmt: skip


# pyiceberg asks for the database before it commits (``GlueCatalog.commit_table``).
COMMIT = [Call("glue:GetDatabase", arn("glue", part)) for part in ("catalog", "database/lean_ops_dev")]
SOURCE, DLQ = arn("sqs", "lean-ops-dev-source"), arn("sqs", "lean-ops-dev-dlq")
CHECKPOINTS = arn("dynamodb", "table/lean-ops-dev-checkpoints")
DRIFT_LOG = arn("dynamodb", "table/lean-ops-dev-drift-log")
RECORD_DRIFT = [Call(f"dynamodb:{action}", DRIFT_LOG) for action in ("Query", "PutItem", "UpdateItem")]
MACHINE = arn("states", "stateMachine:lean-ops-dev-pipeline")
# Step Functions judges a start through an alias on the machine, and says the alias in the context
# ("Authorization for versions and aliases in Step Functions").
LIVE_RUN = Call("states:StartExecution", MACHINE, (("states:statemachinequalifier", "live"),))
DATA = "data/period_reference=2026-01/x.parquet"
META = "metadata/00001-x.metadata.json"
# Of all tables, whoever asks for some: Glue has to be let at each that it names.
POINTERS = tables(
    "GetTables", "raw_events", "curated_events", "semantic_events", "rebuild_curated_events", "ops_runs"
)
NOTE = Call("dynamodb:UpdateItem", CHECKPOINTS, (("dynamodb:leadingkeys", "worst#curated-behind"),))
PII_KEY = Call("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:lean-ops-dev-pii-key-AbCdEf"))
ERASED = "erasures/remembered/events.json"
TOPICS = objects("GetObject", "registry/topics.json")
JOB_LOG = arn("logs", "log-group:/aws/emr-serverless/lean-ops-dev-spark:log-stream:x")
APPLICATION = arn("emr-serverless", "/applications/00f1abc")
# Step Functions hears of the end of a job by a rule of this name, one an account and region, which it makes
# itself ("IAM policies for calling Amazon EMR Serverless").
JOB_RULE = arn("events", "rule/StepFunctionsGetEventsForEMRServerlessJobRule")
BUCKET_CONTEXT = ("kms:encryptioncontext:aws:s3:arn", "arn:aws:s3:::lake")

CALLS: dict[str, list[Call]] = {
    "sqs-processor": [
        *(Call(f"sqs:{a}", SOURCE) for a in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
        Call("sqs:SendMessage", DLQ),
        Call("firehose:PutRecordBatch", arn("firehose", "deliverystream/lean-ops-dev-events")),
        *TOPICS, *objects("GetObject", "registry/sources.json"), key("Decrypt", "s3"),
        key("Decrypt", "sqs"), key("GenerateDataKey", "sqs"), *log("sqs-processor"),
    ],
    "dispatcher": [
        *POINTERS, *TOPICS,
        *(Call("dynamodb:BatchGetItem", CHECKPOINTS, (("dynamodb:leadingkeys", f"events#{kind}"),))
          for kind in ("lease", "curated", "semantic", "dispatch")),
        Call("dynamodb:UpdateItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#dispatch"),)),
        LIVE_RUN, Call("states:DescribeExecution", arn("states", "execution:lean-ops-dev-pipeline:run")),
        key("Decrypt", "s3"), key("Decrypt", "dynamodb"), *log("dispatcher"),
    ],
    "get-all-checkpoints": [
        *tables("GetTable", "raw_events", "curated_events", "semantic_events"),
        *objects("GetObject", f"raw_events/{META}", f"curated_events/{META}", f"semantic_events/{META}"),
        *objects("GetObject", "contracts/events.yaml"), *TOPICS,
        *listing("contracts/events.yaml", "raw_events/metadata/"),
        Call("dynamodb:GetItem", CHECKPOINTS), Call("dynamodb:UpdateItem", CHECKPOINTS),
        Call("states:DescribeExecution", arn("states", "execution:lean-ops-dev-pipeline:run")),
        key("Decrypt", "s3"), key("Decrypt", "dynamodb"), *log("get-all-checkpoints"),
    ],
    "curation": [
        *COMMIT, *tables("GetTable", "raw_events", "curated_events"),
        *tables("UpdateTable", "curated_events"),
        *objects("GetObject", f"raw_events/{DATA}", f"curated_events/{DATA}", f"curated_events/{META}"),
        *objects("PutObject", f"curated_events/{DATA}", f"curated_events/{META}"),
        *objects("DeleteObject", f"curated_events/{DATA}"),
        *objects("AbortMultipartUpload", f"curated_events/{DATA}"),
        *objects("GetObject", "contracts/events.yaml", ERASED),
        *listing("contracts/events.yaml", "raw_events/", "curated_events/", ERASED),
        *TOPICS, NOTE, PII_KEY, key("Decrypt", "secretsmanager"),
        *RECORD_DRIFT, key("Decrypt", "s3"), key("GenerateDataKey", "s3"),
        key("Decrypt", "dynamodb"), Call("sqs:SendMessage", DLQ), key("Decrypt", "sqs"),
        key("GenerateDataKey", "sqs"), *log("curation"),
    ],
    "semantic": [
        *COMMIT,
        *tables("GetTable", "raw_events", "curated_events", "semantic_events", "quarantine_events"),
        *tables("UpdateTable", "semantic_events", "quarantine_events"),
        *objects("GetObject", f"raw_events/{DATA}", f"curated_events/{DATA}", f"semantic_events/{DATA}"),
        *objects("GetObject", f"quarantine_events/{DATA}"),
        *objects("PutObject", f"semantic_events/{DATA}", f"quarantine_events/{META}"),
        *objects("DeleteObject", f"semantic_events/{DATA}", f"quarantine_events/{DATA}"),
        *objects("AbortMultipartUpload", f"semantic_events/{DATA}", f"quarantine_events/{DATA}"),
        *objects("GetObject", "contracts/events.yaml", ERASED),
        *listing("contracts/events.yaml", "curated_events/", ERASED),
        *TOPICS, NOTE, *RECORD_DRIFT, PII_KEY,
        *(Call(f"dynamodb:{action}", CHECKPOINTS, (("dynamodb:leadingkeys", "events#quality"),))
          for action in ("GetItem", "UpdateItem")),
        Call("dynamodb:UpdateItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#lease"),)),
        key("Decrypt", "s3"), key("GenerateDataKey", "s3"), key("Decrypt", "dynamodb"),
        key("Decrypt", "secretsmanager"), *log("semantic"),
    ],
    "notify-missing-schema": [
        *RECORD_DRIFT, key("Decrypt", "dynamodb"), *log("notify-missing-schema"),
    ],
    "archive-dead-letters": [
        Call("sqs:ReceiveMessage", DLQ), Call("sqs:ChangeMessageVisibility", DLQ),
        *objects("GetObject", "dead-letters/2026-01-31/x.ndjson"),
        *objects("PutObject", "dead-letters/2026-01-31/x.ndjson"),
        Call("s3:ListBucket", "arn:aws:s3:::lake", (("s3:prefix", "dead-letters/"),)),
        key("Decrypt", "s3"), key("GenerateDataKey", "s3"), key("Decrypt", "sqs"),
        *log("archive-dead-letters"),
    ],
    "circuit-breaker": [
        *(Call(f"dynamodb:{a}", CHECKPOINTS, (("dynamodb:leadingkeys", "breaker#source"),))
          for a in ("GetItem", "PutItem", "UpdateItem")),
        Call("lambda:ListEventSourceMappings", "*"),
        Call("lambda:UpdateEventSourceMapping", arn("lambda", "event-source-mapping:x"),
             (("lambda:functionarn", arn("lambda", "function:lean-ops-dev-sqs-processor:live")),)),
        Call("cloudwatch:DescribeAlarms", "*"),
        Call("cloudwatch:GetMetricData", "*"), key("Decrypt", "dynamodb"), *log("circuit-breaker"),
    ],
    "maintenance": [
        *COMMIT,
        *(c for table in ("raw_events", "curated_events", "semantic_events", "quarantine_events", "ops_runs")
          for c in (
              *tables("GetTable", table), *tables("UpdateTable", table),
              *(o for a in ("GetObject", "PutObject", "DeleteObject")
                for o in objects(a, f"{table}/{DATA}", f"{table}/{META}")),
              *listing(f"{table}/"),
          )),
        *(c for action in ("GetTable", "CreateTable", "UpdateTable")
          for c in tables(action, "history_events", "curated_events_current", "semantic_events_current")),
        Call("dynamodb:Query", DRIFT_LOG),
        Call("dynamodb:PutItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#operations"),)),
        Call("dynamodb:UpdateItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#reports"),)),
        *(c for layer in ("curated", "semantic")
          for c in (
              *tables("GetTable", f"rebuild_{layer}_events"),
              *objects("GetObject", f"rebuild_{layer}_events/{META}"),
              *listing(f"rebuild_{layer}_events/metadata/"),
          )),
        *(o for layer in ("raw", "curated", "semantic", "quarantine")
          for o in objects("AbortMultipartUpload", f"{layer}_events/{DATA}")),
        *objects("GetObject", "contracts/events.yaml"), *listing("contracts/"),
        Call("dynamodb:GetItem", CHECKPOINTS), *TOPICS, *POINTERS, Call("dynamodb:BatchGetItem", CHECKPOINTS),
        Call("dynamodb:PutItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#upkeep-raw"),)),
        Call("lambda:InvokeFunction", arn("lambda", "function:lean-ops-dev-maintenance:live")),
        key("Decrypt", "s3"), key("GenerateDataKey", "s3"), key("Decrypt", "dynamodb"), *log("maintenance"),
    ],
    "alert": [
        Call("secretsmanager:GetSecretValue",
             arn("secretsmanager", "secret:lean-ops-dev-alert-endpoints-AbCdEf")),
        Call("dynamodb:GetItem", CHECKPOINTS, (("dynamodb:leadingkeys", "worst#raw-behind"),)),
        key("Decrypt", "secretsmanager"), key("Decrypt", "dynamodb"), *log("alert"),
    ],
    "observation": [
        *tables("GetTable", "raw_events", "curated_events", "semantic_events"),
        *objects("GetObject", f"raw_events/{META}", f"curated_events/{META}", f"semantic_events/{META}"),
        *objects("GetObject", "raw_events/data/x.parquet"), *TOPICS, *POINTERS,
        *objects("GetObject", "contracts/events.yaml"), *listing("contracts/"),
        *listing("raw_events/metadata/"), Call("dynamodb:GetItem", CHECKPOINTS),
        Call("dynamodb:BatchGetItem", CHECKPOINTS), NOTE,
        Call("dynamodb:PutItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#observed"),)),
        Call("cloudwatch:GetMetricData", "*"), key("Decrypt", "s3"), key("Decrypt", "dynamodb"),
        *log("observation"),
    ],
    "reconciliation": [
        *(c for layer in ("raw", "curated", "semantic", "quarantine")
          for c in (*tables("GetTable", f"{layer}_events"), *listing(f"{layer}_events/"),
                    *objects("GetObject", f"{layer}_events/{DATA}", f"{layer}_events/{META}"))),
        *POINTERS, *TOPICS, *objects("GetObject", ERASED, "dead-letters/2026-01-31/x.ndjson"),
        *listing(ERASED, "dead-letters/"), PII_KEY,
        Call("sqs:ReceiveMessage", DLQ), Call("sqs:ChangeMessageVisibility", DLQ),
        Call("dynamodb:GetItem", CHECKPOINTS), Call("dynamodb:BatchGetItem", CHECKPOINTS), NOTE,
        Call("dynamodb:PutItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#reconciled"),)),
        Call("dynamodb:UpdateItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#reports"),)),
        *(key("Decrypt", s) for s in ("s3", "dynamodb", "sqs", "secretsmanager")), *log("reconciliation"),
    ],
    "snowflake-latency": [
        Call("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:lean-ops-dev-snowflake-AbCdEf")),
        *TOPICS, *POINTERS, *objects("GetObject", f"semantic_events/{META}"),
        *(Call(f"dynamodb:{a}", CHECKPOINTS, (("dynamodb:leadingkeys", "snowflake-latency#history"),))
          for a in ("GetItem", "PutItem")),
        *(key("Decrypt", s) for s in ("s3", "dynamodb", "secretsmanager")), *log("snowflake-latency"),
    ],
    "delivery": [
        *(c for a in ("GetTable", "GetDatabase", "UpdateTable") for c in tables(a, "raw_events")),
        *(c for a in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
          for c in objects(a, f"raw_events/{DATA}", "delivery-errors/events/iceberg-failed/x")),
        Call("s3:GetBucketLocation", "arn:aws:s3:::lake"), Call("s3:ListBucket", "arn:aws:s3:::lake"),
        Call("s3:ListBucketMultipartUploads", "arn:aws:s3:::lake"),
        key("Decrypt", "s3", BUCKET_CONTEXT), key("GenerateDataKey", "s3", BUCKET_CONTEXT),
        Call("logs:PutLogEvents",
             arn("logs", "log-group:/aws/kinesisfirehose/lean-ops-dev-delivery:log-stream:delivery")),
    ],
    "snowflake-storage": [
        *(o for a in ("GetObject", "GetObjectVersion")
          for table in ("semantic_events", "ops_runs")
          for o in objects(a, f"{table}/{DATA}", f"{table}/{META}")),
        Call("s3:GetBucketLocation", "arn:aws:s3:::lake"),
        *(Call("s3:ListBucket", "arn:aws:s3:::lake", (("s3:prefix", f"{table}/"),))
          for table in ("semantic_events", "ops_runs")),
        key("Decrypt", "s3"),
    ],
    "athena-reader": [
        *(Call(f"athena:{a}", arn("athena", "workgroup/lean-ops-dev"))
          for a in ("BatchGetNamedQuery", "BatchGetQueryExecution", "GetNamedQuery", "GetQueryExecution",
                    "GetQueryResults", "GetWorkGroup", "ListNamedQueries", "ListQueryExecutions",
                    "StartQueryExecution", "StopQueryExecution")),
        *(Call("glue:GetDatabase", arn("glue", r)) for r in ("catalog", "database/lean_ops_dev")),
        *(c for a in ("GetTable", "GetTables")
          for c in tables(a, "raw_events", "curated_events", "semantic_events", "quarantine_events",
                          "history_events", "curated_events_current", "semantic_events_current")),
        *(c for table in ("raw_events", "curated_events", "semantic_events", "quarantine_events", "ops_runs")
          for c in (*objects("GetObject", f"{table}/{DATA}", f"{table}/{META}"),
                    Call("s3:ListBucket", "arn:aws:s3:::lake", (("s3:prefix", f"{table}/"),)))),
        *(o for a in ("AbortMultipartUpload", "GetObject", "PutObject")
          for o in objects(a, "athena-results/x.csv")),
        Call("s3:ListBucket", "arn:aws:s3:::lake", (("s3:prefix", "athena-results/x.csv"),)),
        Call("s3:GetBucketLocation", "arn:aws:s3:::lake"), key("Decrypt", "s3"), key("GenerateDataKey", "s3"),
    ],
    "snowflake-catalog": [
        Call("glue:GetCatalog", arn("glue", "catalog")),
        *(Call(f"glue:{a}", arn("glue", r)) for a in ("GetDatabase", "GetDatabases")
          for r in ("catalog", "database/lean_ops_dev")),
        *(c for a in ("GetTable", "GetTables") for c in tables(a, "semantic_events", "ops_runs")),
    ],
    "spark-job": [
        *COMMIT,
        *tables("GetTable", "raw_events", "curated_events", "semantic_events", "quarantine_events"),
        *tables("UpdateTable", "curated_events", "semantic_events", "quarantine_events"),
        *objects("GetObject", f"raw_events/{DATA}"),
        *(c for table in ("curated_events", "semantic_events", "quarantine_events")
          for c in (*objects("GetObject", f"{table}/{DATA}", f"{table}/{META}"),
                    *objects("PutObject", f"{table}/{DATA}", f"{table}/{META}"),
                    *objects("DeleteObject", f"{table}/{DATA}"),
                    *objects("AbortMultipartUpload", f"{table}/{DATA}"), *listing(f"{table}/"))),
        *objects("GetObject", "contracts/events.yaml", ERASED),
        *listing("contracts/events.yaml", "raw_events/", ERASED), *TOPICS, NOTE, PII_KEY,
        *RECORD_DRIFT, Call("sqs:SendMessage", DLQ),
        *(Call(f"dynamodb:{action}", CHECKPOINTS, (("dynamodb:leadingkeys", "events#quality"),))
          for action in ("GetItem", "UpdateItem")),
        Call("dynamodb:UpdateItem", CHECKPOINTS, (("dynamodb:leadingkeys", "events#lease"),)),
        *(key(a, s) for s in ("s3", "sqs") for a in ("Decrypt", "GenerateDataKey")),
        key("Decrypt", "dynamodb"), key("Decrypt", "secretsmanager"),
        *objects("GetObject", "artifacts/spark/entry.py", "artifacts/spark/spark-0.zip"),
        *objects("PutObject", "jobs/events.json"),
        *(Call(f"logs:{a}", JOB_LOG) for a in ("CreateLogStream", "DescribeLogStreams", "PutLogEvents")),
        Call("logs:DescribeLogGroups", "*"),
    ],
    # What the pipeline's role has beside, where an environment has Spark.
    "pipeline-spark": [
        Call("emr-serverless:StartJobRun", APPLICATION),
        Call("emr-serverless:GetJobRun", f"{APPLICATION}/jobruns/j"),
        Call("emr-serverless:CancelJobRun", f"{APPLICATION}/jobruns/j"),
        Call("iam:PassRole", "arn:aws:iam::000000000000:role/lean-ops-dev-spark",
             (("iam:passedtoservice", "emr-serverless.amazonaws.com"),)),
    ],
    "pipeline": [
        *(Call("lambda:InvokeFunction", arn("lambda", f"function:lean-ops-dev-{f}:live"))

          for f in ("get-all-checkpoints", "curation", "semantic", "notify-missing-schema")),
        Call("dynamodb:UpdateItem", CHECKPOINTS), key("Decrypt", "dynamodb"),
        LIVE_RUN,
        # Asked for when a machine is made that waits for jobs, whether it ever enters such a state or not.
        *(Call(f"events:{a}", JOB_RULE) for a in ("PutRule", "PutTargets", "DescribeRule")),
        *(Call(f"logs:{a}", "*") for a in (
            "CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery",
            "ListLogDeliveries", "PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups")),
        *(Call(f"xray:{a}", "*") for a in (
            "PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")),
    ],
    "function-schedule": [
        Call("lambda:InvokeFunction", arn("lambda", "function:lean-ops-dev-function-schedule:live")),
    ],
    "iot-rule": [
        Call("sqs:SendMessage", SOURCE), Call("sqs:SendMessage", DLQ),
        key("Decrypt", "sqs"), key("GenerateDataKey", "sqs"),
    ],
}  # fmt: skip

# How the code makes a call: a method of a client, or of the Iceberg library's catalog, table or file IO.
MADE_BY = {
    "firehose:PutRecordBatch": {"put_record_batch"},
    "sqs:SendMessage": {"send_message_batch"},
    "sqs:ReceiveMessage": {"receive_message"},
    "sqs:ChangeMessageVisibility": {"change_message_visibility_batch"},
    "dynamodb:GetItem": {"get_item"},
    "dynamodb:BatchGetItem": {"batch_get_item"},
    "dynamodb:Query": {"get_paginator"},
    "glue:GetTables": {"get_paginator"},
    "states:StartExecution": {"start_execution"},
    "dynamodb:UpdateItem": {"update_item"},
    "dynamodb:PutItem": {"put_item"},
    "states:DescribeExecution": {"describe_execution"},
    "lambda:InvokeFunction": {"invoke"},
    "lambda:ListEventSourceMappings": {"list_event_source_mappings"},
    "lambda:UpdateEventSourceMapping": {"update_event_source_mapping"},
    "cloudwatch:DescribeAlarms": {"describe_alarms"},
    "cloudwatch:GetMetricData": {"get_metric_data"},
    "secretsmanager:GetSecretValue": {"get_secret_value"},
    "glue:GetDatabase": {"commit_table", "update_schema"},
    "glue:GetTable": {"load_table"},
    "glue:UpdateTable": {"commit_table", "update_schema"},
    "glue:CreateTable": {"create_table"},
    "s3:GetObject": {"get_object", "head_object", "open_input", "load_table", "manifests"},
    "s3:ListBucket": {"head_object", "load_table", "get_paginator"},
    "s3:PutObject": {"open_output", "new_output", "put_object"},
    "s3:AbortMultipartUpload": {"open_output", "new_output"},
    "s3:DeleteObject": {"remove_files"},
}
# Calls that Lambda makes with the function's role: the mapping's polling, log lines, traces, decryption.
MADE_BY_LAMBDA = {
    "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "logs:CreateLogStream",
    "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords", "kms:Decrypt",
    "kms:GenerateDataKey",
}  # fmt: skip

# Resource "*", by policy and statement, and why AWS takes nothing narrower. Every function also has
# SendTraces: X-Ray knows no resources for these actions.
WILDCARDS = {
    ("spark-job", "FindLog"): "DescribeLogGroups lists",
    ("ci-apply", "CreateSparkApplication"): "CreateApplication takes no resource: its tags bound it",
    ("observation", "CountRecords"): "GetMetricData takes no resource",
    ("circuit-breaker", "FindMapping"): "ListEventSourceMappings takes no resource",
    ("circuit-breaker", "CountBatches"): "GetMetricData takes no resource",
    ("pipeline", "DeliverLogs"): "log deliveries and the account's log resource policy have no ARN",
    ("encryption-key", "GovernByIdentityPolicies"): "in a key policy, * is the key itself",
    ("encryption-key", "EncryptLogs"): "in a key policy, * is the key itself",
    ("encryption-key", "PublishAlarms"): "in a key policy, * is the key itself",
    ("encryption-key", "PublishBudgets"): "in a key policy, * is the key itself",
    ("boundary", "WithoutResource"): "the same actions of X-Ray and log deliveries, bounded for every role",
    ("ci-plan", "FindWithoutResource"): "lists of log groups, stored queries and key aliases, the check of a "
    "definition and the list of alarms take no resource",
    ("circuit-breaker", "SeeAlarms"): "DescribeAlarms limited to names is refused in public reports",
    ("ci-plan", "ReadSubscriptions"): "SNS takes no resource for a subscription's settings",
    ("ci-apply", "ManageSubscriptions"): "SNS takes no resource for what is done to a subscription",
    ("ci-apply", "CreateMappings"): "a mapping has no ARN before it exists; the condition names functions",
    ("ci-apply", "ManageQueries"): "CloudWatch Logs takes no resource for a stored query",
    ("ci-smoke", "FindWithoutResource"): "lists of alarms, mappings and log groups take no resource",
    ("ci-apply-lake", "CreateKey"): "a key has no ARN before it exists; the condition names its tags",
}
