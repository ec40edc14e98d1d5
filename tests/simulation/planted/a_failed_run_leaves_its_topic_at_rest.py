"""What it was to read is read when something else arrives, or never."""

from typing import Any

import pytest

from dispatcher.judging import Ending, Memory, Sight

MEETS = ("failing",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    settle = Memory.settle

    def content(memory: Memory, ending: Ending, sight: Sight, now: int) -> Any:
        return settle(memory, Ending.WELL if ending is Ending.FAILED else ending, sight, now)

    patch.setattr(Memory, "settle", content)
