"""The source of a merge: its columns and keys checked, its rows shaped for the target."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.arrowtypes import Array, Column, Field
from common.deduplication import MergeRule
from common.errors import InvalidInput
from common.merge.staging import StagedSource
from common.merge.target import MERGE_SEQ_COLUMN, Target

KEY_LENGTH_LIMIT = 256
"""Greatest length of a key in characters (the event contract)."""


def stage(
    source: pa.RecordBatchReader, target: Target, rule: MergeRule, memory_budget_mb: int
) -> StagedSource:
    """Read the source to its end, checking the keys of every batch.

    Raises InvalidInput for a null, empty or too long key, before anything is written.
    """
    missing = [c for c in rule.columns if c not in source.schema.names]
    if missing:
        raise InvalidInput(
            f"merge into {target.name}: expected the source columns {', '.join(rule.columns)}, found no "
            f"{', '.join(missing)}; the rows of a source carry their key and their order"
        )
    staged = StagedSource(source.schema, rule.key, memory_budget_mb)
    try:
        for batch in source:
            _check_keys(batch.column(rule.key), target.name, rule.key, staged.rows)
            staged.add(batch)
        staged.complete()
    except BaseException:
        staged.remove()
        raise
    return staged


def unknown_columns(source: pa.Schema, target: Target, *, evolve: bool) -> tuple[str, ...]:
    """Columns of the source that the table lacks; they become optional text columns.

    Raises InvalidInput where the table must not evolve, where such a column is not text, or where its name
    differs from another only by case (Athena and Glue do not tell them apart).
    """
    known = {f.name for f in target.table.schema().fields}
    unknown = tuple(name for name in source.names if name not in known and name != MERGE_SEQ_COLUMN)
    if unknown and not evolve:
        raise InvalidInput(
            f"merge into {target.name}: expected only columns of the table, found {', '.join(unknown)}; "
            "add them to the table first or merge with evolve=True"
        )
    taken = {name.lower() for name in known}
    for name in unknown:
        if name.lower() in taken:
            raise InvalidInput(
                f"merge into {target.name}: expected column names that differ in more than case, found "
                f"{name!r} twice; rename one of them in the source"
            )
        taken.add(name.lower())
        if not _is_text(source.field(name).type):
            raise InvalidInput(
                f"merge into {target.name}: expected new column {name!r} to be text, found "
                f"{source.field(name).type}; write its values as text"
            )
    return unknown


def conform(rows: pa.Table, target: Target, merge_seq: int | None) -> pa.Table:
    """``rows`` with exactly the target's columns and types: missing ones null, ``_merge_seq`` set or kept.

    Raises InvalidInput where a column cannot be cast without loss, or has nulls that the table forbids.
    """
    columns: list[Array | Column] = []
    for field in target.arrow_schema:
        if field.name == MERGE_SEQ_COLUMN and merge_seq is not None:
            columns.append(pa.repeat(pa.scalar(merge_seq, field.type), rows.num_rows))
        elif field.name in rows.schema.names:
            columns.append(_cast(rows[field.name], field, target))
        else:
            columns.append(pa.nulls(rows.num_rows, field.type))
        if not field.nullable and columns[-1].null_count:
            raise InvalidInput(
                f"merge into {target.name}: expected a value in every row of required column {field.name!r}, "
                f"found {columns[-1].null_count} without; fill them in the source"
            )
    return pa.table(columns, schema=target.arrow_schema)


def _cast(column: Column, field: Field, target: Target) -> Column:
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Not "from": Arrow's message quotes the value.
        raise InvalidInput(
            f"merge into {target.name}: expected column {field.name!r} as {field.type}, found {column.type} "
            "with a value that is none; cast it in the source"
        ) from None


def _check_keys(keys: Array, table: str, column: str, first_row: int) -> None:
    if not _is_text(keys.type):
        raise InvalidInput(
            f"merge into {table}: expected text in key column {column!r}, found "
            f"{keys.type}; cast it in the source"
        )
    text: Any = keys
    lengths = pc.utf8_length(text).fill_null(0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((lengths < 1) | (lengths > KEY_LENGTH_LIMIT))
    if len(wrong):
        raise InvalidInput(
            f"merge into {table}: expected keys of 1 to {KEY_LENGTH_LIMIT} characters in {column!r}, found "
            "one "
            f"of {lengths[wrong[0]]} in source row {first_row + int(wrong[0])}; reject such rows first"
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
