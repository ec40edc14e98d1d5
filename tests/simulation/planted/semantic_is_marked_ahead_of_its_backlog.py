"""Merges of Curated that did not fit into a portion are never published."""

from dataclasses import replace
from typing import Any

import pytest

from common.lake.history import last_merge
from common.lake.incremental import Portion
from common.layers import semantic


def plant(patch: pytest.MonkeyPatch) -> None:
    """Plant it."""
    read_next = semantic.new_merges

    def ahead(table: Any, *since_and_bounds: Any) -> Portion:
        portion = read_next(table, *since_and_bounds)
        merged = last_merge(table)
        if not portion.backlog_rows or portion.checkpoint is None or merged is None:
            return portion
        end = replace(portion.checkpoint, sequence=merged[1], files=None)
        return replace(portion, checkpoint=end, backlog_rows=0)

    patch.setattr(semantic, "new_merges", ahead)
