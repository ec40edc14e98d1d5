"""The source of a merge: its columns checked, its rows shaped for the target."""

import pyarrow as pa

from common.lake.checkpoints import MERGE_SEQ_COLUMN
from common.lake.merge.target import Target
from common.lake.rule import MergeRule
from common.payload.columns import NOTE, notes_of
from common.runtime.arrowtypes import Array, Column, Field, is_text
from common.runtime.errors import CommitConflict, InvalidInput


def unknown_columns(source: pa.Schema, target: Target, rule: MergeRule, *, evolve: bool) -> tuple[str, ...]:
    """Columns of the source that the table lacks; they become optional text columns.

    But for the one that says which rows remove.

    Raises InvalidInput where the table must not evolve, where such a column is not text, or where its name
    differs from another only by case (Athena and Glue do not tell them apart) or is that of a partition field
    (Iceberg's Java library, and so Athena and Spark, would read the table no more).
    """
    known = {f.name for f in target.table.schema().fields}
    unknown = tuple(
        name for name in source.names if name not in known and name not in (MERGE_SEQ_COLUMN, rule.removes)
    )
    if unknown and not evolve:
        raise InvalidInput(
            f"merge into {target.name}: expected only columns of the table, found {', '.join(unknown)}; "
            "add them to the table first or merge with evolve=True"
        )
    taken = {name.lower() for name in known}
    partition_fields = {f.name.lower() for spec in target.table.specs().values() for f in spec.fields}
    for name in unknown:
        if name.lower() in taken:
            raise InvalidInput(
                f"merge into {target.name}: expected column names that differ in more than case, found "
                f"{name!r} twice; rename one of them in the source"
            )
        taken.add(name.lower())
        if name.lower() in partition_fields:
            raise InvalidInput(
                f"merge into {target.name}: expected new columns that are named unlike the table's partition "
                f"fields, found {name!r}; rename it in the source"
            )
        if not is_text(source.field(name).type):
            raise InvalidInput(
                f"merge into {target.name}: expected new column {name!r} to be text, found "
                f"{source.field(name).type}; write its values as text"
            )
    return unknown


def owners(source: pa.Schema, target: Target) -> dict[str, str]:
    """Notes of the paths that own columns (``common.payload.columns``), where the table has none yet.

    Raises CommitConflict where a column belongs to another path by now: another run was first to add it.
    """
    notes = notes_of(source)
    docs = {f.name: f.doc or "" for f in target.table.schema().fields}
    for name, note in notes.items():
        if docs.get(name, "").startswith(NOTE) and docs[name] != note:
            raise CommitConflict(
                f"merge into {target.name}: expected column {name!r} to belong to the path that the source "
                "found for it, found another that a run wrote meanwhile; run it again"
            )
    return {name: note for name, note in notes.items() if not docs.get(name, "").startswith(NOTE)}


def widened(target: Target, source: pa.Schema, rule: MergeRule, *, evolve: bool) -> Target:
    """The target with the columns that the source adds to those it has or was given, and with their notes."""
    new = unknown_columns(source, target, rule, evolve=evolve)
    return target.with_columns(
        tuple(dict.fromkeys((*target.added, *new))), {**target.notes, **owners(source, target)}
    )


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
