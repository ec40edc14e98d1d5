"""The answer was lost, the commit was not: its table needs files that are gone."""

import pytest

from common.lake.merge import committing

MEETS = ("again",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(committing, "_lost_race", lambda _: True)
