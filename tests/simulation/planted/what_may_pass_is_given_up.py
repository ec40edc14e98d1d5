"""A throttled call ends a run for good."""

import pytest

from common.runtime import foreign_errors, retrying

MEETS = ("failing",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    patch.setattr(retrying, "may_pass", lambda _: False)
    patch.setattr(foreign_errors, "may_pass", lambda _: False)
