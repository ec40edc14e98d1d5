"""Settings of the functions, each read once from its environment: one class a function.

The variables are written in one place, ``modules/compute/functions.json``; Terraform and the local stack
both render that file. A field ``lake_bucket`` is the variable ``LEAN_OPS_LAKE_BUCKET``. Every field of a
function's class is required, so that a variable that was forgotten ends the first call of the function
instead of becoming an empty name, or zero days of retention.

``Settings.from_environment`` is called on first use, never at import.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from common.runtime.errors import MissingSetting

PREFIX: Final = "LEAN_OPS_"


@dataclass(frozen=True)
class Settings:
    """What every function knows of its environment."""

    project: str
    env: str

    @property
    def name_prefix(self) -> str:
        """``<project>-<env>``, the start of every resource name."""
        return f"{self.project}-{self.env}"

    def delivery_stream(self, topic: str) -> str:
        """Name of the Firehose stream that delivers ``topic`` (docs/adr/0003)."""
        return f"{self.name_prefix}-{topic.replace('_', '-')}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings; raises MissingSetting naming the variable and where it is set.

        Numbers are whole and at least 1: there is no setting of which none would be meant.
        """
        env = os.environ if environ is None else environ
        values: dict[str, Any] = {
            field.name: _parsed(PREFIX + field.name.upper(), field.type, env) for field in fields(cls)
        }
        return cls(**values)


@dataclass(frozen=True)
class LakeSettings(Settings):
    """Where tables and their checkpoints are."""

    database: str
    checkpoints_table: str

    def table(self, layer: str, topic: str) -> str:
        """Catalog identifier of a topic's table: ``<database>.<layer>_<topic>``."""
        return f"{self.database}.{layer}_{topic}"

    def rebuild_table(self, layer: str, topic: str) -> str:
        """Catalog identifier of the table in which a layer is rebuilt, beside the live one."""
        return f"{self.database}.rebuild_{layer}_{topic}"


@dataclass(frozen=True)
class JobSettings(LakeSettings):
    """What one run of a job takes.

    ``batch_rows`` and ``batch_bytes`` bound what it takes from its source (``incremental.Bounds``: rows;
    bytes that they take in memory). ``memory_budget_mb``: what its merge may hold.
    """

    batch_rows: int
    batch_bytes: int
    memory_budget_mb: int


@dataclass(frozen=True)
class SqsProcessorSettings(Settings):
    """Of ``sqs_processor``. ``lake_bucket``: the bucket of the registry of topics."""

    dead_letter_queue_url: str
    lake_bucket: str


@dataclass(frozen=True)
class LookUpSettings(LakeSettings):
    """Of ``observation``, which looks at tables and contracts, and of ``get_all_checkpoints``."""

    lake_bucket: str


@dataclass(frozen=True)
class CheckpointsSettings(LookUpSettings):
    """Of ``get_all_checkpoints``. ``spark``: ``on`` where the environment has it.

    Jobs run there from a backlog of so many rows on, or of so many bytes in files.
    """

    spark: str
    spark_from_rows: int
    spark_from_bytes: int


@dataclass(frozen=True)
class ReconciliationSettings(LakeSettings):
    """Of ``reconciliation``. ``pii_key_secret_id``: the secret with the key of the hashes of erased keys."""

    lake_bucket: str
    dead_letter_queue_url: str
    pii_key_secret_id: str


@dataclass(frozen=True)
class DispatcherSettings(LakeSettings):
    """Of ``dispatcher``. ``runs_at_once``: topics that may be worked on at the same time.

    ``live_state_machine_arn``: what a run is started with, with its alias where it has one.
    """

    lake_bucket: str
    live_state_machine_arn: str
    runs_at_once: int


@dataclass(frozen=True)
class CurationSettings(JobSettings):
    """Of ``curation``. ``pii_key_secret_id``: the secret with the key of the hashes of erased keys."""

    lake_bucket: str
    drift_log_table: str
    dead_letter_queue_url: str
    pii_key_secret_id: str


@dataclass(frozen=True)
class SemanticSettings(JobSettings):
    """Of ``semantic``. ``pii_key_secret_id``: the secret with the key of the hashes of personal data."""

    lake_bucket: str
    drift_log_table: str
    pii_key_secret_id: str


@dataclass(frozen=True)
class NoticeSettings(Settings):
    """Of ``notify_missing_schema``."""

    drift_log_table: str


@dataclass(frozen=True)
class ArchiveSettings(Settings):
    """Of ``archive_dead_letters``."""

    dead_letter_queue_url: str
    lake_bucket: str


@dataclass(frozen=True)
class BreakerSettings(Settings):
    """Of ``circuit_breaker``.

    ``queue_function``: the function that the source queue feeds, with its alias where it has one.
    """

    checkpoints_table: str
    queue_function: str


@dataclass(frozen=True)
class MaintenanceSettings(LakeSettings):
    """Of ``maintenance``: how many days snapshots, and files that nothing refers to, are kept.

    ``upkeep_function``: the function itself, with its alias where it has one: it shares out its work.
    """

    lake_bucket: str
    drift_log_table: str
    upkeep_function: str
    snapshot_retention_days: int
    orphan_file_retention_days: int


@dataclass(frozen=True)
class AlertSettings(Settings):
    """Of ``alert``. ``alert_secret_id``: the secret that says where alarms go.

    ``checkpoints_table``: where it is noted which topics an alarm is about.
    """

    alert_secret_id: str
    checkpoints_table: str


@dataclass(frozen=True)
class SnowflakeSettings(Settings):
    """Of ``snowflake_latency``. ``snowflake_secret_id``: the secret that says how to reach Snowflake."""

    database: str
    lake_bucket: str
    checkpoints_table: str
    snowflake_secret_id: str


OF_FUNCTION: Final[Mapping[str, type[Settings]]] = {
    "sqs_processor": SqsProcessorSettings,
    "dispatcher": DispatcherSettings,
    "get_all_checkpoints": CheckpointsSettings,
    "curation": CurationSettings,
    "semantic": SemanticSettings,
    "notify_missing_schema": NoticeSettings,
    "archive_dead_letters": ArchiveSettings,
    "circuit_breaker": BreakerSettings,
    "maintenance": MaintenanceSettings,
    "alert": AlertSettings,
    "observation": LookUpSettings,
    "reconciliation": ReconciliationSettings,
    "snowflake_latency": SnowflakeSettings,
}
"""The class of every function of the catalogue."""


def _parsed(variable: str, kind: object, env: Mapping[str, str]) -> str | int:
    """The value of a variable as a field's type has it."""
    text = env.get(variable, "").strip()
    if kind is int:
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise _wrong(variable, "a whole number of at least 1", text)
        return int(text)
    if not text:
        raise _wrong(variable, "a value", text)
    return text


def _wrong(variable: str, expected: str, text: str) -> MissingSetting:
    found = repr(text) if text else "none"
    return MissingSetting(
        f"environment variable {variable}: expected {expected}, found {found}; "
        "it is set for the function in modules/compute/functions.json"
    )
