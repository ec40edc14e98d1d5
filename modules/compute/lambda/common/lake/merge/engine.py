"""plan → locate → decide → write → commit: one atomic merge into one table.

Everything is planned on one snapshot, and the commit succeeds on that snapshot or not at all. When another
writer was first, the whole merge is planned again on the new state.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import zip_longest
from operator import add
from typing import cast

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from common.lake.checkpoints import MERGE_SEQ, NOTHING, RUN_ID, SECONDS, SourceCheckpoint
from common.lake.history import check_holds, kept_without
from common.lake.merge.committing import Planned, commit_until_done
from common.lake.merge.decide import History
from common.lake.merge.elsewhere import RemoteSource, SentHistory, write_elsewhere
from common.lake.merge.livefiles import live_files
from common.lake.merge.outcome import Counts, MergeOutcome
from common.lake.merge.planning import Basis, Part, plan_deletes
from common.lake.merge.positions import ExistingDeletes
from common.lake.merge.snapshot import Change, SnapshotCommit
from common.lake.merge.source import unknown_columns, widened
from common.lake.merge.staging import StagedSource
from common.lake.merge.streams import concurrency
from common.lake.merge.target import Target
from common.lake.merge.writing import Written, write_deletes, write_shard
from common.lake.properties import check_properties
from common.lake.specifications import open_table
from common.runtime import outside
from common.runtime.foreign_errors import sorted_errors


@dataclass(frozen=True)
class Beside:
    """A second source of a merge, with no key of the first one's and a rule of its own.

    ``history``: see ``common.lake.merge.decide.History``.
    """

    source: StagedSource
    history: History | None = None


def merge(
    catalog: Catalog,
    identifier: str,
    source: StagedSource | RemoteSource,
    *,
    checkpoint: SourceCheckpoint | None,
    run_id: str,
    evolve: bool,
    history: History | None = None,
    beside: Beside | None = None,
    extra_summary: Mapping[str, str] | None = None,
    holds: str = NOTHING,
) -> MergeOutcome:
    """Merge the rows of ``source`` into table ``identifier`` in one commit, or in none when nothing changes.

    ``source``: rows and the rule by which they are merged; the table's columns (missing ones are null) plus,
    with ``evolve``, new text columns. Where other processes hold them (``elsewhere``), they plan and write
    the shards, and ``history`` is sent to them. ``checkpoint``: what of the source this commit consumes; it
    travels in the snapshot summary with ``run_id`` and ``extra_summary``. ``history``: see
    ``common.lake.merge.decide.History``; without it, ties between messages are decided by what batch and
    table know. ``beside``: rows of other keys that go into the same commit; the files that both touch are
    searched and written once. ``holds``: the table's snapshot that ``checkpoint`` is read on from.

    Raises TableMissing, TableMismatch and InvalidInput with nothing committed; CommitConflict when other
    writers kept winning, CommitUnknown when the catalog did not say how the commit ended. Either way the
    table is whole, and running the same merge again is safe.
    """
    begun = outside.monotonic()
    sources: list[StagedSource | RemoteSource] = [source]
    sources += [beside.source] if beside is not None else []
    table = open_table(catalog, identifier)
    for each in sources:
        target = Target.check(table, each.rule)
        check_properties(target.name, target.properties)
        unknown_columns(each.schema, target, each.rule, evolve=evolve)
        each.check_keys(identifier)
    with (
        sorted_errors(f"merge into {identifier}"),
        ThreadPoolExecutor(concurrency(target.table.location()), thread_name_prefix="merge") as pool,
    ):

        def attempt(table: Table, number: int) -> Planned[MergeOutcome]:
            check_holds(table, holds)
            target = Target.check(table, source.rule)
            for each in sources:
                target = widened(target, each.schema, each.rule, evolve=evolve)
            basis = Basis(
                live_files(table, pool),
                ExistingDeletes(table.io, pool),
                pool,
                evolve,
                whole=not any(each.spilled for each in sources),
                limit=source.limit,
            )
            target, written = _write_shards(basis, target, source, history, beside, run_id=run_id)
            took = f"{outside.monotonic() - begun:.3f}"
            summary = {**(extra_summary or {}), RUN_ID: run_id, SECONDS: took}
            planned = to_commit(basis, target, written, checkpoint, summary)
            return replace(planned, result=replace(planned.result, attempts=number))

        return commit_until_done(catalog, target.table, attempt)


def to_commit(
    basis: Basis,
    target: Target,
    written: Written,
    checkpoint: SourceCheckpoint | None,
    summary: Mapping[str, str],
) -> Planned[MergeOutcome]:
    """The commit of what was written of all shards, and of their deletes; none where nothing changes.

    ``target``: with the columns of all shards. ``summary``: what is said beside checkpoint and counts.
    """
    counts, *others = written.counts or (Counts(),)
    outcome = MergeOutcome(
        committed=False,
        snapshot_id=target.snapshot_id,
        merge_seq=target.previous_merge_seq,
        beside=others[0] if others else Counts(),
        **asdict(counts),
    )
    if not written.added and not written.deleted:
        return Planned(outcome)
    deletes = write_deletes(plan_deletes(basis, written.deleted, written.removed), target, basis.pool)
    both = Written.together([written, deletes])
    carried = {MERGE_SEQ: str(target.merge_seq), **(checkpoint.summary() if checkpoint is not None else {})}
    change = Change(
        operation=Operation.OVERWRITE if deletes.added or both.removed else Operation.APPEND,
        added=both.added,
        removed=both.removed,
        schema=target.schema if target.evolved else None,
        properties=carried if checkpoint is not None else {**carried, **kept_without(target.table)},
        summary={**summary, **carried, **reduce(add, others, counts).summary()},
        traffic=both.traffic,
    )
    commit = SnapshotCommit(target.table, basis.live, change)
    outcome = replace(
        outcome,
        committed=True,
        snapshot_id=commit.snapshot_id,
        merge_seq=target.merge_seq,
        new_columns=target.added,
        data_files=len(written.added),
        delete_files=len(deletes.added),
        rewritten_files=len(written.removed),
        bytes_written=both.size,
    )
    return Planned(outcome, commit, both.paths)


def _write_shards(
    basis: Basis,
    target: Target,
    source: StagedSource | RemoteSource,
    history: History | None,
    beside: Beside | None,
    *,
    run_id: str,
) -> tuple[Target, Written]:
    """Plan and write one shard after the other; gives also the target with the columns that they added.

    Any shard of the one source goes with any of the other: they have no key in common.
    """
    parts: list[Written] = []
    here = source.shards() if isinstance(source, StagedSource) else iter(())
    if isinstance(source, RemoteSource):
        target, parts = write_elsewhere(basis, target, source, cast("SentHistory | None", history), run_id)
    beside_shards = beside.source.shards() if beside is not None else ()
    for rows, others in zip_longest(here, beside_shards):
        shard = [Part(_or_none(rows, target), source.rule, history)]
        if beside is not None:
            shard.append(Part(_or_none(others, target), beside.source.rule, beside.history))
        del rows, others
        target, written = write_shard(basis, target, shard)
        parts.append(written)
        del shard  # before the next one takes its memory
    return target, Written.together(parts)


def _or_none(rows: pa.Table | None, target: Target) -> pa.Table:
    return rows if rows is not None else target.arrow_schema.empty_table()
