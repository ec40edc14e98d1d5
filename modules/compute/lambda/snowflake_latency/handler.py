"""Schedule → how long analysts' queries on Semantic take in Snowflake, as a distribution of samples.

Where it has read to is an item of the checkpoints table, so that no query counts twice and none is left out.
It is off while the secret ``<project>-<env>-snowflake`` has no value, and says so each time.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import urllib3
from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import ClientError

from common.clients import client
from common.contract_store import contract_exists
from common.logs import logged, logger
from common.metrics import emit
from common.settings import Settings
from snowflake_latency.history import latencies, stalled
from snowflake_latency.sql_api import Access, SqlApi, retries

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ITEM: Final = "snowflake-latency#history"
# Long enough for Snowflake to have written down every query that ended before it.
_DELAY: Final = timedelta(minutes=1)
# The first look, and after a long silence: the history is kept for seven days.
_FIRST: Final = timedelta(hours=1)
_OLDEST: Final = timedelta(days=6)


@cache
def _settings() -> Settings:
    return Settings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=retries())


@logged("snowflake_latency")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, Any]:
    """``{configured, queries, stalled}``. ``time`` in the event (RFC 3339) stands for now."""
    settings = _settings()
    access = _access()
    if access is None:
        logger("snowflake_latency").info(
            f"Snowflake is not configured: secret {settings.snowflake_secret_id} has no value"
        )
        return {"configured": False, "queries": 0, "stalled": []}
    now = datetime.fromisoformat(event["time"]) if "time" in event else datetime.now(UTC)
    api = SqlApi(access, _pool())
    since, until = _read_until(now), now - _DELAY
    took = latencies(api, since, until)
    standing = stalled(api, _tables(access))
    emit(
        settings.project,
        {"SnowflakeQueryMilliseconds": took},
        unit=MetricUnit.Milliseconds,
        environment=settings.env,
    )
    emit(settings.project, {"SnowflakeRefreshStalled": len(standing)}, environment=settings.env)
    _remember(until)
    done = {"configured": True, "queries": len(took), "stalled": standing}
    logger("snowflake_latency").info("query history read", extra=done)
    return done


def _access() -> Access | None:
    try:
        secret = _client("secretsmanager").get_secret_value(SecretId=_settings().snowflake_secret_id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return Access.parse(secret["SecretString"])


def _tables(access: Access) -> list[str]:
    """Semantic tables, of the topics that have a contract, by their names in Snowflake."""
    settings = _settings()
    return [
        f"{access.database}.{access.schema}.semantic_{topic}"
        for topic in settings.topics
        if contract_exists(_client("s3"), settings.lake_bucket, topic)
    ]


def _read_until(now: datetime) -> datetime:
    item = (
        _client("dynamodb")
        .get_item(TableName=_settings().checkpoints_table, Key={"checkpoint_id": {"S": ITEM}})
        .get("Item")
    )
    if item is None:
        return now - _FIRST
    return max(datetime.fromisoformat(item["read_until"]["S"]), now - _OLDEST)


def _remember(until: datetime) -> None:
    """Written after the metrics: a crash between the two counts some queries twice, and loses none."""
    _client("dynamodb").put_item(
        TableName=_settings().checkpoints_table,
        Item={"checkpoint_id": {"S": ITEM}, "read_until": {"S": until.isoformat()}},
    )
