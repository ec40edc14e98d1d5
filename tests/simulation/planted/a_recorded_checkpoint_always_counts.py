"""What DynamoDB says counts although the table has gone back or on."""

import pytest

from common.lake import progress

MEETS = ("killed_midway", "run_beside", "long_ago")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(progress, "reconcile", lambda committed, recorded, _: recorded or committed)
