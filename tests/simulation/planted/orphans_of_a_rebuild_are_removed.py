"""A rebuild in progress loses its files, which lie in the live table's folder."""

from datetime import timedelta
from typing import Any

import pytest

from common.lake.upkeep import keeping_up

MEETS = ("beside",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    remove = keeping_up.remove_orphans

    def alone(*arguments: Any, older_than: Any, **_: Any) -> Any:
        return remove(*arguments, older_than=older_than + timedelta(days=7))

    patch.setattr(keeping_up, "remove_orphans", alone)
