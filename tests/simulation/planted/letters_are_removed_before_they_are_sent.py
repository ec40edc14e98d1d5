"""A replay that is killed in between loses them."""

from collections.abc import Sequence
from typing import Any

import pytest

from common.intake.queue_pass import QueuedMessage, QueuePass
from lean_ops.operate.replay import dead_letters

MEETS = ("letters",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    move = dead_letters._Mover.move

    def early(mover: Any, letters: QueuePass, messages: Sequence[QueuedMessage]) -> None:
        letters.remove(messages)
        move(mover, letters, messages)

    patch.setattr(dead_letters._Mover, "move", early)
