"""Files are put together without their delete files."""

from typing import Any

import pytest

from common.lake.merge.positions import NO_POSITIONS
from common.lake.upkeep import compaction

MEETS = ("meet", "long_ago", "schedule")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    pieces = compaction._live_pieces

    class Nothing:
        def of(self, *_: Any) -> Any:
            return NO_POSITIONS

    nothing: Any = Nothing()
    patch.setattr(compaction, "_live_pieces", lambda target, file, _: pieces(target, file, nothing))
