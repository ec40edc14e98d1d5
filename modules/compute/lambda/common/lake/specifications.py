"""Table specifications: the files that say how each layer's Iceberg table is created.

A specification (``modules/storage/tables/<layer>.json``) holds schema, partition spec and sort order in
Iceberg's own JSON serialisation (Iceberg table spec, appendix C) and the table properties. Terraform reads
the same files. After creation only Iceberg commits change a table. Each file has a second partition spec
for topics of low volume, whose contract says so (docs/adr/0006).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.types import NestedField

from common.lake.avro import read_whole_files_only
from common.runtime.errors import CommitConflict, TableMissing

# Columns that had another name. Iceberg's own metadata columns have names too, and Spark reads no column that
# is called like one (``MetadataColumns``: _file, _pos, _deleted, _spec_id, _partition).
RENAMED = {"_deleted": "_tombstone"}
LAYERS = ("raw", "curated", "semantic", "quarantine")
OPERATIONS_LAYER = "ops"
OPERATIONS = ("runs", "rules", "drift", "upkeep", "reconciliation")
"""Tables of what runs did, one of each an environment: ``ops_<name>``."""


@dataclass(frozen=True)
class TableSpec:
    """How the table of one layer is created."""

    layer: str
    description: str
    schema: Schema
    partition_spec: PartitionSpec
    sort_order: SortOrder
    properties: dict[str, str]

    @classmethod
    def load(cls, directory: Path, layer: str, *, low_volume: bool = False) -> "TableSpec":
        """Read ``<directory>/<layer>.json``, partitioned for a topic of many or of few events."""
        spec = json.loads((directory / f"{layer}.json").read_text())
        partition_fields = spec["partition-spec-low-volume" if low_volume else "partition-spec"]
        return cls(
            layer=spec["layer"],
            description=spec["description"],
            schema=Schema.model_validate(spec["schema"]),
            partition_spec=PartitionSpec.model_validate({"spec-id": 0, "fields": partition_fields}),
            sort_order=SortOrder(*(SortField.model_validate(f) for f in spec["sort-order"])),
            properties=dict(spec["properties"]),
        )

    def with_columns(self, columns: Sequence[NestedField]) -> "TableSpec":
        """The same specification with a contract's columns after its own, field ids in order."""
        first = self.schema.highest_field_id + 1
        extra = [c.model_copy(update={"field_id": first + i}) for i, c in enumerate(columns)]
        return TableSpec(
            self.layer,
            self.description,
            Schema(*self.schema.fields, *extra),
            self.partition_spec,
            self.sort_order,
            self.properties,
        )

    def create(self, catalog: Catalog, identifier: str, location: str | None = None) -> Table:
        """Create the table if it is not there; an existing table is returned as it is."""
        return catalog.create_table_if_not_exists(
            identifier,
            self.schema,
            location=location,
            partition_spec=self.partition_spec,
            sort_order=self.sort_order,
            properties=self.properties,
        )


def align(catalog: Catalog, identifier: str, spec: TableSpec) -> dict[str, str]:
    """Give an existing table the columns and properties that its specification has; gives what was changed.

    A specification grows, and tables live on. What it does not name stays; a column that it has by another
    name now is renamed, with all that stands in it. Raises TableMissing, and CommitConflict where another
    writer was first: then the next time does it.
    """
    table = open_table(catalog, identifier)
    found = table.properties
    # The version of the format is no property of a table that exists.
    wanted = {n: v for n, v in spec.properties.items() if n != "format-version" and found.get(n) != v}
    there = {column.name for column in table.schema().fields}
    named = {column.name for column in spec.schema.fields}
    renamed = {old: new for old, new in old_names(table).items() if new in named}
    columns = [c for c in spec.schema.fields if c.name not in there | set(renamed.values())]
    if wanted or columns or renamed:
        try:
            with table.transaction() as change:
                if wanted:
                    change.set_properties(wanted)
                with change.update_schema() as update:
                    for old, new in renamed.items():
                        update.rename_column(old, new)
                    for column in columns:
                        update.add_column(column.name, column.field_type, doc=column.doc)
        except CommitFailedException as error:
            raise CommitConflict(
                f"table {identifier}: expected to be the only writer, found another first; do it again"
            ) from error
    return wanted | renamed | {column.name: str(column.field_type) for column in columns}


def open_table(catalog: Catalog, identifier: str) -> Table:
    """Load a table; raises TableMissing with the way to create it.

    What is read of it is read whole or not at all (``common.lake.avro``).
    """
    read_whole_files_only()
    try:
        return catalog.load_table(identifier)
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        raise TableMissing(
            f"table {identifier}: expected it in the catalog, found none; "
            "create it with `terraform apply` (or `lean-ops up` for the local stack)"
        ) from error


def existing(catalog: Catalog, identifiers: Iterable[str]) -> Iterator[Table]:
    """Those of the tables that are there: somebody may make, remove or replace one at any moment.

    One whose metadata is gone is not: it is being removed, or its registration, to which there was no answer,
    came about when its files had been removed.
    """
    for identifier in identifiers:
        with suppress(TableMissing, FileNotFoundError):
            yield open_table(catalog, identifier)


def old_names(table: Table) -> dict[str, str]:
    """Columns that the table has by another name than that of today, and these.

    Whoever takes one for a column of events takes tombstones for rows.
    """
    there = set(table.schema().column_names)
    return {old: new for old, new in RENAMED.items() if old in there and new not in there}


def renamed_as_today(table: Table) -> Table:
    """The table, its columns by the names of today; raises CommitConflict where another writer was first."""
    names = old_names(table)
    if not names:
        return table
    try:
        with table.update_schema() as update:
            for old, new in names.items():
                update.rename_column(old, new)
    except CommitFailedException as error:
        raise CommitConflict(
            f"table {'.'.join(table.name())}: expected to rename {', '.join(names)}, found another writer's "
            "commit first; the next try finds the table as it is then"
        ) from error
    return table.refresh()
