"""The breaker closes, and its function goes on in batches of ten."""

import pytest

from common.intake.breaker import turn

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(turn, "_normal", lambda *_: None)
