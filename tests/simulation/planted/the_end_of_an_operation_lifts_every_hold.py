"""Who had paused the topic finds it running."""

from typing import Any

import pytest

from lean_ops.operate.holds import Place

MEETS = ("held",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    remove = Place._remove

    def all_of_them(place: Place, holder: str, *condition: Any) -> bool:
        done = remove(place, holder, *condition)
        for hold in place.holds() if done else ():
            remove(place, hold.holder, "attribute_exists(#hold)")
        return done

    patch.setattr(Place, "_remove", all_of_them)
