"""Which custom metrics the functions emit: CloudWatch bills a name with each set of its dimensions.

A test reads every ``emit`` of the functions and holds it against this list.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class When(StrEnum):
    """When a metric is sent."""

    ALWAYS = "always"
    """Each time that the function's schedule starts it, events or not."""
    EVENTS = "events"
    """When events come."""
    WATCHED = "watched"
    """For topics that are watched, each time or when events come."""
    RARELY = "rarely"
    """When something is wrong or is switched on; a few hours a month, not counted."""


@dataclass(frozen=True)
class Emitted:
    """``names`` of one function. ``per``: the dimensions beside the environment.

    ``times``: sets of these dimensions, for each topic where the topic is one of them.
    """

    function: str
    names: tuple[str, ...]
    per: tuple[str, ...]
    when: When
    times: int = 1


_DELIVERIES: Final = ("RecordsMissing", "RowsRefused", "DeliveriesStalled", "DeliveryAgeSeconds")
_CURATED: Final = ("RowsRead", "RowsSetAside", "RowsWritten", "BacklogRows", "FullReads")
_PUBLISHED: Final = (
    "RowsRead",
    "RowsWritten",
    "RowsQuarantined",
    "PercentQuarantined",
    "RowsSetAside",
    "ValuesNulled",
    "BacklogRows",
)
EMITTED: Final = (
    Emitted("circuit_breaker", ("BreakerOpen", "BreakerHalfOpen"), (), When.ALWAYS),
    Emitted("observation", ("Observations", "LayersUnseen", "TopicsLate"), (), When.ALWAYS),
    Emitted("observation", ("LagSeconds",), ("layer",), When.ALWAYS, 2),  # RAW lags behind nothing
    Emitted("observation", _DELIVERIES, (), When.ALWAYS),
    Emitted("observation", _DELIVERIES, ("topic",), When.WATCHED),
    Emitted("observation", ("FreshnessSeconds",), ("topic", "layer"), When.WATCHED, 3),
    Emitted("observation", ("LagSeconds",), ("topic", "layer"), When.WATCHED, 2),
    Emitted("reconciliation", ("RowsUnreconciled",), (), When.ALWAYS),
    Emitted("reconciliation", ("RowsUnreconciled",), ("topic",), When.WATCHED),
    Emitted("maintenance", ("FilesCompacted", "MostFilesInPartition"), (), When.ALWAYS),
    Emitted(
        "archive_dead_letters",
        ("DeadLettersArchived", "IncompleteArchivePasses", "DamagedArchiveLines"),
        (),
        When.ALWAYS,
    ),
    Emitted(
        "sqs_processor",
        ("EventsReceived", "EventsDelivered", "EventsRejected", "EventsFailed", "FailedBatches"),
        (),
        When.EVENTS,
    ),
    Emitted("sqs_processor", ("EventsAccepted",), ("topic",), When.EVENTS),
    Emitted("sqs_processor", ("EventsAcceptedLate",), ("topic",), When.RARELY),
    Emitted("sqs_processor", ("RegistryUnread",), (), When.RARELY),
    Emitted("sqs_processor", ("EventsRejectedByReason",), ("reason",), When.RARELY),
    Emitted("sqs_processor", ("ReadingsRead", "ReadingsRefused"), (), When.EVENTS),
    Emitted("sqs_processor", ("ReadingsRead",), ("source",), When.EVENTS),
    Emitted("sqs_processor", ("ReadingsSkipped", "ReadingsRefused"), ("source", "reason"), When.RARELY),
    Emitted("curation", _CURATED, ("layer",), When.EVENTS),
    Emitted("curation", _CURATED, ("topic", "layer"), When.WATCHED),
    Emitted("curation", ("ColumnLimitReached",), (), When.EVENTS),
    Emitted("semantic", _PUBLISHED, ("layer",), When.EVENTS),
    Emitted("semantic", _PUBLISHED, ("topic", "layer"), When.WATCHED),
    Emitted("semantic", ("QualityRulesBroken",), ("layer",), When.RARELY),  # where a contract has rules
    Emitted("semantic", ("QualityRulesBroken",), ("topic", "layer"), When.RARELY),
    Emitted("notify_missing_schema", ("MissingContract",), ("topic",), When.RARELY),
    Emitted("alert", ("AlertsSent", "AlertsOff"), (), When.RARELY),
    Emitted("snowflake_latency", ("SnowflakeQueryMilliseconds",), (), When.RARELY),
    Emitted("snowflake_latency", ("SnowflakeRefreshStalled", "SnowflakeRefreshUnknown"), (), When.RARELY),
)
