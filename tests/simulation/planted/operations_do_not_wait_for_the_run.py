"""A run that is in progress commits into the middle of a rollback."""

import pytest

from lean_ops.operate import leases

MEETS = ("run_beside", "unawaited")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(leases, "_await_quiet", lambda *_: None)
