"""A rollback stays half done: another operation has lifted the hold that said so."""

import pytest

from lean_ops.environment import audit
from lean_ops.operate.holds import Held, Place

MEETS = ("killed_midway", "run_beside", "long_ago")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    claim = Place._claim

    def greedy(place: Place, entry: audit.Entry, work: str, wait_s: float) -> tuple[Held, str]:
        found = place._operation()
        if found is not None and found.worker is not None and found.worker.gone:
            place._remove("operation", "attribute_exists(#hold)")
        return claim(place, entry, work, wait_s)

    patch.setattr(Place, "_claim", greedy)
