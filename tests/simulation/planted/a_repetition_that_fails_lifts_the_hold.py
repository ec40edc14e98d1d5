"""What a killed operation left half done is nobody's: its repetition was throttled, and lifted the hold."""

import pytest

from lean_ops.operate.holds import Held

MEETS = ("taken_up",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(Held, "stays_after", lambda _held, _error: False)
