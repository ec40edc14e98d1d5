"""A failing Firehose uses up the tries of good messages, which become dead letters."""

import pytest

from common.intake.breaker import rules

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(rules, "_open", lambda breaker, _reason, _now: breaker)
