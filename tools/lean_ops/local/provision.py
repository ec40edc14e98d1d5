"""Creates the pipeline's resources on the local stack, from the files that Terraform reads.

``provision(target)`` may run any number of times: it creates what is missing, brings functions, contracts
and the state machine up to date, and drops nothing.
"""

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from common.contract.contracts import load_contract
from common.contract.store import put_contract
from common.intake.sources.registry import SOURCES_KEY, digest_of
from common.lake import views
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER, TableSpec, align, open_table
from common.lake.upkeep import UpkeepPolicy
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from lean_ops.build.packaging import code_archive
from lean_ops.environment.repository import (
    LAMBDA_CODE,
    TABLE_SPECIFICATIONS,
    FunctionEntry,
    contract_files,
    function_catalogue,
    render,
    spark_entry,
    state_machine_definition,
)
from lean_ops.environment.source_files import registry_content
from lean_ops.environment.target import Target
from lean_ops.local import alarms, job_runs

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

SOURCE_FUNCTION = "sqs_processor"
# A laptop has few cores, and each run takes one.
RUNS_AT_ONCE = 4
SCHEDULE_RATE = "15 minutes"

_LAYERS_OF_EVERY_TOPIC = ("raw", "curated")

_DAY_S = 86_400
# The emulator asks for a role and never looks at it; on AWS every function has its own.
_ROLE = "arn:aws:iam::{account}:role/local"


@dataclass(frozen=True)
class Tuning:
    """What differs between a laptop, a test and AWS. The defaults suit a demonstration.

    ``visibility_timeout_s``: before a failed message is tried again (on AWS six times the timeout).
    ``buffer_interval_s`` and ``buffer_mib``: Firehose's buffering hints. ``max_receive_count``: tries
    before the dead-letter queue. ``concurrency``: batches at once of the queue's function. ``schedules``:
    whether scheduled functions are invoked by themselves, as long as the stack runs.
    """

    visibility_timeout_s: int = 60
    max_receive_count: int = 6
    buffer_interval_s: int = 2
    buffer_mib: int = 64
    batch_size: int = 10_000
    batching_window_s: int = 1
    concurrency: int = 2
    schedules: bool = False


def provision(
    target: Target,
    tuning: Tuning | None = None,
    code_root: Path = LAMBDA_CODE,
    kept: Mapping[str, str | None] | None = None,
) -> None:
    """Create or update every resource of the pipeline on ``target``, a local stack.

    ``code_root`` holds the shared package and a folder for each function of the catalogue. ``kept``: topics
    whose contract stays as it is published (its text; None: there is none), whatever the checkout has.
    """
    tuning = tuning or Tuning()
    checkout = {topic: path.read_bytes().decode() for topic, path in contract_files().items()}
    contracts = {topic: text for topic, text in {**checkout, **(kept or {})}.items() if text is not None}
    queue_urls = _queues(target, tuning)
    _bucket(target)
    _contracts(target, {topic: text for topic, text in contracts.items() if topic not in (kept or {})})
    _dynamodb_tables(target)
    _pii_key(target)
    _iceberg_tables(target, target.catalog(), contracts)
    _delivery_streams(target, tuning)
    write_registries(target, contracts)
    values = placeholder_values(target, queue_urls)
    arns = {entry.name: _function(target, entry, values, code_root) for entry in function_catalogue()}
    _event_source_mapping(target, arns[SOURCE_FUNCTION], tuning)
    machine = {"state_machine_arn": target.state_machine_arn, **_jobs(target, values)}
    _state_machine(target, values | machine | {f"{name}_arn": arn for name, arn in arns.items()})
    alarms.create(target, arns)
    if tuning.schedules:
        _schedules(target, arns, values)


def placeholder_values(target: Target, queue_urls: Mapping[str, str]) -> dict[str, str]:
    """What the placeholders of the function catalogue stand for on ``target``.

    In Terraform locals.tf gives them, and modules/compute what it names itself.
    """
    return {
        "project": target.project,
        "env": target.env,
        "name_prefix": target.name_prefix,
        "region": str(target.region),
        "account": target.account,
        "database": target.database,
        "lake_bucket": target.lake_bucket,
        "checkpoints_table": target.checkpoints_table,
        "drift_log_table": target.drift_log_table,
        "audit_table": target.audit_table,
        "source_queue_url": queue_urls[target.source_queue],
        "dead_letter_queue_url": queue_urls[target.dead_letter_queue],
        "pii_key_secret_id": target.pii_key_secret,
        "live_state_machine_arn": target.runnable_arn,
        "runs_at_once": str(RUNS_AT_ONCE),
        "schedule_rate": SCHEDULE_RATE,
        "queue_function": target.function(SOURCE_FUNCTION),
        "upkeep_function": target.live("maintenance"),
        "snapshot_retention_days": str(UpkeepPolicy().snapshots_for.days),
        "orphan_file_retention_days": str(UpkeepPolicy().orphans_for.days),
        "partition": target.partition,
        "spark": "on" if getattr(target, "with_spark", False) else "off",
    }


def _jobs(target: Target, values: Mapping[str, str]) -> dict[str, str]:
    """What the state machine says of jobs on Spark, whether anything asks for one or not."""
    entry = spark_entry()
    return {
        "spark_application_id": job_runs.APPLICATION,
        "spark_job_role_arn": _ROLE.format(account=target.account),
        "spark_entry_point": "spark/job.py",
        **{f"spark_{job}_parameters": entry.submit_parameters(job, values) for job in entry.environment},
    }


def _queues(target: Target, tuning: Tuning) -> dict[str, str]:
    """URL by name of the source queue and its dead-letter queue."""
    sqs = target.client("sqs")
    dead_letter_url = sqs.create_queue(QueueName=target.dead_letter_queue)["QueueUrl"]
    sqs.set_queue_attributes(
        QueueUrl=dead_letter_url, Attributes={"MessageRetentionPeriod": str(14 * _DAY_S)}
    )
    dead_letter_arn = sqs.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])[
        "Attributes"
    ]["QueueArn"]
    source_url = sqs.create_queue(QueueName=target.source_queue)["QueueUrl"]
    redrive = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": tuning.max_receive_count}
    sqs.set_queue_attributes(
        QueueUrl=source_url,
        Attributes={
            "MessageRetentionPeriod": str(4 * _DAY_S),
            "VisibilityTimeout": str(tuning.visibility_timeout_s),
            "RedrivePolicy": json.dumps(redrive),
        },
    )
    return {target.dead_letter_queue: dead_letter_url, target.source_queue: source_url}


def _bucket(target: Target) -> None:
    s3 = target.client("s3")
    _unless_there(
        "BucketAlreadyOwnedByYou",
        s3.create_bucket,
        Bucket=target.lake_bucket,
        CreateBucketConfiguration={"LocationConstraint": target.region},
    )


def _contracts(target: Target, contracts: Mapping[str, str]) -> None:
    s3 = target.client("s3")
    for topic, text in contracts.items():
        put_contract(s3, target.lake_bucket, topic, load_contract(text, topic).version, text)


def write_registries(target: Target, contracts: Collection[str] | None = None) -> None:
    """Sources and topics, for the functions: last of what a topic needs, so that none is taken before.

    ``contracts``: the topics that have one; default: those of the checkout. The topics have the digest of the
    sources, and come after them. Raises SourceError.
    """
    contracts = contract_files() if contracts is None else contracts
    s3 = target.client("s3")
    described = registry_content()
    if described is not None:
        s3.put_object(Bucket=target.lake_bucket, Key=SOURCES_KEY, Body=described)
    registry = registry_of(
        {topic: Topic(contract=topic in contracts) for topic in target.topics},
        "" if described is None else digest_of(described),
    )
    s3.put_object(Bucket=target.lake_bucket, Key=REGISTRY_KEY, Body=registry.written())


def _dynamodb_tables(target: Target) -> None:
    dynamodb = target.client("dynamodb")
    keys = {
        target.checkpoints_table: ["checkpoint_id"],
        target.drift_log_table: ["topic", "entry"],
        target.audit_table: ["operation_id"],
    }
    for table, names in keys.items():
        _unless_there(
            "ResourceInUseException",
            dynamodb.create_table,
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind}
                for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
            ],
        )
        # DynamoDB refuses to switch on what is on.
        _unless_there(
            "ValidationException",
            dynamodb.update_time_to_live,
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )


def _pii_key(target: Target) -> None:
    """A key of this stack alone; kept as long as the stack, so that hashes stay comparable."""
    _unless_there(
        "ResourceExistsException",
        target.client("secretsmanager").create_secret,
        Name=target.pii_key_secret,
        SecretString=secrets.token_hex(32),
    )


def _iceberg_tables(target: Target, catalog: "Catalog", contracts: Mapping[str, str]) -> None:
    """RAW and Curated of every topic; Semantic and Quarantine of those with a contract; what runs did."""
    catalog.create_namespace_if_not_exists(target.database)
    for topic in target.topics:
        contract = load_contract(contracts[topic], topic) if topic in contracts else None
        for layer in LAYERS if contract else _LAYERS_OF_EVERY_TOPIC:
            spec = TableSpec.load(
                TABLE_SPECIFICATIONS, layer, low_volume=contract is not None and contract.low_volume
            )
            if contract and layer == "semantic":
                spec = spec.with_columns(contract.semantic_columns())
            location = f"s3://{target.lake_bucket}/{layer}_{topic}"
            spec.create(catalog, target.settings.table(layer, topic), location)
            align(catalog, target.settings.table(layer, topic), spec)
            table = open_table(catalog, target.settings.table(layer, topic))
            for view in views.of_table(layer, topic, table.schema()):
                views.keep(target.client("glue"), target.database, view)
    for name in OPERATIONS:
        spec = TableSpec.load(TABLE_SPECIFICATIONS, f"{OPERATIONS_LAYER}_{name}")
        identifier = target.settings.table(OPERATIONS_LAYER, name)
        spec.create(catalog, identifier, f"s3://{target.lake_bucket}/{OPERATIONS_LAYER}_{name}")
        align(catalog, identifier, spec)


def _delivery_streams(target: Target, tuning: Tuning) -> None:
    firehose = target.client("firehose")
    role = _ROLE.format(account=target.account)
    for topic in target.topics:
        _unless_there(
            "ResourceInUseException",
            firehose.create_delivery_stream,
            DeliveryStreamName=target.settings.delivery_stream(topic),
            DeliveryStreamType="DirectPut",
            IcebergDestinationConfiguration={
                "RoleARN": role,
                "AppendOnly": True,
                "CatalogConfiguration": {
                    "CatalogARN": f"arn:{target.partition}:glue:{target.region}:{target.account}:catalog"
                },
                "BufferingHints": {
                    "SizeInMBs": tuning.buffer_mib,
                    "IntervalInSeconds": tuning.buffer_interval_s,
                },
                "DestinationTableConfigurationList": [
                    {"DestinationDatabaseName": target.database, "DestinationTableName": f"raw_{topic}"}
                ],
                "S3Configuration": {
                    "RoleARN": role,
                    "BucketARN": f"arn:{target.partition}:s3:::{target.lake_bucket}",
                    "ErrorOutputPrefix": f"delivery-errors/{topic}/!{{firehose:error-output-type}}/",
                },
            },
        )


def _function(target: Target, entry: FunctionEntry, values: Mapping[str, str], code_root: Path) -> str:
    """Create or update one function; gives its ARN."""
    client = target.client("lambda")
    name = target.function(entry.name)
    code = code_archive(entry.name, code_root)
    configuration: dict[str, Any] = {
        "Role": _ROLE.format(account=target.account),
        "Handler": entry.handler,
        "Runtime": entry.runtime,
        "Description": entry.description,
        "MemorySize": entry.memory_mb,
        "Timeout": entry.timeout_s,
        "Environment": {"Variables": {k: render(v, values) for k, v in entry.environment.items()}},
    }
    try:
        return client.create_function(FunctionName=name, Code={"ZipFile": code}, **configuration)[
            "FunctionArn"
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceConflictException":
            raise
    client.update_function_code(FunctionName=name, ZipFile=code)
    return client.update_function_configuration(FunctionName=name, **configuration)["FunctionArn"]


def _event_source_mapping(target: Target, function_arn: str, tuning: Tuning) -> None:
    client = target.client("lambda")
    queue_arn = f"arn:{target.partition}:sqs:{target.region}:{target.account}:{target.source_queue}"
    settings: dict[str, Any] = {
        "BatchSize": tuning.batch_size,
        "MaximumBatchingWindowInSeconds": tuning.batching_window_s,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": tuning.concurrency},
    }
    existing = client.list_event_source_mappings(EventSourceArn=queue_arn)["EventSourceMappings"]
    if existing:
        # Enabled or not is the circuit breaker's decision, not ours.
        client.update_event_source_mapping(UUID=existing[0]["UUID"], **settings)
    else:
        client.create_event_source_mapping(
            EventSourceArn=queue_arn, FunctionName=function_arn, Enabled=True, **settings
        )


def _state_machine(target: Target, values: Mapping[str, str]) -> None:
    client = target.client("stepfunctions")
    definition = json.dumps(state_machine_definition(values))
    role = _ROLE.format(account=target.account)
    try:
        client.create_state_machine(name=target.state_machine, definition=definition, roleArn=role)
    except ClientError as error:
        if error.response["Error"]["Code"] != "StateMachineAlreadyExists":
            raise
        client.update_state_machine(
            stateMachineArn=target.state_machine_arn, definition=definition, roleArn=role
        )


def _schedules(target: Target, arns: Mapping[str, str], values: Mapping[str, str]) -> None:
    client = target.client("scheduler")
    for entry in function_catalogue():
        if entry.schedule is None:
            continue
        request: Any = {
            "Name": target.function(entry.name),
            "ScheduleExpression": render(entry.schedule, values),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": arns[entry.name],
                "RoleArn": _ROLE.format(account=target.account),
                "Input": json.dumps({"trigger": "schedule"}),
            },
        }
        try:
            client.create_schedule(**request)
        except client.exceptions.ConflictException:
            client.update_schedule(**request)


def _unless_there(code: str, create: Callable[..., object], **request: Any) -> None:
    """Create something that may exist: the error ``code`` means that it does."""
    try:
        create(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
