"""Of two corrections of one time the one that came first may win."""

import pytest

from common.lake.rule import EVENT_RULE

MEETS = ("versions",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setitem(vars(EVENT_RULE), "order", ("publish_time", "message_id", "ingestion_ts"))
