"""An older version of a deleted key comes back."""

import pytest

from common.lake.rule import EVENT_RULE


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setitem(vars(EVENT_RULE), "removes", "_tombstone")
