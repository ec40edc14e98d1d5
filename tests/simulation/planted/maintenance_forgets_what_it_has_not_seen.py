"""Beside a rollback, the snapshot that has just become current expires, and the table with it."""

import pytest

from common.lake.upkeep import retention

from .requirements import Anything

MEETS = ("ambush",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(retention, "AssertRefSnapshotId", Anything)
