"""A letter that comes back at once is sent again and again."""

import pytest

from lean_ops.operate.replay import dead_letters
from lean_ops.operate.replay.intake import Outgoing

MEETS = ("front", "killed_midway", "schedule", "same_twice")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(dead_letters, "outgoing", lambda message, _: Outgoing(message.body, {}))
