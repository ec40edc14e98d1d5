"""A leaf that a rebuild meets first has a column, and no entry in the drift log, ever."""

import pytest

from lean_ops.operate.rebuild import filling

MEETS = ("meet", "killed_midway", "same_twice")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(filling, "_recording", lambda *_: lambda _names: None)
