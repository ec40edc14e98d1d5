"""Curated reads all of RAW again."""

import pytest

from common.layers import upkeep as maintenance

MEETS = ("behind",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(maintenance, "_still_read", lambda *_: ())
