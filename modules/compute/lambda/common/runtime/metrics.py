"""Metrics: counts and durations, written as embedded metric format lines that CloudWatch extracts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

# A message that waited longer than this in the queue is accepted late: the minute that it was ingested in may
# have been counted already (``observation.arrival``).
LATE_S: Final = 900


def emit(
    namespace: str,
    values: Mapping[str, float | Sequence[float]],
    *,
    unit: MetricUnit = MetricUnit.Count,
    at: datetime | None = None,
    **dimensions: str,
) -> None:
    """Write ``values`` as metrics of ``namespace`` (the project's name) with the given dimensions.

    ``at`` is the time that they are of (default: now; CloudWatch takes the last two weeks). A sequence is a
    distribution: every number of it is a sample, and more than a hundred, which is what one line of the
    format carries, become several lines.
    """
    metrics = EphemeralMetrics(namespace=namespace)
    if at is not None:
        metrics.set_timestamp(at)
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    for name, numbers in values.items():
        for number in numbers if isinstance(numbers, Sequence) else (numbers,):
            metrics.add_metric(name=name, unit=unit, value=number)
    if metrics.metric_set:  # the hundredth sample of a distribution has already written a line
        metrics.flush_metrics()
