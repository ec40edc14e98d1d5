"""A compaction or a swap in between is undone without a word."""

import pytest

from lean_ops.operate import rollback

from .requirements import Anything

MEETS = ("ambush",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(rollback, "AssertRefSnapshotId", Anything)
