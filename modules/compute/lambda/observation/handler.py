"""Schedule → metrics about the layers of every topic: freshness, lag, and records that did not arrive.

Nothing is changed and no payload is read. A table that cannot be looked at (it is missing, its metadata are
damaged) hides neither the other layers of its topic nor other topics: all are looked at, each that could not
be is named and counted, and then the error rises.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aws_lambda_powertools.metrics import MetricUnit
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.contract.store import contract_exists
from common.lake.catalog import lake_catalog
from common.lake.progress import checkpoint_of
from common.lake.specifications import open_table
from common.runtime.clients import client
from common.runtime.errors import LeanOpsError, PermanentError
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import LookUpSettings
from observation import arrival, freshness
from observation.arrival import Counters, Window

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> LookUpSettings:
    return LookUpSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


_Seen = TypeVar("_Seen")
_SOURCES: Final = {"curated": "raw", "semantic": "curated"}
_LAGS: Final = {"curated": freshness.raw_lag, "semantic": freshness.curated_lag}
_SHORT: Final = {"FreshnessSeconds": "freshness", "LagSeconds": "lag"}


class LayersUnseen(PermanentError):  # noqa: N818 - layers are unseen; "error" would say less
    """Some layers could not be looked at; the others were."""


class _Failures:
    """What could not be looked at, and why."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def attempt(self, what: str, look: Callable[[], _Seen]) -> _Seen | None:
        """What ``look`` gives; None where it fails, for whatever reason: one table must not hide others."""
        try:
            return look()
        except Exception as error:
            # Of errors that are not this project's only the class is kept: their messages may quote a value.
            said = f": {error}" if isinstance(error, LeanOpsError) else ""
            self.found[what] = f"{type(error).__name__}{said}"
            return None


@logged("observation")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, dict[str, float]]:
    """Per topic ``{<layer>_freshness_s, <layer>_lag_s, records_missing}``, which are emitted as well.

    ``time`` in the event (RFC 3339) stands for now. Raises LayersUnseen, after everything else was seen.
    """
    settings = _settings()
    now = datetime.fromisoformat(event["time"]) if "time" in event else datetime.now(UTC)
    catalog = lake_catalog()
    failures = _Failures()
    seen = {topic: _observe(topic, catalog, now, failures) for topic in settings.topics}
    emit(
        settings.project,
        {"Observations": 1, "LayersUnseen": len(failures.found)},
        environment=settings.env,
    )
    logger("observation").info("observed", extra={"topics": seen})
    if failures.found:
        logger("observation").error("not all layers could be seen", extra={"unseen": failures.found})
        raise LayersUnseen(
            "observation: expected to see every layer, found "
            + "; ".join(f"{what}: {why}" for what, why in sorted(failures.found.items()))
            + "; see `lean-ops doctor`, all others were seen"
        )
    return seen


def _observe(topic: str, catalog: Catalog, now: datetime, failures: _Failures) -> dict[str, float]:
    settings = _settings()
    has_contract = failures.attempt(
        f"contract of {topic}", lambda: contract_exists(_client("s3"), settings.lake_bucket, topic)
    )
    layers = ("raw", "curated", "semantic") if has_contract else ("raw", "curated")
    tables: dict[str, Table] = {}
    for layer in layers:
        name = settings.table(layer, topic)
        table = failures.attempt(name, partial(open_table, catalog, name))
        if table is not None:
            tables[layer] = table
    found: dict[str, float] = {}
    for layer in tables:
        values = _layer(topic, layer, tables, now, failures)
        emit(
            settings.project,
            values,
            unit=MetricUnit.Seconds,
            environment=settings.env,
            topic=topic,
            layer=layer,
        )
        found |= {f"{layer}_{_SHORT[name]}_s": seconds for name, seconds in values.items()}
    if (raw := tables.get("raw")) is not None:
        missing = failures.attempt(f"arrival of {topic}", lambda: _missing(topic, raw, now))
        if missing is not None:
            found["records_missing"] = missing
            emit(settings.project, {"RecordsMissing": missing}, environment=settings.env, topic=topic)
    return found


def _layer(
    topic: str, layer: str, tables: dict[str, Table], now: datetime, failures: _Failures
) -> dict[str, float]:
    """``FreshnessSeconds`` and ``LagSeconds`` of a layer, as far as they can be known."""
    settings, table = _settings(), tables[layer]
    name = settings.table(layer, topic)
    values: dict[str, float] = {}
    newest = failures.attempt(f"freshness of {name}", lambda: freshness.newest_event(table))
    if newest is not None:
        values["FreshnessSeconds"] = (now - newest).total_seconds()
    source = tables.get(_SOURCES.get(layer, ""))
    if source is not None:

        def behind() -> timedelta:
            checkpoint = checkpoint_of(table, layer, topic, settings, _client("dynamodb"))
            return _LAGS[layer](source, checkpoint, now)

        lag = failures.attempt(f"lag of {name}", behind)
        if lag is not None:
            values["LagSeconds"] = lag.total_seconds()
    return values


def _missing(topic: str, raw: Table, now: datetime) -> int:
    settings = _settings()
    window = Window.settled(now)
    counters = Counters(
        _client("cloudwatch"), settings.project, settings.env, topic, settings.delivery_stream(topic)
    )
    accepted, refused, late = counters.read(window, now)
    return arrival.missing(accepted, arrival.rows(raw, window), refused, late)
