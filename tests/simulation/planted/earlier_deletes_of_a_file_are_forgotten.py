"""A merge's delete file takes the place of the one before: rows that were replaced come back."""

from typing import Any

import pytest

from common.lake.merge.positions import NO_POSITIONS, ExistingDeletes

MEETS = ("meet", "long_ago", "schedule")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""

    def only_new(_: ExistingDeletes, file: Any, more: Any = None) -> Any:
        return more[file.path] if more is not None and file.path in more else NO_POSITIONS

    patch.setattr(ExistingDeletes, "of", only_new)
