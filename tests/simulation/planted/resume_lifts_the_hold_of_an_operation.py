"""A run begins while an operation works, or behind one that was killed in its middle."""

import pytest

from lean_ops.operate.holds import Hold, Place

MEETS = ("held",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    resume = Place.resume

    def bluntly(place: Place, *, everybody: bool = False) -> tuple[tuple[Hold, ...], tuple[Hold, ...]]:
        place._remove("operation", "attribute_exists(#hold)")
        return resume(place, everybody=everybody)

    patch.setattr(Place, "resume", bluntly)
