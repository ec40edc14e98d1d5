"""What DynamoDB says counts although the table has gone back or on."""

import pytest

from common.lake import progress

MEETS = ("gone_back", "struck")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(progress, "reconcile", lambda committed, recorded, _: recorded or committed)
