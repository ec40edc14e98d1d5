"""What a month costs, by the model of ``lean-ops cost`` with the settings of the environment."""

from lean_ops.environment.target import Target
from lean_ops.operate.cost import (
    GOAL_EVENT_BYTES,
    GOAL_EVENTS_PER_DAY,
    Report,
    Usage,
    load_prices,
    report,
    settings_of,
)
from lean_ops.sight.parts import Publish


def read(target: Target, _: Publish) -> Report:
    """The model's month: ten million events a day of 1 KiB. To ask what CloudWatch counted costs money."""
    settings = settings_of(target.env) if target.has_production_timings else settings_of()
    usage = Usage(GOAL_EVENTS_PER_DAY, GOAL_EVENT_BYTES, len(target.topics), 0)
    return report(usage, settings, load_prices())
