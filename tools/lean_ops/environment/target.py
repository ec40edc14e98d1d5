"""Where a command talks to: the local stack or an environment on AWS, under one set of names.

target = Target.local()                      # the stack that `lean-ops up` started
target = Target.aws("dev", region="eu-west-1")
with target.reached():
    target.client("sqs").get_queue_url(QueueName=target.source_queue)
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from pyiceberg.catalog import Catalog

from common.lake.catalog import lake_catalog
from common.runtime.errors import PermanentError, TransientError
from common.runtime.settings import LakeSettings
from lean_ops.environment.repository import known_topics
from lean_ops.local import record
from lean_ops.local.queue_client import LocalQueueClient
from lean_ops.local.stack import ACCOUNT, CREDENTIAL, DEFAULT_FOLDER
from lean_ops.simulate.sender import QueueClient

if TYPE_CHECKING:
    from types_boto3_cloudwatch.client import CloudWatchClient
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_firehose.client import FirehoseClient
    from types_boto3_glue.client import GlueClient
    from types_boto3_lambda.client import LambdaClient
    from types_boto3_logs.client import CloudWatchLogsClient
    from types_boto3_s3.client import S3Client
    from types_boto3_scheduler.client import EventBridgeSchedulerClient
    from types_boto3_secretsmanager.client import SecretsManagerClient
    from types_boto3_sns.client import SNSClient
    from types_boto3_sqs.client import SQSClient
    from types_boto3_stepfunctions.client import SFNClient

PROJECT = "lean-ops"
LOCAL_ENV = "local"

# An invocation runs up to 15 minutes, and must not be repeated because it takes long.
_LAMBDA = Config(retries={"total_max_attempts": 1}, read_timeout=910)

_UNREACHABLE = (
    BotoConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)


class TargetUnreachable(TransientError):  # noqa: N818 - the target is unreachable; "error" would say less
    """A command cannot reach what it talks to; the message says what was tried."""


class TargetRefused(PermanentError):  # noqa: N818 - the target refused; "error" would say less
    """An AWS service refused a call; the message says which and why."""


@dataclass(frozen=True)
class Target:
    """An environment: its names, its clients, its catalog.

    ``endpoints``: base URLs that replace AWS's, by service name, ``""`` for every other service; empty on
    AWS. ``folder``: where a local stack keeps its state. ``region`` None leaves it to the AWS configuration
    of the person running the command.
    """

    env: str
    project: str = PROJECT
    region: str | None = None
    topics: tuple[str, ...] = ("events",)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def local(cls, folder: Path = DEFAULT_FOLDER) -> "Target":
        """The local stack in ``folder``; raises TargetUnreachable when none runs there."""
        known = record.load(folder)
        if known is None:
            raise TargetUnreachable(
                f"local stack: expected one in {folder.resolve()}, found none; start it with `lean-ops up`"
            )
        # Whoever answers on a port may be another checkout's stack: the process is asked who it is.
        if ended := [name for name, process in known.processes.items() if not process.running()]:
            raise TargetUnreachable(
                f"local stack: expected {' and '.join(ended)} of {folder.resolve()} to run, found it ended; "
                "start it again with `lean-ops up`"
            )
        endpoints = {"": known.emulator.endpoint, "firehose": known.firehose.endpoint}
        return cls(LOCAL_ENV, region=known.region, topics=known_topics(), endpoints=endpoints, folder=folder)

    @classmethod
    def aws(cls, env: str, project: str = PROJECT, region: str | None = None) -> "Target":
        """The environment ``env`` in the AWS account whose credentials are configured."""
        return cls(env, project, region, known_topics())

    @property
    def is_local(self) -> bool:
        """Whether this is a local stack."""
        return bool(self.endpoints)

    @property
    def settings(self) -> LakeSettings:
        """Names as the functions know them."""
        return LakeSettings(self.project, self.env, self.topics, self.database, self.checkpoints_table)

    @property
    def name_prefix(self) -> str:
        """``<project>-<env>``, the start of every resource name."""
        return f"{self.project}-{self.env}"

    @property
    def database(self) -> str:
        """Glue database; Glue and Iceberg names take no hyphen."""
        return self.name_prefix.replace("-", "_")

    @property
    def lake_bucket(self) -> str:
        """Bucket of tables, contracts and errors; with the account on AWS, where names are global."""
        return f"{self.name_prefix}-lake" if self.is_local else f"{self.name_prefix}-lake-{self.account}"

    @property
    def source_queue(self) -> str:
        """Queue that devices send to."""
        return f"{self.name_prefix}-source"

    @property
    def dead_letter_queue(self) -> str:
        """Queue of rejected and of repeatedly failed messages."""
        return f"{self.name_prefix}-dlq"

    @property
    def checkpoints_table(self) -> str:
        """DynamoDB table of checkpoints and leases."""
        return f"{self.name_prefix}-checkpoints"

    @property
    def drift_log_table(self) -> str:
        """DynamoDB table of schema drift."""
        return f"{self.name_prefix}-drift-log"

    @property
    def audit_table(self) -> str:
        """DynamoDB table of operations (``lean_ops.environment.audit``)."""
        return f"{self.name_prefix}-audit"

    @property
    def pii_key_secret(self) -> str:
        """Secret with the key that PII is hashed with."""
        return f"{self.name_prefix}-pii-key"

    @property
    def state_machine(self) -> str:
        """State machine of the pipeline."""
        return f"{self.name_prefix}-pipeline"

    def function(self, name: str) -> str:
        """Deployed name of a function of the catalogue: ``sqs_processor`` → ``…-sqs-processor``."""
        return f"{self.name_prefix}-{name.replace('_', '-')}"

    def live(self, name: str) -> str:
        """How a function is addressed: by the alias that releases move; the local stack has no releases."""
        return self.function(name) if self.is_local else f"{self.function(name)}:live"

    @property
    def description(self) -> str:
        """What a command tries to reach, for messages."""
        if self.is_local:
            return f"local stack at {self.endpoints['']}"
        # Not from the session: a profile that does not exist is one of the things this has to describe.
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return (
            f"environment {self.name_prefix} on AWS, region {region or 'of the profile'}, "
            f"profile {os.environ.get('AWS_PROFILE', 'default')}"
        )

    @cached_property
    def session(self) -> boto3.Session:
        """The boto3 session: a fixed credential for the emulator, the person's own for AWS."""
        if self.is_local:
            # Whatever AWS_PROFILE says, even a profile that does not exist, has no part in this.
            no_profile = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
            return boto3.Session(
                aws_access_key_id=CREDENTIAL,
                aws_secret_access_key=CREDENTIAL,
                region_name=self.region,
                botocore_session=no_profile,
            )
        return boto3.Session(region_name=self.region)

    @overload
    def client(self, service: Literal["cloudwatch"]) -> "CloudWatchClient": ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> "DynamoDBClient": ...
    @overload
    def client(self, service: Literal["firehose"]) -> "FirehoseClient": ...
    @overload
    def client(self, service: Literal["glue"]) -> "GlueClient": ...
    @overload
    def client(self, service: Literal["lambda"]) -> "LambdaClient": ...
    @overload
    def client(self, service: Literal["logs"]) -> "CloudWatchLogsClient": ...
    @overload
    def client(self, service: Literal["s3"]) -> "S3Client": ...
    @overload
    def client(self, service: Literal["scheduler"]) -> "EventBridgeSchedulerClient": ...
    @overload
    def client(self, service: Literal["secretsmanager"]) -> "SecretsManagerClient": ...
    @overload
    def client(self, service: Literal["sns"]) -> "SNSClient": ...
    @overload
    def client(self, service: Literal["sqs"]) -> "SQSClient": ...
    @overload
    def client(self, service: Literal["stepfunctions"]) -> "SFNClient": ...
    def client(self, service: Any) -> Any:
        """A boto3 client of the service, at the right endpoint."""
        if not self.is_local:
            return self.session.client(service, config=_LAMBDA if service == "lambda" else None)
        # A process on this machine answers or is down: there is nothing to wait for.
        # Jobs run up to 15 minutes, and an invocation must not be repeated because it takes long.
        patience = Config(
            retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=900
        )
        endpoint = self.endpoints.get(service, self.endpoints[""])
        return self.session.client(service, endpoint_url=endpoint, config=patience)

    def queue_client(self) -> QueueClient:
        """The client to send messages with: the SDK's, or on the local stack a light one."""
        return LocalQueueClient(self.endpoints[""]) if self.is_local else self.client("sqs")

    def catalog(self) -> Catalog:
        """The Iceberg catalog."""
        region = self.session.region_name
        environ = {"AWS_REGION": region} if region else {}
        if not self.is_local:
            return lake_catalog(environ)
        return lake_catalog(
            environ | {"AWS_ENDPOINT_URL": self.endpoints[""]},
            {"client.access-key-id": CREDENTIAL, "client.secret-access-key": CREDENTIAL},
        )

    def queue_url(self, name: str) -> str:
        """URL of a queue by its name."""
        return self.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]

    @cached_property
    def account(self) -> str:
        """Account id: the emulator's own, or of the credentials in use."""
        if self.is_local:
            return ACCOUNT
        account: str = self.session.client("sts").get_caller_identity()["Account"]
        return account

    @cached_property
    def caller(self) -> str:
        """ARN of the identity whose credentials are in use: who is acting."""
        sts = self.session.client("sts", endpoint_url=self.endpoints.get(""))
        arn: str = sts.get_caller_identity()["Arn"]
        return arn

    @property
    def state_machine_arn(self) -> str:
        """ARN of the pipeline's state machine."""
        scope = f"{self.session.region_name}:{self.account}"
        return f"arn:{self.partition}:states:{scope}:stateMachine:{self.state_machine}"

    @property
    def runnable_arn(self) -> str:
        """What a run is started with: the version that is live; locally there is one version."""
        return self.state_machine_arn if self.is_local else f"{self.state_machine_arn}:live"

    @property
    def partition(self) -> str:
        """AWS partition of the region (``aws``, ``aws-cn``, …)."""
        region = self.session.region_name
        return str(self.session.get_partition_for_region(region)) if region else "aws"

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Say in one sentence what AWS SDKs say in many ways.

        No connection becomes TargetUnreachable, a call that a service refused TargetRefused; both name what
        was tried.
        """
        try:
            yield
        except _UNREACHABLE as error:
            advice = "see `lean-ops status`" if self.is_local else "check the AWS credentials and the network"
            raise TargetUnreachable(
                f"{self.description}: expected an answer, found {type(error).__name__}: {error}; {advice}"
            ) from error
        except ClientError as error:
            answer = error.response["Error"]
            raise TargetRefused(
                f"{self.description}: expected {error.operation_name} to succeed, found {answer['Code']}: "
                f"{answer.get('Message', '')}; check that the environment is deployed, and your permissions"
            ) from error
