"""How far layers are behind, of all topics together: the worst of each layer, and promises not kept."""

from aws_lambda_powertools.metrics import MetricUnit

from common.runtime.metrics import emit
from common.runtime.worst import note
from observation.looking import SOURCES, Look


def worst_lags(one: Look) -> None:
    """Emit the lag of the topic that is behind most, of each layer, and note which topics are behind."""
    settings = one.settings
    for layer in SOURCES:
        lags = {
            topic: seen.lag_s(one.now.timestamp()).get(layer, 0.0)
            for topic, seen in one.seen.items()
            # Whoever is kept from working lags on purpose.
            if not one.registry.topics[topic].paused
        }
        emit(
            settings.project,
            {"LagSeconds": max(lags.values(), default=0.0)},
            unit=MetricUnit.Seconds,
            environment=settings.env,
            layer=layer,
        )
        note(one.dynamodb, one.settings.checkpoints_table, f"{layer}-behind", lags, one.now)


def broken_promises(one: Look) -> None:
    """Count the topics that are later than their contracts promise, and note by how much."""
    late = {
        topic: seen.late_s(one.now.timestamp())
        for topic, seen in one.seen.items()
        if not one.registry.topics[topic].paused
    }
    emit(
        one.settings.project,
        {"TopicsLate": sum(seconds > 0 for seconds in late.values())},
        environment=one.settings.env,
    )
    note(one.dynamodb, one.settings.checkpoints_table, "promise-broken", late, one.now)
