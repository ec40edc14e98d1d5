"""A network retry counts as received later than it was, and wins ties."""

import pytest

from common.lake.rule import EVENT_RULE


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setitem(vars(EVENT_RULE), "message", None)
    patch.setitem(vars(EVENT_RULE), "received", None)
