"""The table that is merged into, checked before anything is read or written."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import BucketTransform, IdentityTransform, TimeTransform, TruncateTransform
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType, NestedField, StringType

from common.lake.checkpoints import MERGE_SEQ, MERGE_SEQ_COLUMN
from common.lake.history import said_by
from common.lake.rule import MergeRule
from common.runtime import outside
from common.runtime.arrowtypes import Field
from common.runtime.errors import TableMismatch

_FORMAT_VERSION = 2  # Position deletes exist from 2 on; Firehose, Athena and Snowflake read no further.


_TRANSFORMS = (IdentityTransform, BucketTransform, TruncateTransform, TimeTransform)


@dataclass(frozen=True)
class Target:
    """A table at the snapshot the merge is planned on, with the columns the source adds to it.

    ``schema`` is the table's schema plus the new columns; ``added`` are their names in order, ``notes`` the
    comments that columns get. ``folder``: below the data location, where new files go; empty: there itself.
    """

    table: Table
    schema: Schema
    added: tuple[str, ...]
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    folder: str = ""

    @classmethod
    def check(cls, table: Table, rule: MergeRule) -> "Target":
        """The table as a target; raises TableMismatch where the engine cannot merge into it."""
        identifier = ".".join(table.name())
        version = table.metadata.format_version
        if version != _FORMAT_VERSION:
            raise TableMismatch(
                f"table {identifier}: expected Iceberg format version {_FORMAT_VERSION}, found {version}; "
                "create it again from its specification in modules/storage/tables"
            )
        names = {f.name for f in table.schema().fields}
        missing = [c for c in (*rule.columns, MERGE_SEQ_COLUMN) if c not in names]
        if missing:
            raise TableMismatch(
                f"table {identifier}: expected the columns {', '.join((*rule.columns, MERGE_SEQ_COLUMN))}, "
                f"found no {', '.join(missing)}; add them (optional columns) with an Iceberg schema update"
            )
        unknown = [f.name for f in table.spec().fields if not isinstance(f.transform, _TRANSFORMS)]
        if unknown:
            raise TableMismatch(
                f"table {identifier}: expected a partition spec of identity, bucket, truncate and time "
                f"transforms, found another in {', '.join(unknown)}; create the table again from its "
                "specification in modules/storage/tables"
            )
        return cls(table, table.schema(), ())

    def with_columns(self, names: tuple[str, ...], notes: Mapping[str, str]) -> "Target":
        """The same target with new optional text columns at the end, field ids continued.

        ``notes`` become the comments of columns, new ones and others.
        """
        if not names and not notes:
            return self
        first = self.table.metadata.last_column_id + 1
        fields = [
            NestedField(field_id=first + i, name=name, field_type=StringType(), required=False)
            for i, name in enumerate(names)
        ]
        current = self.table.schema()
        schema = Schema(
            *(_noted(field, notes.get(field.name)) for field in (*current.fields, *fields)),
            schema_id=1 + max(s.schema_id for s in self.table.metadata.schemas),
            identifier_field_ids=current.identifier_field_ids,
        )
        return dataclasses.replace(self, schema=schema, added=names, notes=notes)

    @property
    def evolved(self) -> bool:
        """Whether the schema is another than the table's."""
        return self.schema.schema_id != self.table.metadata.current_schema_id

    @property
    def name(self) -> str:
        """Catalog identifier, for messages."""
        return ".".join(self.table.name())

    @property
    def properties(self) -> Mapping[str, str]:
        """The table's properties."""
        return self.table.metadata.properties

    @property
    def snapshot_id(self) -> int | None:
        """Id of the snapshot the merge is planned on; None in an empty table."""
        snapshot = self.table.current_snapshot()
        return snapshot.snapshot_id if snapshot is not None else None

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema of the data files, field ids included, text with 32-bit offsets."""
        return pa.schema([_small(f) for f in schema_to_pyarrow(self.schema)])

    @cached_property
    def previous_merge_seq(self) -> int:
        """Number of the last merge; 0 before the first.

        The table property is written by every merge commit and outlives snapshot expiry, compaction by other
        writers and rollbacks, so that a number is never used twice.
        """
        stored = [self.properties.get(MERGE_SEQ), said_by(self.table.current_snapshot()).get(MERGE_SEQ)]
        return max((int(value) for value in stored if value is not None), default=0)

    @property
    def merge_seq(self) -> int:
        """Number of the merge that is planned."""
        return self.previous_merge_seq + 1

    def directory(self, partition: Record) -> str:
        """Path of a partition below the table's data location; empty for an unpartitioned table.

        As ``PartitionSpec.partition_to_path`` makes it, which derives the types anew on every call.
        """
        texts = [
            f"{quote_plus(f.name)}={quote_plus(f.transform.to_human_string(kind, partition[place]))}"
            for place, (f, kind) in enumerate(self._partition_fields)
        ]
        return "/".join(texts)

    @cached_property
    def _partition_fields(self) -> list[tuple[PartitionField, IcebergType]]:
        spec = self.table.spec()
        types = spec.partition_type(self.schema).fields
        return [(f, t.field_type) for f, t in zip(spec.fields, types, strict=True)]

    def new_path(self, directory: str, ending: str) -> str:
        """A fresh location for a data or delete file of a partition's directory."""
        parts = (self.folder, directory, f"{outside.new_id()}.{ending}")
        return self.table.location_provider().new_data_location("/".join(filter(None, parts)))

    @cached_property
    def field_ids(self) -> dict[str, int]:
        """Field ids of the columns."""
        return {f.name: f.field_id for f in self.schema.fields}

    @cached_property
    def types(self) -> dict[str, Any]:
        """Arrow types of the columns."""
        return {f.name: f.type for f in self.arrow_schema}

    def key_bucket(self, rule: MergeRule) -> tuple[int, BucketTransform[str]] | None:
        """Position in the partition record and transform of the bucket field on the key, if there is one."""
        for position, field in enumerate(self.table.spec().fields):
            if isinstance(field.transform, BucketTransform) and field.source_id == self.field_ids[rule.key]:
                return position, field.transform
        return None


def _noted(column: NestedField, note: str | None) -> NestedField:
    return column if note is None else column.model_copy(update={"doc": note})


def _small(field: Field) -> Field:
    if pa.types.is_large_string(field.type):
        return field.with_type(pa.string())
    if pa.types.is_large_binary(field.type):
        return field.with_type(pa.binary())
    return field
