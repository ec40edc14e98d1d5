"""The local stack as a target: the same names, and its own answers wherever it differs from AWS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlparse

from lean_ops.environment.repository import known_topics
from lean_ops.environment.target import Backlog, QueueClient, Target, TargetUnreachable, told_the_time
from lean_ops.local import admin, alarms, disk, record
from lean_ops.local.stack import ACCOUNT, CREDENTIAL, DEFAULT_FOLDER

if TYPE_CHECKING:
    import boto3
    from pyiceberg.catalog import Catalog

LOCAL_ENV = "local"
SPARK_FILE = "with-spark"
"""The file in a stack's folder that says that it has Spark."""


def keep_spark(folder: Path, *, wanted: bool) -> None:
    """Let the stack in ``folder`` have Spark from now on, or not."""
    if wanted:
        (folder / SPARK_FILE).touch()
    else:
        (folder / SPARK_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class LocalTarget(Target):
    """A local stack. ``endpoints``: base URLs by service name, ``""`` for every service that has none.

    ``folder``: where it keeps its state.
    """

    endpoints: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    look_s: ClassVar[float] = 0.2
    delivery_look_s: ClassVar[float] = 0.3
    delivery_patience_s: ClassVar[float] = 60.0
    delivery_takes: ClassVar[timedelta] = timedelta(minutes=1)
    receive_wait_s: ClassVar[int] = 0  # one server, which knows at once
    has_production_timings: ClassVar[bool] = False
    has_snowflake: ClassVar[bool] = False  # DuckDB stands in for it, and reads the newest snapshot each time

    @classmethod
    def running(cls, folder: Path = DEFAULT_FOLDER) -> "LocalTarget":
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

    @property
    def deploy_advice(self) -> str:
        """What to do where something differs from the repository."""
        return "run `lean-ops up`"

    @property
    def unreachable_advice(self) -> str:
        """What to look at where nothing answers."""
        return "see `lean-ops status`"

    @property
    def lake_bucket(self) -> str:
        """Bucket of tables, contracts and errors: no other account has a name here."""
        return f"{self.name_prefix}-lake"

    @property
    def ledger_folder(self) -> Path | None:
        """Where it is written what was sent: nobody else sends here."""
        return self.folder / "ledger" if self.folder else None

    @property
    def with_spark(self) -> bool:
        """Whether it was started with Spark."""
        return self.folder is not None and (self.folder / SPARK_FILE).exists()

    def live(self, name: str) -> str:
        """How a function is addressed: there are no releases."""
        return self.function(name)

    @property
    def runnable_arn(self) -> str:
        """What a run is started with: there is one version."""
        return self.state_machine_arn

    @property
    def description(self) -> str:
        """What a command tries to reach, for messages."""
        return f"local stack at {self.endpoints['']}"

    @cached_property
    def session(self) -> "boto3.Session":
        """The boto3 session: a fixed credential; whatever AWS_PROFILE says has no part in this."""
        import boto3  # noqa: PLC0415 - heavy, as for the targets on AWS
        import botocore.session  # noqa: PLC0415

        no_profile = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
        session = boto3.Session(
            aws_access_key_id=CREDENTIAL,
            aws_secret_access_key=CREDENTIAL,
            region_name=self.region,
            botocore_session=no_profile,
        )
        return told_the_time(session)

    def _new_client(self, service: Any) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - heavy

        endpoint = self.endpoints.get(service, self.endpoints[""])
        # A process on this machine answers or is down: there is nothing to wait for.
        # Jobs run up to 15 minutes, and an invocation must not be repeated because it takes long.
        retries: Any = {"mode": "standard", "total_max_attempts": 2}
        config = Config(retries=retries, connect_timeout=2, read_timeout=900)
        return self.session.client(service, endpoint_url=endpoint, config=config)

    def queue_client(self) -> QueueClient:
        """The client to send messages with: a light one."""
        from lean_ops.local.queue_client import LocalQueueClient  # noqa: PLC0415 - heavy: it raises what boto3 raises

        return LocalQueueClient(self.endpoints[""])

    def catalog(self) -> "Catalog":
        """The Iceberg catalog."""
        from common.lake.catalog import lake_catalog  # noqa: PLC0415 - heavy

        return lake_catalog(
            self._region_setting() | {"AWS_ENDPOINT_URL": self.endpoints[""]},
            {"client.access-key-id": CREDENTIAL, "client.secret-access-key": CREDENTIAL},
            self.client("glue"),
        )

    def iceberg_server(self) -> dict[str, str]:
        """The emulator's Glue catalog."""
        return super().iceberg_server() | {"catalogUrl": self.endpoints[""]}

    def reader_settings(self) -> dict[str, str]:
        """The emulator has Glue's own interface, and not the one of Iceberg's REST catalogs."""
        endpoint, region = self.endpoints[""], self.region or ""
        return {
            "DATACONTRACT_ICEBERG_CATALOG_TYPE": "glue",
            "DATACONTRACT_ICEBERG_S3_ENDPOINT": endpoint,
            "DATACONTRACT_ICEBERG_PROPERTIES": f"glue.endpoint={endpoint},glue.region={region}",
            "DATACONTRACT_S3_ACCESS_KEY_ID": CREDENTIAL,
            "DATACONTRACT_S3_SECRET_ACCESS_KEY": CREDENTIAL,
            "DATACONTRACT_S3_REGION": region,
        }

    def object_store(self) -> dict[str, str]:
        """Options of DuckDB's S3 secret beside key and region."""
        return {
            "ENDPOINT": urlparse(self.endpoints[""]).netloc,
            "URL_STYLE": "path",
            "USE_SSL": "false",
        }

    @cached_property
    def account(self) -> str:
        """Account id of the emulator."""
        return ACCOUNT

    def _sts(self) -> Any:
        return self.session.client("sts", endpoint_url=self.endpoints[""])

    def deliver_now(self) -> None:
        """Have the stand-in deliver what it holds; raises LocalStackError where it cannot."""
        admin.flush(self.endpoints["firehose"])

    def delivery_backlogs(self) -> Mapping[str, Backlog]:
        """What each delivery stream holds."""
        streams = admin.streams(self.endpoints["firehose"])
        return {
            name: Backlog(stream.backlog_bytes, stream.failure, stream.overdue_s)
            for name, stream in streams.items()
        }

    def disk_shortage(self) -> str:
        """What is wrong with the disk that events are accepted on; empty for nothing."""
        return disk.shortage(self.folder) if self.folder else ""

    def judge_alarms(self, now: datetime) -> None:
        """Judge the alarms now, which tells those who listen."""
        alarms.evaluate(self, now)
