"""Curated → Semantic: type the changed rows under the topic's contract, quarantine what breaks it.

Quarantine is merged before Semantic, and only the Semantic commit carries the checkpoint: a run that ends
between the two is repeated whole, and repeating a merge changes nothing. A good row stays when its
correction is bad. A quarantined row is settled when Semantic holds its key with the same
``_source_merge_seq`` (it was judged again, see ``rejudging``) or a greater one; nothing is ever deleted from
Quarantine.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression
from pyiceberg.table import Table

from common.contract.casting import cast_or_set_aside, unprocessable_row
from common.contract.changes import widens
from common.contract.contracts import Contract
from common.lake.checkpoints import NOTHING, START, SourceCheckpoint
from common.lake.incremental import Bounds, new_merges, read
from common.lake.merge import TEXT_BYTES, MergeOutcome, StagedSource, merge
from common.lake.merging_by_halves import merge_what_can_be_merged
from common.lake.rule import SOURCE_RULE
from common.lake.specifications import open_table
from common.payload.leaves import RESERVED_COLUMNS
from common.runtime.errors import CommitConflict
from common.runtime.settings import JobSettings

EVERY_ROW: Final = AlwaysTrue()


@dataclass(frozen=True)
class Published:
    """What one run did. ``merge`` is None when Curated held nothing new.

    ``quarantined`` counts rows refused by this run, ``set_aside`` those among them that could not be judged
    at all; ``nulled`` values that were not critical and became null, by column and rule.
    """

    snapshot_id: str
    checkpoint: SourceCheckpoint | None
    rows_read: int
    backlog_rows: int
    merge: MergeOutcome | None = None
    quarantined: int = 0
    nulled: Counter[tuple[str, str]] = field(default_factory=Counter)
    set_aside: int = 0

    def as_json(self) -> dict[str, str | int | bool]:
        """The token for the state machine: pointers and counts, never rows; ids as text."""
        return {
            "semantic_snapshot_id": self.snapshot_id,
            "records_written": self.merge.inserted + self.merge.updated if self.merge else 0,
            "quarantined": self.quarantined,
            "set_aside": self.set_aside,
            "backlog": self.backlog_rows > 0,
            "source_token": self.checkpoint.token if self.checkpoint else NOTHING,
            "source_position": self.checkpoint.position if self.checkpoint else START,
        }


def publish(
    contract: Contract,
    since: SourceCheckpoint | None,
    run_id: str,
    *,
    settings: JobSettings,
    catalog: Catalog,
    pii_key: bytes,
    record_uncontracted: Callable[[Sequence[str]], None],
    record_replaced: Callable[[Sequence[str]], None],
    into: str | None = None,
    only: BooleanExpression = EVERY_ROW,
) -> Published:
    """Merge the next portion of Curated after ``since`` into Semantic and Quarantine.

    ``into`` and ``only`` are for rebuilding Semantic: a table beside it that takes its place, and which rows
    of Curated to take.
    ``pii_key`` is the key of the hashes that stand for personal data. ``record_uncontracted`` is told of
    Curated columns that the contract leaves out, ``record_replaced`` of those of Semantic that its types
    replace (``align_columns``). Raises the errors of ``common.lake.merge.merge``.
    """
    topic = contract.topic

    identifier = into or settings.table("semantic", topic)

    quarantine = settings.table("quarantine", topic)

    def staged(rows: Iterable[pa.RecordBatch] = ()) -> StagedSource:
        return StagedSource.of(rows, SOURCE_RULE, settings.memory_budget_mb)

    def merge_into(
        table: str, rows: StagedSource, checkpoint: SourceCheckpoint | None = None
    ) -> MergeOutcome:
        with rows:  # given up before the next ones take their memory
            return merge(catalog, table, rows, checkpoint=checkpoint, run_id=run_id, evolve=False)

    curated = open_table(catalog, settings.table("curated", topic))
    semantic = open_table(catalog, identifier)
    bounds = Bounds(
        settings.batch_rows, settings.batch_bytes, TEXT_BYTES * len(curated.schema().column_names)
    )
    portion = new_merges(curated, since.sequence if since else -1, bounds)
    nothing = Published(_snapshot_id(semantic), portion.checkpoint, 0, portion.backlog_rows)
    if not portion.tasks:
        return nothing

    align_columns(semantic, contract, record_replaced)
    contracted = {property_.source for property_ in contract.properties}
    if uncontracted := sorted(set(curated.schema().column_names) - RESERVED_COLUMNS - contracted):
        record_uncontracted(uncontracted)
    taken = replace(portion, row_filter=And(portion.row_filter, only))

    def merge_part(rows: pa.Table) -> MergeOutcome | None:
        good = cast_or_set_aside(rows, contract, pii_key).good
        return merge_into(identifier, staged(good.to_batches())) if good.num_rows else None

    nulled: Counter[tuple[str, str]] = Counter()
    rows = set_aside = 0
    with staged() as good, staged() as refused:
        for batch in read(curated, taken):
            cast = cast_or_set_aside(pa.Table.from_batches([batch]), contract, pii_key)
            set_aside += cast.set_aside
            nulled.update(cast.nulled)
            good.write_all(cast.good.to_batches())
            refused.write_all(cast.rejected.to_batches())
            rows += batch.num_rows
            del batch, cast  # not held while they are merged
        if not rows:  # every row was corrected since, or is left out: read all the same
            return nothing
        if refused.rows:
            merge_into(quarantine, refused)
        quarantined = refused.rows
        outcome, unmergeable = merge_what_can_be_merged(
            lambda: merge_into(identifier, good, portion.checkpoint),
            merge_part,
            lambda: read(curated, taken),
            f"merging rows of Curated into {identifier}",
        )
        if unmergeable:
            kept = [unprocessable_row(row, contract, pii_key) for row in unmergeable]
            merge_into(quarantine, staged(pa.concat_tables(kept).to_batches()))
            quarantined += len(unmergeable)
            set_aside += len(unmergeable)
    semantic.refresh()
    return Published(
        _snapshot_id(semantic, outcome.snapshot_id if outcome else None),
        portion.checkpoint,
        rows,
        portion.backlog_rows,
        outcome,
        quarantined,
        nulled,
        set_aside,
    )


def align_columns(
    semantic: Table, contract: Contract, record_replaced: Callable[[Sequence[str]], None]
) -> None:
    """Give the table the contract's columns, types and comments, in a commit that adds no rows.

    A column is added, widened, or, where its type does not widen to the contract's, replaced: the new one has
    its name and another field id, and is null in rows that were published before, until Semantic is rebuilt
    (docs/adr/0009). A column that is wider than the contract's stays, which is what going back to an earlier
    version of the contract meets. ``record_replaced`` is told before the commit: told twice is harmless,
    never told would not be. Raises CommitConflict where another writer was first.
    """
    fields = {field.name: field for field in semantic.schema().fields}
    if replaced := replaced_columns(semantic, contract):
        record_replaced(replaced)
    try:
        with semantic.update_schema() as update:
            for column in contract.semantic_columns():
                stored = fields.get(column.name)
                if stored is None or column.name in replaced:
                    if stored is not None:
                        update.delete_column(column.name)
                    update.add_column(column.name, column.field_type, doc=column.doc)
                    continue
                if not widens(column.field_type, stored.field_type):
                    update.update_column(column.name, field_type=column.field_type)
                if column.doc is not None and column.doc != stored.doc:
                    update.update_column(column.name, doc=column.doc)
    except CommitFailedException as error:
        raise CommitConflict(
            f"table {'.'.join(semantic.name())}: expected to be the only one that changes its columns, found "
            "another writer's commit first; the next try plans on it"
        ) from error


def replaced_columns(semantic: Table, contract: Contract) -> list[str]:
    """Columns of the table whose type is neither the contract's nor one that widens to it or from it."""
    stored = {field.name: field.field_type for field in semantic.schema().fields}
    return [
        column.name
        for column in contract.semantic_columns()
        if (found := stored.get(column.name)) is not None
        and not widens(found, column.field_type)
        and not widens(column.field_type, found)
    ]


def _snapshot_id(table: Table, merged: int | None = None) -> str:
    """The snapshot that this run left; the newest where it left none."""
    current = table.current_snapshot()
    newest = current.snapshot_id if current else None
    return str(merged or newest or NOTHING)
