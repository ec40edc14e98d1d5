"""Schedule → metrics about the layers of all topics: freshness, lag, and records that did not arrive.

One pass, whatever the number of topics: pointers and checkpoints of all in few calls, then the tables of
those that have changed, several at once, as far as the time goes. Alarms watch the worst topic, and notes say
which it is (``common.runtime.worst``); topics that are watched have metrics of their own. Nothing is changed
and no payload is read. A table that cannot be looked at (missing, its metadata damaged) hides neither the
other layers of its topic nor other topics: each is named and counted, and at the end the error rises.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.metrics import MetricUnit

from common.contract.contracted import promised_s
from common.contract.store import contract_times
from common.lake.catalog import lake_catalog
from common.lake.pointers import pointers
from common.lake.specifications import open_table
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.errors import PermanentError
from common.runtime.items import read_items
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import LookUpSettings
from common.runtime.topics import read_registry
from common.runtime.worst import note
from observation import arrival, behind
from observation.arrival import Counters, Delivery, Window
from observation.looking import Look, look_at_what_changed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> LookUpSettings:
    return LookUpSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


_LOOK_MINUTES: Final = 5
"""Between two looks: the function's schedule."""
_ARRIVAL_MINUTES: Final = 15
# What must be left when a topic is begun: its tables are opened and their manifests read.
_A_LOOK_MS: Final = 45_000
_MOST_SAID: Final = 20


class LayersUnseen(PermanentError):  # noqa: N818 - layers are unseen; "error" would say less
    """Some layers could not be looked at; the others were."""


@logged("observation")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, dict[str, float]]:
    """Per topic ``{<layer>_freshness_s, <layer>_lag_s, records_missing}``; the worst of each is emitted.

    ``time`` in the event (RFC 3339) stands for now. Raises LayersUnseen, after everything else was seen.
    """
    settings = _settings()
    now = datetime.fromisoformat(event["time"]) if "time" in event else outside.now()
    registry = read_registry(_client("s3"), settings.lake_bucket)
    keys = (f"{topic}#{kind}" for topic in registry.topics for kind in ("curated", "semantic", "observed"))
    one = Look(
        settings,
        registry,
        lake_catalog(),
        _client("dynamodb"),
        now,
        pointers(_client("glue"), settings.database),
        read_items(_client("dynamodb"), settings.checkpoints_table, keys),
        contract_times(_client("s3"), settings.lake_bucket),
        partial(promised_s, _client("s3"), settings.lake_bucket),
    )
    left = look_at_what_changed(one, lambda: context.get_remaining_time_in_millis() > _A_LOOK_MS)
    found = {topic: _layers(one, topic) for topic in registry.topics}
    behind.worst_lags(one)
    behind.broken_promises(one)
    # Counters cost by the call, and count an hour: every third look reads them.
    if now.minute % _ARRIVAL_MINUTES < _LOOK_MINUTES:
        for topic, missing in _arrivals(one).items():
            found[topic]["records_missing"] = missing
    failures = one.failures.found
    emit(
        settings.project,
        {"Observations": 1, "LayersUnseen": len(failures)},
        environment=settings.env,
    )
    logger("observation").info(
        "observed", extra={"topics": len(found), "looked_at": sorted(one.looked_at), "left": left}
    )
    if failures:
        logger("observation").error("not all layers could be seen", extra={"unseen": failures})
        more = len(failures) - _MOST_SAID
        raise LayersUnseen(
            "observation: expected to see every layer, found "
            + "; ".join(f"{what}: {why}" for what, why in sorted(failures.items())[:_MOST_SAID])
            + (f"; and {more} more" if more > 0 else "")
            + "; see `lean-ops doctor`, all others were seen"
        )
    return found


def _layers(one: Look, topic: str) -> dict[str, float]:
    """Freshness and lag of a topic's layers now, by what was seen of them at any time; emitted if watched."""
    settings, now = _settings(), one.now.timestamp()
    ages, lags = one.seen[topic].freshness_s(now), one.seen[topic].lag_s(now)
    for layer in {*ages, *lags} if one.registry.topics[topic].watched else ():
        values = {}
        if layer in ages:
            values["FreshnessSeconds"] = ages[layer]
        if layer in lags:
            values["LagSeconds"] = lags[layer]
        emit(
            settings.project,
            values,
            unit=MetricUnit.Seconds,
            environment=settings.env,
            topic=topic,
            layer=layer,
        )
    return {f"{layer}_freshness_s": age for layer, age in ages.items()} | {
        f"{layer}_lag_s": lag for layer, lag in lags.items()
    }


def _arrivals(one: Look) -> dict[str, int]:
    """Records missing, by topic; of those whose counters or RAW could not be read there is nothing."""
    settings = _settings()
    window = Window.settled(one.now)
    streams = {topic: settings.delivery_stream(topic) for topic in one.registry.topics}
    counters = Counters(_client("cloudwatch"), settings.project, settings.env, streams)
    deliveries = one.failures.attempt("arrival", lambda: counters.read(window, one.now)) or {}
    missing = {}
    for topic, delivery in deliveries.items():
        lost = one.failures.attempt(f"arrival of {topic}", partial(_missing, one, topic, delivery, window))
        if lost is not None:
            missing[topic] = lost
    emit(
        settings.project,
        {
            "RecordsMissing": max(missing.values(), default=0),
            "RowsRefused": sum(delivery.refused for delivery in deliveries.values()),
            "DeliveriesStalled": sum(delivery.stalled for delivery in deliveries.values()),
            "DeliveryAgeSeconds": max((delivery.age_s for delivery in deliveries.values()), default=0.0),
        },
        environment=settings.env,
    )
    for topic, delivery in deliveries.items():
        if one.registry.topics[topic].watched and topic in missing:
            emit(
                settings.project,
                {
                    "RecordsMissing": missing[topic],
                    "RowsRefused": delivery.refused,
                    "DeliveriesStalled": int(delivery.stalled),
                    "DeliveryAgeSeconds": delivery.age_s,
                },
                environment=settings.env,
                topic=topic,
            )
    _note(one, "records-missing", missing)
    _note(one, "delivery-failed", {topic: delivery.refused for topic, delivery in deliveries.items()})
    _note(one, "delivery-stalled", {topic: delivery.stalled for topic, delivery in deliveries.items()})
    _note(one, "raw-behind", {topic: delivery.age_s for topic, delivery in deliveries.items()})
    return missing


def _missing(one: Look, topic: str, delivery: Delivery, window: Window) -> int:
    if not delivery.accepted:
        return 0
    raw = open_table(one.catalog, _settings().table("raw", topic))
    in_raw = arrival.rows(raw, window)
    return arrival.missing(delivery.accepted, in_raw, delivery.refused, delivery.accepted_late)


def _note(one: Look, alarm: str, values: Mapping[str, float]) -> None:
    note(_client("dynamodb"), _settings().checkpoints_table, alarm, values, one.now)
