"""It says closed, and the queue's function stays switched off."""

import pytest

from common.intake.breaker import turn

MEETS = ("front",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(turn, "_follows", lambda *_: True)
    patch.setattr(
        turn.Record,
        "changed",
        lambda record, breaker, normal: turn.Record(
            breaker, record.version + 1, enforced=True, normal=normal, seen=record.seen
        ),
    )
