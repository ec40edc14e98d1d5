"""What an environment on AWS really did in the last week, scaled to a month.

CloudWatch's own metrics say it, and ``ops_runs`` what merges asked S3 for.

Asking costs a cent for a thousand metrics. An environment that is younger than a week seems to do less.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lean_ops.environment.target import Target
from lean_ops.operate.cost.bill import MERGE_GETS, MERGE_PUTS, Measured, Usage
from lean_ops.operate.cost.settings import MONTH_S, Settings

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

LOOKED_BACK: Final = timedelta(days=7)
_DAY_S: Final = 86_400
# GetMetricData takes so many queries at once.
_AT_ONCE: Final = 500


@dataclass(frozen=True)
class _Sum:
    """A metric whose sum is asked for."""

    namespace: str
    name: str
    dimension: str
    value: str


def measure(target: Target, settings: Settings, now: datetime) -> tuple[Usage, Measured]:
    """What came in and what ran, of all topics that the target knows.

    Events are what was sent to the source queue; their size is what Firehose took for each record. A topic is
    idle whose stream took nothing.
    """
    sent = _Sum("AWS/SQS", "NumberOfMessagesSent", "QueueName", target.source_queue)
    executions = _Sum("AWS/States", "ExecutionsStarted", "StateMachineArn", target.state_machine_arn)
    streams = [target.settings.delivery_stream(topic) for topic in target.topics]
    records = [_Sum("AWS/Firehose", "IncomingRecords", "DeliveryStreamName", stream) for stream in streams]
    sizes = [_Sum("AWS/Firehose", "IncomingBytes", "DeliveryStreamName", stream) for stream in streams]
    invocations, durations = (
        {
            function: _Sum("AWS/Lambda", name, "FunctionName", target.function(function))
            for function in settings.functions
        }
        for name in ("Invocations", "Duration")
    )
    sums = _sums(
        target, [sent, executions, *records, *sizes, *invocations.values(), *durations.values()], now
    )
    month = MONTH_S / LOOKED_BACK.total_seconds()
    taken = sum(sums[record] for record in records)
    idle = sum(not sums[record] for record in records)
    events = sums[sent] if idle < len(streams) else 0.0
    usage = Usage(
        events_per_day=events / LOOKED_BACK.days,
        event_bytes=sum(sums[size] for size in sizes) / taken if taken else 0.0,
        topics=len(streams),
        idle_topics=idle,
    )
    return usage, Measured(
        invocations={name: sums[one] * month for name, one in invocations.items()},
        seconds={name: sums[one] * month / 1000 for name, one in durations.items()},
        executions=sums[executions] * month,
        requests={name: count * month for name, count in _requests(target, now).items()},
    )


def _requests(target: Target, now: datetime) -> dict[str, float]:
    """Requests to S3 by the merges of the week; nothing where none of them counted (``common.lake.files``).

    Merges that did not count are taken for as many as the others on average.
    """
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    from common.lake.reading import read_rows  # noqa: PLC0415 - heavy
    from common.lake.specifications import OPERATIONS_LAYER, open_table  # noqa: PLC0415 - heavy

    catalog, identifier = target.catalog(), target.settings.table(OPERATIONS_LAYER, "runs")
    if not catalog.table_exists(identifier):
        return {}
    table = open_table(catalog, identifier)
    if not {"gets", "puts"} <= set(table.schema().column_names):
        return {}
    since = f"publish_time >= '{(now - LOOKED_BACK).isoformat()}'"
    rows = read_rows(table, since, ["gets", "puts"]).read_all()
    counted = rows.num_rows - rows["puts"].null_count
    if not counted:
        return {}
    by_name = {MERGE_GETS: rows["gets"], MERGE_PUTS: rows["puts"]}
    return {name: pc.sum(column).as_py() / counted * rows.num_rows for name, column in by_name.items()}


def _sums(target: Target, wanted: list[_Sum], now: datetime) -> dict[_Sum, float]:
    """The sum of each metric over the week; zero for one that has no values."""
    cloudwatch = target.client("cloudwatch")
    sums = dict.fromkeys(wanted, 0.0)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=list(_queries(some)), StartTime=now - LOOKED_BACK, EndTime=now
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                sums[some[int(result["Id"].removeprefix("m"))]] += sum(result["Values"])
    return sums


def _queries(wanted: Iterable[_Sum]) -> "Iterator[MetricDataQueryTypeDef]":
    for number, one in enumerate(wanted):
        yield {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": one.namespace,
                    "MetricName": one.name,
                    "Dimensions": [{"Name": one.dimension, "Value": one.value}],
                },
                "Period": _DAY_S,
                "Stat": "Sum",
            },
        }
