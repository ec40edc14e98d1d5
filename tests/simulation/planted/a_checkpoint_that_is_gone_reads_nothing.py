"""Where RAW has forgotten the snapshot, everything until now counts as read."""

from dataclasses import replace
from typing import Any

import pytest

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Portion
from common.layers import curated

MEETS = ("behind", "long_ago")


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    read_next = curated.new_appends

    def forgetful(table: Any, *since_and_bounds: Any) -> Portion:
        portion = read_next(table, *since_and_bounds)
        current = table.current_snapshot()
        if portion.fallback is None:
            return portion
        now = SourceCheckpoint(current.snapshot_id, current.sequence_number)
        return replace(portion, tasks=(), checkpoint=now, rows=0, backlog_rows=0)

    patch.setattr(curated, "new_appends", forgetful)
