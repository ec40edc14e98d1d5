"""Whatever it tries, the queue is taken a little at a time, then not at all."""

from datetime import timedelta

import pytest

from common.intake.breaker import rules

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(rules, "GOOD_BATCHES", 10**9)
    patch.setattr(rules, "PATIENCE", timedelta(days=999))
