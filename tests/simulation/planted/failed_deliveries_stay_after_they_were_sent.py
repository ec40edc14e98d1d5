"""Each replay sends all of them once more."""

import pytest

from lean_ops.operate.replay import deliveries

MEETS = ("letters",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(deliveries, "_take_out", lambda *_, **__: None)
