"""A run that was stopped holds its topic for good."""

import pytest

from common.layers import lease

MEETS = ("schedule", "meet")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(lease, "described", lambda *_: {"status": "RUNNING"})
