"""A portion's commit says that all of RAW was read."""

from dataclasses import replace
from typing import Any

import pytest

from common.lake.checkpoints import SourceCheckpoint
from common.lake.incremental import Portion
from common.layers import curated


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    defaults: dict[str, Any] = curated.curate.__kwdefaults__ or {}
    read_next: curated.Portions = defaults["portions"]

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

    patch.setitem(defaults, "portions", ahead)
