"""Where a command talks to: an environment on AWS, or what stands in for one, under one set of names.

target = Target.aws("dev", region="eu-west-1")
target = LocalTarget.running(folder)         # lean_ops.local: the stack that `lean-ops up` started
with target.reached():
    target.client("sqs").get_queue_url(QueueName=target.source_queue)

A command never asks which of them it has: what differs, the target answers for itself.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import mktime_tz, parsedate_tz
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, overload

from common.runtime import outside
from common.runtime.errors import PermanentError, TransientError
from common.runtime.settings import LakeSettings
from lean_ops.environment.repository import known_topics

# boto3 and Iceberg take most of a second to import, which a command that refuses what it was given, or asks
# neither, does not take: "heavy" below.
if TYPE_CHECKING:
    import boto3
    from pyiceberg.catalog import Catalog
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
    from types_boto3_sqs.type_defs import (
        SendMessageBatchRequestEntryTypeDef,
        SendMessageBatchResultTypeDef,
    )
    from types_boto3_stepfunctions.client import SFNClient

PROJECT = "lean-ops"


class TargetUnreachable(TransientError):  # noqa: N818 - the target is unreachable; "error" would say less
    """A command cannot reach what it talks to; the message says what was tried."""


class TargetRefused(PermanentError):  # noqa: N818 - the target refused; "error" would say less
    """An AWS service refused a call; the message says which and why."""


def told_the_time(session: "boto3.Session") -> "boto3.Session":  # noqa: TID251 - as for Target.session
    """Let the clients of ``session`` pass on what time services say that it is (``outside.told``).

    A laptop's clock may be minutes off, and AWS still takes its requests. What a command compares with times
    of AWS, and writes down for others, is to be AWS's time all the same.
    """

    def tell(http_response: Any, **_: Any) -> None:
        # Every answer of AWS has it (RFC 9110, section 6.6.1); a proxy may answer without one.
        if said := parsedate_tz(http_response.headers.get("date", "")):
            outside.told(datetime.fromtimestamp(mktime_tz(said), UTC))

    session.events.register("after-call", tell)
    return session


class QueueClient(Protocol):
    """What sending needs of an SQS client: boto3's, or the light one of the local stack."""

    def send_message_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803 - the names that boto3 gives them
        Entries: "Sequence[SendMessageBatchRequestEntryTypeDef]",  # noqa: N803
    ) -> "SendMessageBatchResultTypeDef":
        """Send up to ten messages; some may be refused."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True)
class Backlog:
    """What a delivery stream holds.

    ``failure``: what its last delivery failed of; empty when it did not. ``overdue_s``: seconds that it holds
    records beyond its buffering interval.
    """

    bytes: int
    failure: str
    overdue_s: float = 0.0


@dataclass(frozen=True)
class Target:
    """An environment on AWS: its names, its clients, its catalog, and how long its answers take.

    ``region`` None leaves it to the AWS configuration of the person running the command.
    """

    env: str
    project: str = PROJECT
    region: str | None = None
    topics: tuple[str, ...] = ("events",)

    look_s: ClassVar[float] = 2.0
    """Seconds between two looks at something that is waited for."""
    delivery_look_s: ClassVar[float] = 15.0
    """The same for events on their way into RAW: Firehose buffers for minutes."""
    delivery_patience_s: ClassVar[float] = 1_200.0
    """Seconds without any movement after which events on their way count as stuck."""
    delivery_takes: ClassVar[timedelta] = timedelta(hours=3)
    """Within so long Firehose commits a file of rows that it wrote, or gives up: it retries for two hours."""
    receive_wait_s: ClassVar[int] = 1
    """Long poll of a receive: only in one does SQS ask all of its servers."""
    has_production_timings: ClassVar[bool] = True
    """Whether time-outs and retention are those of a deployment, and not shortened for a laptop."""
    has_snowflake: ClassVar[bool] = True
    """Whether Snowflake reads Semantic, and refreshes at intervals."""

    @classmethod
    def aws(cls, env: str, project: str = PROJECT, region: str | None = None) -> "Target":
        """The environment ``env`` in the AWS account whose credentials are configured."""
        return Target(env, project, region, known_topics())

    @property
    def deploy_advice(self) -> str:
        """What to do where something differs from the repository."""
        return f"run `terraform apply` for {self.env}"

    @property
    def unreachable_advice(self) -> str:
        """What to look at where nothing answers."""
        return "check the AWS credentials and the network"

    @property
    def ledger_folder(self) -> Path | None:
        """Where it is written what was sent from here; None where others send as well."""
        return None

    def deliver_now(self) -> None:
        """Have Firehose deliver what it holds, where it can be asked to; else its interval passes."""

    def delivery_backlogs(self) -> Mapping[str, Backlog] | None:
        """What each delivery stream holds; None where nobody tells (alarms judge deliveries there)."""
        return None

    def disk_shortage(self) -> str:
        """What is wrong with the disk that events are accepted on; empty for nothing."""
        return ""

    def judge_alarms(self, now: datetime) -> None:
        """Have alarms judged now, where nobody does so by itself; CloudWatch does."""

    @property
    def settings(self) -> LakeSettings:
        """Names as the functions know them."""
        return LakeSettings(self.project, self.env, self.database, self.checkpoints_table)

    @property
    def name_prefix(self) -> str:
        """``<project>-<env>``, the start of every resource name."""
        return f"{self.project}-{self.env}"

    @property
    def database(self) -> str:
        """Glue database; Glue and Iceberg names take no hyphen."""
        return self.name_prefix.replace("-", "_")

    @property
    def workgroup(self) -> str:
        """Workgroup of Athena that queries the tables."""
        return self.name_prefix

    @property
    def lake_bucket(self) -> str:
        """Bucket of tables, contracts and errors; with the account on AWS, where names are global."""
        return f"{self.name_prefix}-lake-{self.account}"

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
        """How a function is addressed: by the alias that releases move."""
        return f"{self.function(name)}:live"

    @property
    def description(self) -> str:
        """What a command tries to reach, for messages."""
        # Not from the session: a profile that does not exist is one of the things this has to describe.
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return (
            f"environment {self.name_prefix} on AWS, region {region or 'of the profile'}, "
            f"profile {os.environ.get('AWS_PROFILE', 'default')}"
        )

    @cached_property
    def session(self) -> "boto3.Session":  # noqa: TID251 - the one place of commands
        """The boto3 session of whoever runs the command."""
        import boto3  # noqa: PLC0415 - heavy

        return told_the_time(boto3.Session(region_name=self.region))  # noqa: TID251 - likewise

    @overload
    def client(self, service: Literal["athena"]) -> Any: ...
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
        """A boto3 client of the service, the same for all who ask: threads share it, and none closes it."""
        with self._making:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: Any) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - heavy

        # An invocation runs up to 15 minutes, and must not be repeated because it takes long.
        patient = Config(retries={"total_max_attempts": 1}, read_timeout=910)
        return self.session.client(service, config=patient if service == "lambda" else None)

    # Reading a service's description takes longer than most calls, and a command makes a hundred.
    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    # Of all targets: a session is for one thread at a time (boto3 guide, "Multithreading with sessions").
    _making: ClassVar[threading.Lock] = threading.Lock()

    def queue_client(self) -> QueueClient:
        """The client to send messages with, which is its user's to close."""
        return cast("QueueClient", self._new_client("sqs"))

    def catalog(self) -> "Catalog":
        """The Iceberg catalog."""
        from common.lake.catalog import lake_catalog  # noqa: PLC0415 - heavy

        return lake_catalog(self._region_setting(), glue=self.client("glue"))

    def object_store(self) -> dict[str, str]:
        """Options of DuckDB's S3 secret beside key and region."""
        return {}

    def iceberg_server(self) -> dict[str, str]:
        """Where readers find the tables, as a server of the Open Data Contract Standard (v3.2)."""
        return {
            "server": self.env,
            "type": "iceberg",
            "environment": self.env,
            "catalog": "glue",
            "catalogUrl": f"https://glue.{self.session.region_name}.amazonaws.com/iceberg",
            "warehouse": self.account,
            "namespace": self.database,
        }

    def reader_settings(self) -> dict[str, str]:
        """Variables that datacontract-cli needs to read ``iceberg_server``, beside credentials of AWS."""
        return {}

    def _region_setting(self) -> dict[str, str]:
        region = self.session.region_name
        return {"AWS_REGION": region} if region else {}

    def queue_url(self, name: str) -> str:
        """URL of a queue by its name."""
        return self.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]

    @cached_property
    def account(self) -> str:
        """Account id of the credentials in use."""
        account: str = self._sts().get_caller_identity()["Account"]
        return account

    @cached_property
    def caller(self) -> str:
        """ARN of the identity whose credentials are in use: who is acting."""
        arn: str = self._sts().get_caller_identity()["Arn"]
        return arn

    def _sts(self) -> Any:
        return self.session.client("sts")

    @property
    def state_machine_arn(self) -> str:
        """ARN of the pipeline's state machine."""
        scope = f"{self.session.region_name}:{self.account}"
        return f"arn:{self.partition}:states:{scope}:stateMachine:{self.state_machine}"

    @property
    def runnable_arn(self) -> str:
        """What a run is started with: the version that is live."""
        return f"{self.state_machine_arn}:live"

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
        from botocore import exceptions  # noqa: PLC0415 - heavy

        unreachable = (
            exceptions.ConnectionError,
            exceptions.CredentialRetrievalError,
            exceptions.HTTPClientError,
            exceptions.InvalidRegionError,
            exceptions.NoCredentialsError,
            exceptions.NoRegionError,
            exceptions.PartialCredentialsError,
            exceptions.ProfileNotFound,
            exceptions.TokenRetrievalError,
        )
        try:
            yield
        except unreachable as error:
            raise TargetUnreachable(
                f"{self.description}: expected an answer, found {type(error).__name__}: {error}; "
                f"{self.unreachable_advice}"
            ) from error
        except exceptions.ClientError as error:
            answer = error.response["Error"]
            raise TargetRefused(
                f"{self.description}: expected {error.operation_name} to succeed, found {answer['Code']}: "
                f"{answer.get('Message', '')}; check that the environment is deployed, and your permissions"
            ) from error
