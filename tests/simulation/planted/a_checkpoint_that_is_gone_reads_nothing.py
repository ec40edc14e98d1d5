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
    defaults: dict[str, Any] = curated.curate.__kwdefaults__ or {}
    read_next: curated.Portions = defaults["portions"]

    def forgetful(table: Any, *since_and_bounds: Any) -> Portion:
        portion = read_next(table, *since_and_bounds)
        current = table.current_snapshot()
        if portion.fallback is None:
            return portion
        now = SourceCheckpoint(current.snapshot_id, current.sequence_number)
        return replace(portion, tasks=(), checkpoint=now, rows=0, backlog_rows=0)

    patch.setitem(defaults, "portions", forgetful)
