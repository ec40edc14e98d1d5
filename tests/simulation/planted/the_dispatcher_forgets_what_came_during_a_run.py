"""A topic rests although events came after its run had looked."""

from dataclasses import replace
from typing import Any

import pytest

from dispatcher.judging import Ending, Memory, Sight

MEETS = ("schedule", "meet")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    settle = Memory.settle

    def at_once(memory: Memory, ending: Ending, sight: Sight, now: int) -> Any:
        found = settle(memory, ending, sight, now)
        return replace(found, rest=sight.digest) if ending is Ending.WELL else found

    patch.setattr(Memory, "settle", at_once)
