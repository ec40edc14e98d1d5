"""Schedule → metrics about the layers of every topic: freshness, lag, and records that did not arrive.

Nothing is changed and no payload is read. A topic that cannot be looked at (a table is missing) does not hide
the others: they are looked at first, then the error rises.
"""

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit
from pyiceberg.catalog import Catalog

from common.catalog import lake_catalog
from common.clients import client
from common.contract_store import contract_exists
from common.errors import PermanentError
from common.logs import logged, logger
from common.metrics import emit
from common.progress import checkpoint_of
from common.settings import Settings
from common.tables import open_table
from observation import arrival, freshness
from observation.arrival import Counters, Window

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> Settings:
    return Settings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("observation")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, dict[str, float]]:
    """Per topic ``{<layer>_freshness_s, <layer>_lag_s, records_missing}``, which are emitted as well.

    ``time`` in the event (RFC 3339) stands for now.
    """
    settings = _settings()
    now = datetime.fromisoformat(event["time"]) if "time" in event else datetime.now(UTC)
    catalog = lake_catalog()
    seen: dict[str, dict[str, float]] = {}
    failed: list[PermanentError] = []
    for topic in settings.topics:
        try:
            seen[topic] = _observe(topic, catalog, now)
        except PermanentError as error:
            failed.append(error)
    emit(settings.project, {"Observations": 1}, environment=settings.env)
    logger("observation").info("observed", extra={"topics": seen})
    if failed:
        raise failed[0]
    return seen


def _observe(topic: str, catalog: Catalog, now: datetime) -> dict[str, float]:
    settings, dynamodb = _settings(), _client("dynamodb")
    raw, curated = (open_table(catalog, settings.table(layer, topic)) for layer in ("raw", "curated"))
    tables = {"raw": raw, "curated": curated}
    lags = {
        "curated": freshness.raw_lag(raw, checkpoint_of(curated, "curated", topic, settings, dynamodb), now)
    }
    if contract_exists(_client("s3"), settings.lake_bucket, topic):
        tables["semantic"] = semantic = open_table(catalog, settings.table("semantic", topic))
        lags["semantic"] = freshness.curated_lag(
            curated, checkpoint_of(semantic, "semantic", topic, settings, dynamodb), now
        )
    found: dict[str, float] = {}
    for layer, table in tables.items():
        values: dict[str, float] = {}
        if (newest := freshness.newest_event(table)) is not None:
            values["FreshnessSeconds"] = found[f"{layer}_freshness_s"] = (now - newest).total_seconds()
        if layer in lags:
            values["LagSeconds"] = found[f"{layer}_lag_s"] = lags[layer].total_seconds()
        emit(
            settings.project,
            values,
            unit=MetricUnit.Seconds,
            environment=settings.env,
            topic=topic,
            layer=layer,
        )
    window = Window.settled(now)
    counters = Counters(
        _client("cloudwatch"), settings.project, settings.env, topic, settings.delivery_stream(topic)
    )
    accepted, refused, late = counters.read(window, now)
    found["records_missing"] = arrival.missing(accepted, arrival.rows(raw, window), refused, late)
    emit(
        settings.project,
        {"RecordsMissing": found["records_missing"]},
        environment=settings.env,
        topic=topic,
    )
    return found
