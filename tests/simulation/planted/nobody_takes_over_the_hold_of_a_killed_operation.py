"""The topic stays on hold for good."""

import pytest

from lean_ops.operate import holds

MEETS = ("killed_midway", "run_beside", "long_ago")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(holds._Watch, "gone", lambda *_: False)
