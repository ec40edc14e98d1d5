"""An earlier copy that comes late hands no tie to the message that had lost it."""

from typing import Any

import pytest

from common.lake.merge import decide

MEETS = ("versions",)


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    settle = decide._settle

    def without_history(*arguments: Any) -> Any:
        batch, in_batch, stored, rule, _ = arguments
        return settle(batch, in_batch, stored, rule, None)

    patch.setattr(decide, "_settle", without_history)
