"""The command says done."""

import pytest

from lean_ops.operate import rollback

MEETS = ("killed_midway", "run_beside", "long_ago")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(rollback, "_set_current", lambda *_: None)
