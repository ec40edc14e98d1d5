"""A portion's commit says that all of RAW was read."""

from dataclasses import replace
from typing import Any

import pytest

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Portion
from common.layers import curated


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    read_next = curated.new_appends

    def ahead(table: Any, *since_and_bounds: Any) -> Portion:
        portion = read_next(table, *since_and_bounds)
        current = table.current_snapshot()
        if not portion.backlog_rows:
            return portion
        return replace(
            portion,
            checkpoint=SourceCheckpoint(current.snapshot_id, current.sequence_number),
            backlog_rows=0,
        )

    patch.setattr(curated, "new_appends", ahead)
