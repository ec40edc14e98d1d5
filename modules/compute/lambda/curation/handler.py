"""State machine → merge new RAW events of a topic into Curated."""

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from common.contract import drift
from common.contract.contracted import contracted_columns, row_retention
from common.lake.catalog import lake_catalog
from common.lake.checkpoints import NOTHING, SourceCheckpoint
from common.layers.curated import Curated, Staging, curate, flatten_here
from common.layers.erased import Erased
from common.layers.uncurable import send_letters
from common.payload.columns import Columns
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import CurationSettings
from common.runtime.topics import is_watched
from common.runtime.worst import note

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> CurationSettings:
    return CurationSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


def _secret() -> bytes:
    """The key of the hashes of erased keys; asked for where a topic has any."""
    secret = _client("secretsmanager").get_secret_value(SecretId=_settings().pii_key_secret_id)
    return str(secret["SecretString"]).encode()


@logged("curation")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, Any]:
    """``{topic, run_id, source_token, source_position, target_snapshot}`` → ``Curated.as_json``."""
    return run(event, flatten_here)


def run(event: dict[str, Any], staging: Staging) -> dict[str, Any]:
    """The same, with the work done where ``staging`` does it: here, or on Spark (``spark.job``)."""
    settings = _settings()
    topic, run_id = event["topic"], event["run_id"]

    def record_columns(columns: Columns) -> None:
        samples = columns.samples
        entries = [drift.new_column(topic, name, run_id, samples.get(name)) for name in columns.new]
        entries += [drift.rescued(topic, finding, run_id) for finding in columns.rescued]
        entries += [drift.renamed_column(topic, *names, run_id) for names in columns.renamed.items()]
        drift.record(_client("dynamodb"), settings.drift_log_table, entries)

    retention = row_retention(_client("s3"), settings.lake_bucket, topic)
    done = curate(
        topic,
        SourceCheckpoint.parse(event["source_token"], event["source_position"]),
        run_id,
        settings=settings,
        catalog=lake_catalog(),
        record_columns=record_columns,
        set_aside=lambda rows: send_letters(_client("sqs"), settings.dead_letter_queue_url, rows),
        contracted=contracted_columns(_client("s3"), settings.lake_bucket, topic),
        refused_after=retention.days["curated"] if retention.refuses_late else None,
        erased=Erased.load(_client("s3"), settings.lake_bucket, topic, _secret),
        staging=staging,
        # An execution that began before its definition knew of it does not say.
        target_snapshot=event.get("target_snapshot", NOTHING),
    )
    _report(topic, done)
    return done.as_json()


def _report(topic: str, done: Curated) -> None:
    settings = _settings()
    log = logger("curation")
    facts = {**done.as_json(), "rows_read": done.rows_read, "erased": done.erased}
    if done.fallback:
        log.warning(done.fallback, extra=facts)
    merged = asdict(done.merge) if done.merge else {}
    log.info("curated", extra={**facts, "merge": merged})
    values = {
        "RowsRead": done.rows_read,
        "RowsSetAside": done.set_aside,
        "RowsWritten": int(done.as_json()["records_written"]),
        "BacklogRows": done.backlog_rows,
        "FullReads": 1 if done.fallback else 0,
    }
    emit(settings.project, values, environment=settings.env, layer="curated")
    if is_watched(_client("s3"), settings.lake_bucket, topic):
        emit(settings.project, values, environment=settings.env, topic=topic, layer="curated")
    now = outside.now()
    for alarm, name in (("rows-set-aside", "RowsSetAside"), ("checkpoint-expired", "FullReads")):
        note(_client("dynamodb"), settings.checkpoints_table, alarm, {topic: values[name]}, now)
    # One alarm for all topics; the drift log names the topic.
    emit(settings.project, {"ColumnLimitReached": 1 if done.columns_full else 0}, environment=settings.env)
