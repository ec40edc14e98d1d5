"""Tables of a lake on local files, and short ways to fill them."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog

from common.lake.checkpoints import SourceCheckpoint
from common.lake.merge import MergeOutcome, StagedSource, merge
from common.lake.rule import EVENT_RULE, MergeRule


def merge_rows(
    catalog: Catalog,
    identifier: str,
    batches: Iterable[pa.RecordBatch],
    *,
    rule: MergeRule = EVENT_RULE,
    checkpoint: SourceCheckpoint | None = None,
    run_id: str = "r",
    evolve: bool = True,
    memory_budget_mb: int = 256,
    **options: Any,
) -> MergeOutcome:
    """Merge batches as they are."""
    with StagedSource.of(batches, rule, memory_budget_mb) as source:
        return merge(
            catalog, identifier, source, checkpoint=checkpoint, run_id=run_id, evolve=evolve, **options
        )
