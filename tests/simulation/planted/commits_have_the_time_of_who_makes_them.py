"""A person whose clock is minutes off leaves a table that Athena, Spark and Snowflake refuse to read."""

import pytest

from common.lake import times


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(times, "in_order", lambda _before, after, _now_ms: after)
