"""Metrics: counts and durations, written as embedded metric format lines that CloudWatch extracts."""

from collections.abc import Mapping, Sequence

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


def emit(
    namespace: str,
    values: Mapping[str, float | Sequence[float]],
    *,
    unit: MetricUnit = MetricUnit.Count,
    **dimensions: str,
) -> None:
    """Write ``values`` as metrics of ``namespace`` (the project's name) with the given dimensions.

    A sequence is a distribution: every number of it is a sample. (More than a hundred, which is what one
    line of the format carries, become several lines.)
    """
    metrics = EphemeralMetrics(namespace=namespace)
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    for name, numbers in values.items():
        for number in numbers if isinstance(numbers, Sequence) else (numbers,):
            metrics.add_metric(name=name, unit=unit, value=number)
    if metrics.metric_set:  # the hundredth sample of a distribution has already written a line
        metrics.flush_metrics()
