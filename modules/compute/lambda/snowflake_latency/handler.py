"""Schedule → how long analysts' queries on Semantic take in Snowflake, as a distribution of samples.

Where it has read to is an item of the checkpoints table, so that no query counts twice and none is left out.
A table counts as stalled when Snowflake says that it does not refresh it, and when it lacks a snapshot of the
table for longer than an hour, whatever it says. It is off while the secret ``<project>-<env>-snowflake`` has
no value, and says so each time.
"""

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import ClientError

from common.lake.pointers import pointers
from common.readers.history import latencies
from common.readers.sql_api import Access, SqlApi
from common.readers.staleness import late
from common.runtime import outside
from common.runtime.asking import Asker
from common.runtime.clients import client
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import SnowflakeSettings
from common.runtime.topics import read_registry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ITEM: Final = "snowflake-latency#history"
# Long enough for Snowflake to have written down every query that ended before it.
_DELAY: Final = timedelta(minutes=1)
# The first look, and after a long silence: the history is kept for seven days.
_FIRST: Final = timedelta(hours=1)
_OLDEST: Final = timedelta(days=6)
# One table is looked at well within it: what must be left when the look begins.
_TABLE_MS: Final = 45_000


@cache
def _settings() -> SnowflakeSettings:
    return SnowflakeSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@cache
def _asker() -> Asker:
    return Asker()


@logged("snowflake_latency")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """``{configured, queries, stalled, unknown}``. ``time`` in the event (RFC 3339) stands for now."""
    settings = _settings()
    access = _access()
    if access is None:
        logger("snowflake_latency").info(
            f"Snowflake is not configured: secret {settings.snowflake_secret_id} has no value"
        )
        return {"configured": False, "queries": 0, "stalled": [], "unknown": {}}
    now = datetime.fromisoformat(event["time"]) if "time" in event else outside.now()
    api = SqlApi(access, _asker())
    since, until = _read_until(now), now - _DELAY
    took = latencies(api, since, until)
    emit(
        settings.project,
        {"SnowflakeQueryMilliseconds": took},
        unit=MetricUnit.Milliseconds,
        environment=settings.env,
    )
    # Before the tables are looked at, so that nothing about them hides the latencies.
    _remember(until)
    found = late(
        api,
        _committed(),
        _read,
        now,
        go_on=lambda: context.get_remaining_time_in_millis() > _TABLE_MS,
    )
    schema = f"{access.database}.{access.schema}"
    stalled = sorted(f"{schema}.{table}" for table in found.tables)
    unknown = {f"{schema}.{table}": why for table, why in found.unknown.items()}
    emit(
        settings.project,
        {"SnowflakeRefreshStalled": len(stalled), "SnowflakeRefreshUnknown": len(unknown)},
        environment=settings.env,
    )
    done = {
        "configured": True,
        "queries": len(took),
        "stalled": stalled,
        "unknown": unknown,
    }
    log = logger("snowflake_latency")
    (log.warning if unknown else log.info)("query history read", extra=done)
    return done


def _access() -> Access | None:
    try:
        secret = _client("secretsmanager").get_secret_value(SecretId=_settings().snowflake_secret_id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return Access.parse(secret["SecretString"])


def _committed() -> dict[str, str]:
    """The metadata file that the catalog has of each Semantic table, of the topics that have a contract."""
    registry = read_registry(_client("s3"), _settings().lake_bucket)
    found = pointers(_client("glue"), _settings().database)
    tables = (f"semantic_{topic}" for topic, known in registry.topics.items() if known.contract)
    return {table: found[table] for table in tables if table in found}


def _read(location: str) -> bytes:
    """The content of a metadata file."""
    bucket, _, key = location.partition("://")[2].partition("/")
    content: bytes = _client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _read_until(now: datetime) -> datetime:
    item = (
        _client("dynamodb")
        .get_item(TableName=_settings().checkpoints_table, Key={"checkpoint_id": {"S": ITEM}})
        .get("Item")
    )
    if item is None:
        return now - _FIRST
    try:
        read_until = datetime.fromisoformat(item["read_until"]["S"])
        return max(read_until, now - _OLDEST)
    except (KeyError, TypeError, ValueError):
        logger("snowflake_latency").error(
            f"item {ITEM} of {_settings().checkpoints_table}: expected read_until as a time, found something "
            "else; the last hour is read, and the item written anew"
        )
        return now - _FIRST


def _remember(until: datetime) -> None:
    """Written after the metrics: a crash between the two counts some queries twice, and loses none."""
    _client("dynamodb").put_item(
        TableName=_settings().checkpoints_table,
        Item={"checkpoint_id": {"S": ITEM}, "read_until": {"S": until.isoformat()}},
    )
