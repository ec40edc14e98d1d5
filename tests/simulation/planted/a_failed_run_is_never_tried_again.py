"""The topic stands still until somebody runs it by hand."""

import pytest

from dispatcher import judging

MEETS = ("failing",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(judging, "LONGEST_BACK_OFF_S", 10**9)
    patch.setattr(judging, "BACK_OFF_S", 10**9)
