"""The trail says that letters were sent which had come back."""

from collections.abc import Sequence
from typing import Any

import pytest

from common.intake.queue_pass import QueuedMessage
from lean_ops.operate.replay import dead_letters

MEETS = ("front", "killed_midway", "schedule", "same_twice")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    choose = dead_letters._Mover.choose

    def counting(mover: Any, batch: Sequence[QueuedMessage], selection: Any) -> list[QueuedMessage]:
        chosen: list[QueuedMessage] = choose(mover, batch, selection)
        mover._entry.counts["sent"] += len(batch) - len(chosen)
        return chosen

    patch.setattr(dead_letters._Mover, "choose", counting)
