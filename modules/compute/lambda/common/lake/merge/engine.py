"""plan → locate → decide → write → commit: one atomic merge into one table.

Everything is planned on one snapshot, and the commit succeeds on that snapshot or not at all. When another
writer was first, the whole merge is planned again on the new state.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from common.lake.checkpoints import SourceCheckpoint
from common.lake.merge.attempt import Attempt, Request
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.decide import History
from common.lake.merge.outcome import MergeOutcome
from common.lake.merge.snapshot import SnapshotCommit
from common.lake.merge.source import stage, unknown_columns
from common.lake.merge.streams import concurrency
from common.lake.merge.target import Target
from common.lake.properties import check_properties
from common.lake.rule import MergeRule
from common.lake.specifications import open_table
from common.runtime.foreign_errors import sorted_errors


def merge(
    catalog: Catalog,
    identifier: str,
    source: pa.RecordBatchReader,
    *,
    rule: MergeRule,
    checkpoint: SourceCheckpoint | None,
    run_id: str,
    evolve: bool,
    memory_budget_mb: int,
    history: History | None = None,
    extra_summary: Mapping[str, str] | None = None,
) -> MergeOutcome:
    """Merge the rows of ``source`` into table ``identifier`` in one commit, or in none when nothing changes.

    ``source``: the table's columns (missing ones are null) plus, with ``evolve``, new text columns.
    ``checkpoint``: what of the source this commit consumes; it travels in the snapshot summary with
    ``run_id`` and ``extra_summary``. ``history``: see ``common.lake.merge.decide.History``; without it, ties
    between messages are decided by what batch and table know. ``memory_budget_mb``: a larger source goes to
    disk.

    Raises TableMissing, TableMismatch and InvalidInput before anything is written; CommitConflict when other
    writers kept winning, CommitUnknown when the catalog did not say how the commit ended. Either way the
    table is whole, and running the same merge again is safe.
    """
    target = Target.check(open_table(catalog, identifier), rule)
    check_properties(target.name, target.properties)
    unknown_columns(source.schema, target, evolve=evolve)
    with (
        sorted_errors(f"merge into {identifier}"),
        stage(source, target, rule, memory_budget_mb) as staged,
        ThreadPoolExecutor(concurrency(target.table.location()), thread_name_prefix="merge") as pool,
    ):
        request = Request(staged, rule, run_id, evolve, history, checkpoint, extra_summary or {})

        def plan(table: Table, number: int) -> Planned[MergeOutcome]:
            attempt = Attempt(Target.check(table, rule), request, pool)
            change = attempt.run()
            outcome = replace(attempt.outcome, attempts=number)
            if change is None:
                return Planned(outcome)
            commit = SnapshotCommit(table, attempt.live, change)
            return Planned(replace(outcome, snapshot_id=commit.snapshot_id), commit, attempt.written)

        return commit_until_done(catalog, target.table, plan)
