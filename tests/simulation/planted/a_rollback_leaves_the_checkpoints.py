"""Recorded checkpoints speak of snapshots that were undone."""

import pytest

from lean_ops.operate import checkpoints

MEETS = ("held", "struck")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(checkpoints, "follow_table", lambda *_: None)
