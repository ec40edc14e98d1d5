"""Nobody hears of a leaf that a device began to send."""

import pytest

from curation import handler


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(handler.drift, "record", lambda *_: 0)
