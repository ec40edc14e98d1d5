"""The topic runs although a colleague still mends it."""

import pytest

from lean_ops.operate.holds import Place

MEETS = ("held",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    resume = Place.resume
    patch.setattr(Place, "resume", lambda place, **_: resume(place, everybody=True))
