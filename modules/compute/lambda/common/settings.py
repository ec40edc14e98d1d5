"""Settings of a function, read once from its environment.

The variables are written in one place, ``modules/compute/functions.json``; Terraform and the local stack
both render that file. ``Settings.from_environment`` is called on first use, never at import.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import MissingSetting


@dataclass(frozen=True)
class Settings:
    """What a function knows about its environment.

    ``batch_rows`` and ``batch_bytes`` bound what one job run takes from its source (rows; bytes of the
    source's data files). ``*_secret_id`` name secrets in Secrets Manager: the hashing key, where alarms go,
    how to reach Snowflake.
    ``*_retention_days``: what maintenance keeps of the tables.
    ``queue_function``: the function that the source queue feeds, with its alias where it has one.
    """

    project: str
    env: str
    topics: tuple[str, ...]
    database: str
    lake_bucket: str
    checkpoints_table: str
    drift_log_table: str
    dead_letter_queue_url: str
    pii_key_secret_id: str
    alert_secret_id: str
    snowflake_secret_id: str
    state_machine_arn: str
    queue_function: str
    batch_rows: int
    batch_bytes: int
    memory_budget_mb: int
    snapshot_retention_days: int = 0
    orphan_file_retention_days: int = 0

    @property
    def name_prefix(self) -> str:
        """``<project>-<env>``, the start of every resource name."""
        return f"{self.project}-{self.env}"

    def delivery_stream(self, topic: str) -> str:
        """Name of the Firehose stream that delivers ``topic`` (docs/adr/0003)."""
        return f"{self.name_prefix}-{topic.replace('_', '-')}"

    def table(self, layer: str, topic: str) -> str:
        """Catalog identifier of a topic's table: ``<database>.<layer>_<topic>``."""
        return f"{self.database}.{layer}_{topic}"

    def rebuild_table(self, layer: str, topic: str) -> str:
        """Catalog identifier of the table in which a layer is rebuilt, beside the live one."""
        return f"{self.database}.rebuild_{layer}_{topic}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings; raises MissingSetting naming the variable and where it is set.

        Variables that a function's catalogue entry leaves out are empty (text) or zero (numbers): the
        function does not use them.
        """
        env = os.environ if environ is None else environ

        def number(name: str) -> int:
            text = env.get(name, "0")
            if not text.isascii() or not text.isdigit():
                raise MissingSetting(
                    f"environment variable {name}: expected a whole number, found {text!r}; "
                    "correct it in modules/compute/functions.json"
                )
            return int(text)

        def required(name: str) -> str:
            value = env.get(name, "")
            if not value:
                raise MissingSetting(
                    f"environment variable {name}: expected a value, found none; "
                    "it is set for every function in modules/compute/functions.json"
                )
            return value

        return cls(
            project=required("LEAN_OPS_PROJECT"),
            env=required("LEAN_OPS_ENV"),
            topics=tuple(t.strip() for t in required("LEAN_OPS_TOPICS").split(",")),
            database=env.get("LEAN_OPS_DATABASE", ""),
            lake_bucket=env.get("LEAN_OPS_LAKE_BUCKET", ""),
            checkpoints_table=env.get("LEAN_OPS_CHECKPOINTS_TABLE", ""),
            drift_log_table=env.get("LEAN_OPS_DRIFT_LOG_TABLE", ""),
            dead_letter_queue_url=env.get("LEAN_OPS_DEAD_LETTER_QUEUE_URL", ""),
            pii_key_secret_id=env.get("LEAN_OPS_PII_KEY_SECRET_ID", ""),
            alert_secret_id=env.get("LEAN_OPS_ALERT_SECRET_ID", ""),
            snowflake_secret_id=env.get("LEAN_OPS_SNOWFLAKE_SECRET_ID", ""),
            state_machine_arn=env.get("LEAN_OPS_STATE_MACHINE_ARN", ""),
            queue_function=env.get("LEAN_OPS_QUEUE_FUNCTION", ""),
            batch_rows=number("LEAN_OPS_BATCH_ROWS"),
            batch_bytes=number("LEAN_OPS_BATCH_BYTES"),
            memory_budget_mb=number("LEAN_OPS_MEMORY_BUDGET_MB"),
            snapshot_retention_days=number("LEAN_OPS_SNAPSHOT_RETENTION_DAYS"),
            orphan_file_retention_days=number("LEAN_OPS_ORPHAN_FILE_RETENTION_DAYS"),
        )
