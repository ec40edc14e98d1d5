"""Real readings of few months: a partition of ``weather`` is a month, of which a merge writes 16 files."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from lean_ops.accounts.messages import Message
from lean_ops.simulate.readings import weather_station_readings


def readings(*months: int, every_days: int) -> Iterator[Message]:
    """The readings of both stations of these months of 2010, one UTC day in ``every_days``."""
    for message in _year():
        at = datetime.fromtimestamp(message.publish_us / 1_000_000, UTC)
        if at.month in months and at.timetuple().tm_yday % every_days == 1:
            yield message


@cache
def _year() -> list[Message]:
    return list(weather_station_readings())
