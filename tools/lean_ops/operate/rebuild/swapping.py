"""The swap: one commit on the live table that replaces all of its files by the rebuilt ones.

The live table keeps its identity, its history and its field ids, so that readers notice a new snapshot,
columns that came or went and nothing else, and a rollback undoes it. The commit carries the rebuild's
checkpoint. It is made only when the rebuild has read as far as the live table; when a run commits first, the
rebuild catches up and tries again.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from common.lake.checkpoints import MERGE_SEQ, NOTHING, RUN_ID, SOURCE_TOKEN
from common.lake.closing import CLOSED_BEFORE, OPEN, closed_before
from common.lake.history import from_lineage, last_merge, lineage, said_by
from common.lake.merge import Change, Planned, SnapshotCommit, commit_until_done, concurrency, live_files
from common.lake.progress import checkpoint_of
from common.lake.specifications import open_table
from common.lake.upkeep import CompactionPolicy, compact
from common.runtime.errors import InvalidInput, TableMismatch
from lean_ops.environment.target import Target
from lean_ops.operate.checkpoints import refuse_reading_anew
from lean_ops.operate.rebuild.beside import SWAPPED_IN, Rebuild, columns_to_go, schema_for_live
from lean_ops.operate.rebuild.filling import HERE, RULES, Filled, Workplace, fill

_TIDY = CompactionPolicy(files=1)


@dataclass(frozen=True)
class Swapped:
    """What the swap did: the commit, and files before and after. ``attempts``: 1 unless runs came first."""

    table: str
    snapshot_id: str
    files_removed: int
    files_added: int
    checkpoint: str
    attempts: int


def swap(
    target: Target,
    rebuild: Rebuild,
    run_id: str,
    told: Callable[[Filled], None] = lambda _portion: None,
    place: Workplace = HERE,
) -> Swapped:
    """Catch up, tidy, and replace the live table's files in one commit.

    ``told`` is called for every portion of catching up, which is done at ``place``. Raises InvalidInput where
    the source is empty, TableMismatch where the live schema changed so that the files do not fit,
    CommitConflict where other writers kept winning; the live table is untouched then.
    """
    catalog = target.catalog()

    def plan(live: Table, number: int) -> Planned[Swapped]:
        counts = checkpoint_of(live, rebuild.layer, rebuild.topic, target.settings, target.client("dynamodb"))
        checkpoint, rows_read = None, 0
        for portion in fill(target, rebuild, run_id, place):
            told(portion)
            checkpoint = portion.checkpoint
            rows_read += portion.rows_read
        compact(catalog, rebuild.beside, RULES[rebuild.layer], run_id=run_id, policy=_TIDY)
        beside = open_table(catalog, rebuild.beside)
        merged = last_merge(beside)
        if checkpoint is None or (merged is None and not rows_read):
            raise InvalidInput(
                f"rebuild {rebuild.beside}: expected rows to put into {rebuild.live}, found none; the source "
                "is empty, and an empty table is not swapped in"
            )
        if counts is not None and checkpoint.position < counts.position:
            raise InvalidInput(
                f"rebuild {rebuild.beside}: expected its source to reach as far as {rebuild.live} has read "
                f"it, {counts.position}, found {checkpoint.position}: the source was rolled back; let the "
                "pipeline bring it forward first (`lean-ops run`)"
            )
        committed = from_lineage(lineage(live))
        if rebuild.first_day is not None:
            refuse_reading_anew(
                counts, f"rebuild {rebuild.beside}: expected {rebuild.live} to have all rows of before"
            )
        if rebuild.first_day is not None and counts and committed and counts.position < committed.position:
            raise InvalidInput(
                f"rebuild {rebuild.beside}: expected rows from before {rebuild.first_day} to stay, found "
                f"that {rebuild.live} is to read its source again from {counts.token}; let the pipeline do "
                "that first (`lean-ops run`)"
            )
        _check_partitions(live, beside)
        with ThreadPoolExecutor(concurrency(live.location())) as pool:
            before, after = live_files(live, pool), live_files(beside, pool)
        old, new = {f.file_path for f in before.listed}, after.listed
        # The mark tells a repetition that only the removal is left: a second swap would use numbers twice.
        # Where the contract refuses every row, or all are deletes, nothing was merged, and no number is used.
        sequence = merged[1] if merged else int(beside.properties[MERGE_SEQ])
        mark = {MERGE_SEQ: str(sequence), SWAPPED_IN: str(beside.metadata.table_uuid)}
        change = Change(
            operation=Operation.OVERWRITE,
            added=new,
            removed=frozenset(old),
            schema=schema_for_live(live, beside, columns_to_go(rebuild, live, beside)),
            properties={**mark, CLOSED_BEFORE: (closed_before(beside) or OPEN).isoformat()},
            summary={**checkpoint.summary(), **mark, RUN_ID: run_id},
        )
        commit = SnapshotCommit(live, before, change)
        done = Swapped(rebuild.live, str(commit.snapshot_id), len(old), len(new), checkpoint.token, number)
        return Planned(done, commit)

    return commit_until_done(catalog, open_table(catalog, rebuild.live), plan)


def earlier_swap(target: Target, rebuild: Rebuild) -> Swapped:
    """The swap that was made before the command was interrupted, as its snapshot says."""
    snapshot = open_table(target.catalog(), rebuild.live).snapshot_by_id(int(rebuild.swapped_in))
    said = said_by(snapshot)
    removed, added = (
        sum(int(said.get(name, 0)) for name in names)
        for names in (
            ("deleted-data-files", "removed-delete-files"),
            ("added-data-files", "added-delete-files"),
        )
    )
    return Swapped(rebuild.live, rebuild.swapped_in, removed, added, said.get(SOURCE_TOKEN, NOTHING), 1)


def _check_partitions(live: Table, beside: Table) -> None:
    if live.spec() != beside.spec():
        raise TableMismatch(
            f"table {'.'.join(live.name())}: expected partition spec {beside.spec()} as when the rebuild "
            f"began, found {live.spec()}; remove the rebuild with `lean-ops rebuild --discard`, then start "
            "again"
        )
