"""Files that a merge has written and not committed yet are gone."""

from datetime import timedelta
from typing import Any

import pytest

from common.lake.upkeep import keeping_up

MEETS = ("swept",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    remove = keeping_up.remove_orphans

    def young(*arguments: Any, older_than: Any, **options: Any) -> Any:
        return remove(*arguments, older_than=older_than + timedelta(days=7), **options)

    patch.setattr(keeping_up, "remove_orphans", young)
