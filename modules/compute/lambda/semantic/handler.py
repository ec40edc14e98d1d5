"""State machine → merge changed Curated rows of a topic into Semantic, under its contract.

Rules about all rows together are measured when Curated was read to its end and Semantic has changed since.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from common.contract import drift
from common.contract.contracts import Contract, load_contract
from common.contract.store import read_contract
from common.lake import views
from common.lake.catalog import lake_catalog
from common.lake.checkpoints import NOTHING, START, SourceCheckpoint
from common.lake.specifications import open_table
from common.layers import quality
from common.layers.erased import Erased
from common.layers.rejudging import Appeal, judge_again
from common.layers.semantic import Published, Staging, judge_here, publish
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import SemanticSettings
from common.runtime.topics import is_watched
from common.runtime.worst import note

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Of so few rows no share says anything.
_FEW_ROWS: Final = 100
# What must be left when another batch is read to measure rules.
_MEASURE_MS: Final = 60_000


@cache
def _settings() -> SemanticSettings:
    return SemanticSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@cache
def _pii_key() -> bytes:
    """The hashing key; one read a start, since a new key would break every join on the hashes."""
    secret = _client("secretsmanager").get_secret_value(SecretId=_settings().pii_key_secret_id)
    return str(secret["SecretString"]).encode()


@logged("semantic")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """What the state machine asks → ``Published.as_json``.

    ``{topic, run_id, source_token, source_position, raw_token, raw_position, target_snapshot}``; ``raw_*``:
    how far Curated has read RAW.

    ``{topic, run_id, quarantine}``: judge quarantined rows again instead (``rejudging.Appeal``); the answer
    is that of ``rejudging.Verdicts.as_json``.
    """
    if "quarantine" in event:
        return _judge_again(event)
    return run(event, judge_here, lambda: context.get_remaining_time_in_millis() > _MEASURE_MS)


def run(event: dict[str, Any], staging: Staging, go_on: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """A publication, with the work done where ``staging`` does it: here, or on Spark (``spark.job``).

    ``go_on`` is asked while rules are measured, whether there is time for more.
    """
    settings = _settings()
    topic, run_id = event["topic"], event["run_id"]

    def record_uncontracted(columns: Sequence[str]) -> None:
        entries = [drift.uncontracted_column(topic, column, run_id) for column in columns]
        drift.record(_client("dynamodb"), settings.drift_log_table, entries)

    contract = load_contract(read_contract(_client("s3"), settings.lake_bucket, topic), topic)
    done = publish(
        contract,
        SourceCheckpoint.parse(event["source_token"], event["source_position"]),
        run_id,
        settings=settings,
        catalog=lake_catalog(),
        pii_key=_pii_key(),
        record_uncontracted=record_uncontracted,
        record_replaced=_record_replaced(contract, run_id),
        columns_changed=_keep_view(topic),
        # An execution that began before its definition knew of these does not say.
        raw_read=SourceCheckpoint.parse(event.get("raw_token", NOTHING), event.get("raw_position", START)),
        erased=Erased.load(_client("s3"), settings.lake_bucket, topic, _pii_key),
        staging=staging,
        target_snapshot=event.get("target_snapshot", NOTHING),
    )
    _report(topic, done)
    if not done.backlog_rows:
        _measure(contract, go_on)
    return done.as_json()


def _measure(contract: Contract, go_on: Callable[[], bool]) -> None:
    """Measure the contract's rules, unless that was done of these rows; broken ones ring, or hold back."""
    settings, dynamodb, now = _settings(), _client("dynamodb"), outside.now()
    topic, table = contract.topic, settings.checkpoints_table
    key: Any = {"checkpoint_id": {"S": quality.item_of(topic)}}
    found = quality.Measurement.of(dynamodb.get_item(TableName=table, Key=key).get("Item", {}))
    if found is None and not contract.quality:
        return
    semantic = open_table(lake_catalog(), settings.table("semantic", topic))
    snapshot = semantic.current_snapshot()
    if found is None or not found.is_of(str(snapshot.snapshot_id) if snapshot else "", contract.version):
        found = quality.measure(semantic, contract.quality, version=contract.version, now=now, go_on=go_on)
        # Before it is remembered: killed between them, it is measured and held back again.
        if broken := found.broken("critical"):
            quality.hold_back(dynamodb, table, topic, broken, now)
        quality.keep(dynamodb, table, topic, found)
        logger("semantic").info("measured", extra=found.as_log())
    values = {"QualityRulesBroken": len(found.broken("error", "critical"))}
    emit(settings.project, values, environment=settings.env, layer="semantic")
    if is_watched(_client("s3"), settings.lake_bucket, topic):
        emit(settings.project, values, environment=settings.env, topic=topic, layer="semantic")
    note(dynamodb, table, "quality-broken", {topic: values["QualityRulesBroken"]}, now)


def _judge_again(event: dict[str, Any]) -> dict[str, Any]:
    settings = _settings()
    topic, run_id = event["topic"], event["run_id"]
    contract = load_contract(read_contract(_client("s3"), settings.lake_bucket, topic), topic)
    verdicts = judge_again(
        contract,
        Appeal.from_event(event["quarantine"]),
        run_id,
        settings=settings,
        catalog=lake_catalog(),
        pii_key=_pii_key(),
        record_replaced=_record_replaced(contract, run_id),
        columns_changed=_keep_view(topic),
        erased=Erased.load(_client("s3"), settings.lake_bucket, topic, _pii_key),
    )
    answer = verdicts.as_json()
    logger("semantic").info(
        "judged again", extra={name: answer[name] for name in answer if name != "samples"}
    )
    return answer


def _record_replaced(contract: Contract, run_id: str) -> Callable[[Sequence[str]], None]:
    def record(columns: Sequence[str]) -> None:
        entries = [drift.replaced_column(contract.topic, c, contract.version, run_id) for c in columns]
        drift.record(_client("dynamodb"), _settings().drift_log_table, entries)

    return record


def _keep_view(topic: str) -> Callable[[], None]:
    """Write Athena's view of Semantic, for columns of which one may have another type."""
    settings = _settings()

    def write() -> bool:
        schema = open_table(lake_catalog(), settings.table("semantic", topic)).schema()
        return views.follow(_client("glue"), settings.database, "semantic", topic, schema)

    return lambda: views.until_true(write)


def _report(topic: str, done: Published) -> None:
    settings = _settings()
    answer = done.as_json()
    logger("semantic").info(
        "published",
        extra={
            **answer,
            "rows_read": done.rows_read,
            "older": done.older,
            "nulled": {f"{column}: {rule}": count for (column, rule), count in done.nulled.items()},
            "merge": asdict(done.merge) if done.merge else {},
        },
    )
    few = done.rows_read <= _FEW_ROWS
    values = {
        "RowsRead": done.rows_read,
        "RowsWritten": int(answer["records_written"]),
        "RowsQuarantined": done.quarantined,
        "PercentQuarantined": 0.0 if few else 100 * done.quarantined / done.rows_read,
        "RowsSetAside": done.set_aside,
        "ValuesNulled": sum(done.nulled.values()),
        "BacklogRows": done.backlog_rows,
    }
    emit(settings.project, values, environment=settings.env, layer="semantic")
    if is_watched(_client("s3"), settings.lake_bucket, topic):
        emit(settings.project, values, environment=settings.env, topic=topic, layer="semantic")
    now = outside.now()
    for alarm, name in (("rows-set-aside", "RowsSetAside"), ("quarantine-share", "PercentQuarantined")):
        note(_client("dynamodb"), settings.checkpoints_table, alarm, {topic: values[name]}, now)
