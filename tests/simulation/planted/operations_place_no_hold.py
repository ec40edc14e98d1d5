"""A run begins in the middle of a rollback, and so does another operation."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lean_ops.environment import audit
from lean_ops.operate.holds import Held, Hold, Place

MEETS = ("held",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    @contextmanager
    def bare(place: Place, entry: audit.Entry, work: str, **_: float) -> Iterator[Held]:
        mine = Hold(entry.who, "", entry.reason, entry.operation_id, work)
        yield Held(place, mine, place.target.client("dynamodb"))

    patch.setattr(Place, "worked_on", bare)
    patch.setattr(Held, "check", lambda _: None)
