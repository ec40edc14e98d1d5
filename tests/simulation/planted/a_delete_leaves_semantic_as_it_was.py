"""A deleted key is still published."""

import pytest

from common.lake.rule import SOURCE_RULE


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setitem(vars(SOURCE_RULE), "removes", None)
