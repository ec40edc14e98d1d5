"""Curated → Semantic: type the changed rows under the topic's contract, quarantine what breaks it.

Quarantine is merged before Semantic, and only the Semantic commit carries the checkpoint: a run that ends
between the two is repeated whole, and repeating a merge changes nothing. A good row stays when its
correction is bad. A quarantined row is settled when Semantic holds its key with the same
``_source_merge_seq`` (it was judged again, see ``rejudging``) or a greater one; nothing is ever deleted from
Quarantine.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import ValidationError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression
from pyiceberg.table import Table

from common.casting import cast_rows
from common.checkpoints import NOTHING, START, SourceCheckpoint
from common.contracts import Contract
from common.deduplication import SOURCE_RULE
from common.errors import TableMismatch
from common.incremental import Bounds, new_merges, read
from common.json_leaves import RESERVED_COLUMNS
from common.merge import MergeOutcome, merge
from common.settings import Settings
from common.spool import Spool
from common.tables import open_table

EVERY_ROW: Final = AlwaysTrue()


@dataclass(frozen=True)
class Published:
    """What one run did. ``merge`` is None when Curated held nothing new.

    ``quarantined`` counts rows refused by this run; ``nulled`` values that were not critical and became
    null, by column and rule.
    """

    snapshot_id: str
    checkpoint: SourceCheckpoint | None
    rows_read: int
    backlog_rows: int
    merge: MergeOutcome | None = None
    quarantined: int = 0
    nulled: Counter[tuple[str, str]] = field(default_factory=Counter)

    def as_json(self) -> dict[str, str | int | bool]:
        """The token for the state machine: pointers and counts, never rows; ids as text."""
        return {
            "semantic_snapshot_id": self.snapshot_id,
            "records_written": self.merge.inserted + self.merge.updated if self.merge else 0,
            "quarantined": self.quarantined,
            "backlog": self.backlog_rows > 0,
            "source_token": self.checkpoint.token if self.checkpoint else NOTHING,
            "source_position": self.checkpoint.position if self.checkpoint else START,
        }


def publish(
    contract: Contract,
    since: SourceCheckpoint | None,
    run_id: str,
    *,
    settings: Settings,
    catalog: Catalog,
    pii_key: bytes,
    record_uncontracted: Callable[[Sequence[str]], None],
    into: str | None = None,
    only: BooleanExpression = EVERY_ROW,
) -> Published:
    """Merge the next portion of Curated after ``since`` into Semantic and Quarantine.

    ``into`` and ``only`` are for rebuilding Semantic: a table beside it that takes its place, and which rows
    of Curated to take.
    ``pii_key`` is the key of the hashes that stand for personal data. ``record_uncontracted`` is told of
    Curated columns that the contract leaves out. Raises the errors of ``common.merge.merge``, and
    TableMismatch when the contract asks for a type that the Semantic table cannot be widened to.
    """
    topic = contract.topic

    identifier = into or settings.table("semantic", topic)

    def merge_into(table: str, rows: Spool, checkpoint: SourceCheckpoint | None) -> MergeOutcome:
        return merge(
            catalog,
            table,
            rows.reader(),
            rule=SOURCE_RULE,
            checkpoint=checkpoint,
            run_id=run_id,
            evolve=False,
            memory_budget_mb=settings.memory_budget_mb,
        )

    curated = open_table(catalog, settings.table("curated", topic))
    semantic = open_table(catalog, identifier)
    bounds = Bounds(settings.batch_rows, settings.batch_bytes)
    portion = new_merges(curated, since.sequence if since else -1, bounds)
    nothing = Published(_snapshot_id(semantic), portion.checkpoint, 0, portion.backlog_rows)
    if not portion.tasks:
        return nothing

    align_columns(semantic, contract)
    contracted = {property_.source for property_ in contract.properties}
    if uncontracted := sorted(set(curated.schema().column_names) - RESERVED_COLUMNS - contracted):
        record_uncontracted(uncontracted)
    nulled: Counter[tuple[str, str]] = Counter()
    rows = 0
    with Spool() as good, Spool() as refused:
        for batch in read(curated, replace(portion, row_filter=And(portion.row_filter, only))):
            cast = cast_rows(pa.Table.from_batches([batch]), contract, pii_key)
            nulled.update(cast.nulled)
            good.write_table(cast.good)
            refused.write_table(cast.rejected)
            rows += batch.num_rows
        if not rows:  # every row was corrected since, or is left out: read all the same
            return nothing
        if refused.rows:
            merge_into(settings.table("quarantine", topic), refused, checkpoint=None)
        outcome = merge_into(identifier, good, checkpoint=portion.checkpoint)
        quarantined = refused.rows
    return Published(
        str(outcome.snapshot_id) if outcome.snapshot_id else NOTHING,
        portion.checkpoint,
        rows,
        portion.backlog_rows,
        outcome,
        quarantined,
        nulled,
    )


def align_columns(semantic: Table, contract: Contract) -> None:
    """Add the contract's new columns to the table and widen types, in a commit that adds no rows.

    Raises TableMismatch where the contract narrows or changes a type: that needs a new table.
    """
    schema = semantic.schema()
    with semantic.update_schema() as update:
        for column in contract.semantic_columns():
            if column.name not in schema.column_names:
                update.add_column(column.name, column.field_type, doc=column.doc)
            elif schema.find_type(column.name) != column.field_type:
                try:
                    update.update_column(column.name, field_type=column.field_type)
                except ValidationError as error:
                    raise TableMismatch(
                        f"{'.'.join(semantic.name())}, column {column.name}: expected a type that widens to "
                        f"the contract's {column.field_type}, found {schema.find_type(column.name)}; "
                        "publish the new type under a new column name, or rebuild the table"
                    ) from error


def _snapshot_id(table: Table) -> str:
    current = table.current_snapshot()
    return str(current.snapshot_id) if current else NOTHING
