"""Two runs work on one topic, since Step Functions did not know yet of the one that had just begun."""

import pytest

from common.layers import lease

MEETS = ("fresh",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(lease, "_ASKED_AGAIN_S", ())
