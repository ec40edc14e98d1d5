"""The topic stays on hold for good."""

import pytest

from lean_ops.operate import holds


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(holds._Watch, "gone", lambda *_: False)
