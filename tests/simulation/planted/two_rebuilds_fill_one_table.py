"""Rows of one are removed by the other."""

import pytest

from lean_ops.environment import audit
from lean_ops.operate.holds import Held, Place

MEETS = ("ambush", "same_twice")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    claim = Place._claim

    def beside_another(place: Place, entry: audit.Entry, work: str, wait_s: float) -> tuple[Held, str]:
        if place.kind != "lease" and place._operation() is not None:
            place._remove("operation", "attribute_exists(#hold)")
        return claim(place, entry, work, wait_s)

    patch.setattr(Place, "_claim", beside_another)
