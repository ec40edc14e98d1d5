"""Metrics: counts and durations, written as embedded metric format lines that CloudWatch extracts."""

from collections.abc import Mapping

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


def emit(
    namespace: str, values: Mapping[str, float], *, unit: MetricUnit = MetricUnit.Count, **dimensions: str
) -> None:
    """Write ``values`` as metrics of ``namespace`` (the project's name) with the given dimensions."""
    metrics = EphemeralMetrics(namespace=namespace)
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    for name, number in values.items():
        metrics.add_metric(name=name, unit=unit, value=number)
    metrics.flush_metrics()
