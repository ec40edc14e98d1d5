"""Two runs do the same work, and fight for its commits."""

import pytest

from common.layers import lease

MEETS = ("unawaited",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(lease, "described", lambda *_: None)
