"""The table beside: where a layer is rebuilt, with the columns, field ids and partitions of the live table.

Its data files are written where the live table's lie, so that the swap only has to list them; its metadata
lies in a place of its own. Field ids are given out by the live table alone: a column that the rebuild finds
is added there first (empty, which no reader minds). Its merge sequence begins far above the live one, so that
every rebuilt row is new to the layer that reads it, and no number is ever used twice.
"""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pyarrow.fs import FileSelector, FileType
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table
from pyiceberg.table.update import AddSchemaUpdate, AssertCurrentSchemaId, SetCurrentSchemaUpdate
from pyiceberg.types import NestedField, StringType

from common.checkpoints import MERGE_SEQ, SourceCheckpoint
from common.errors import CommitConflict, InvalidInput, TableMismatch
from common.incremental import last_merge
from common.maintenance import referenced_files
from common.merge.streams import concurrency, remove_files
from common.progress import checkpoint_of
from common.tables import open_table
from lean_ops.checkpoints import MergedLayer
from lean_ops.target import Target

LONGEST: Final = timedelta(days=2)
"""An older rebuild is not gone on with: to Glue its files look like orphans, from three days on."""

_STARTED: Final = "lean-ops.rebuild-started"
_FROM: Final = "lean-ops.rebuild-from"
_READ: Final = "lean-ops.rebuild-live-sequence"
_CONTRACT: Final = "lean-ops.rebuild-contract"
_SEQUENCE_GAP: Final = 1_000_000  # merges that the live table may make during a rebuild
_ATTEMPTS: Final = 6


@dataclass(frozen=True)
class Rebuild:
    """A rebuild in progress: ``live`` and ``beside`` are its tables.

    ``first_day``: rows published before it stay as the live table has them. ``live_sequence``: how far the
    live table had read its source when the rebuild began (as in ``SourceCheckpoint``).
    """

    topic: str
    layer: MergedLayer
    live: str
    beside: str
    first_day: date | None
    live_sequence: int
    started: datetime

    @classmethod
    def open(
        cls,
        target: Target,
        topic: str,
        layer: MergedLayer,
        *,
        first_day: date | None,
        contract_version: str = "",
        columns: Sequence[NestedField] = (),
    ) -> "Rebuild":
        """Begin a rebuild, or go on with the one that was begun.

        ``contract_version`` and ``columns``: what Semantic is rebuilt under. Raises InvalidInput where the
        one that was begun is too old, or was begun with another first day or contract.
        """
        catalog, settings = target.catalog(), target.settings
        live = open_table(catalog, settings.table(layer, topic))
        identifier = settings.rebuild_table(layer, topic)
        try:
            table = catalog.load_table(identifier)
        except NoSuchTableError:
            schema = rebuilt_schema(live.schema(), columns, live.metadata.last_column_id)
            counts = checkpoint_of(live, layer, topic, settings, target.client("dynamodb"))
            read = SourceCheckpoint.parse(counts.token, counts.position) if counts else None
            notes = {
                _FROM: first_day.isoformat() if first_day else "",
                _CONTRACT: contract_version,
                _READ: str(read.sequence if read else 0),
            }
            table = _create(catalog, live, identifier, schema, notes)
        found = cls(
            topic,
            layer,
            settings.table(layer, topic),
            identifier,
            date.fromisoformat(table.properties[_FROM]) if table.properties[_FROM] else None,
            int(table.properties[_READ]),
            datetime.fromisoformat(table.properties[_STARTED]),
        )
        found._check(first_day, contract_version, table.properties[_CONTRACT])
        return found

    def _check(self, first_day: date | None, contract_version: str, begun_under: str) -> None:
        advice = "remove it with `lean-ops rebuild --discard`, then start again"
        if datetime.now(UTC) - self.started > LONGEST:
            raise InvalidInput(
                f"rebuild {self.beside}: expected one that was begun within {LONGEST.days} days, found "
                f"{self.started:%Y-%m-%d %H:%M}; {advice}"
            )
        if first_day != self.first_day:
            raise InvalidInput(
                f"rebuild {self.beside}: expected it to have begun with --from {first_day}, found "
                f"{self.first_day}; name that day, or {advice}"
            )
        if contract_version != begun_under:
            raise InvalidInput(
                f"rebuild {self.beside}: expected it to have begun under contract {contract_version}, found "
                f"{begun_under}; {advice}"
            )


def rebuilt_schema(live: Schema, columns: Sequence[NestedField], last_column_id: int) -> Schema:
    """The live schema with the contract's columns: new ones added, and where a type cannot widen, replaced.

    A replaced column keeps its name and gets a new field id, as Iceberg asks for when a type changes; rows of
    older snapshots keep the old one.
    """
    fields = {field.name: field for field in live.fields}
    next_id = last_column_id + 1
    for column in columns:
        known = fields.get(column.name)
        if known is not None and known.field_type == column.field_type:
            continue
        fields[column.name] = column.model_copy(update={"field_id": next_id})
        next_id += 1
    return Schema(*fields.values(), schema_id=0, identifier_field_ids=live.identifier_field_ids)


def share_columns(catalog: Catalog, rebuild: Rebuild, names: Sequence[str] = ()) -> None:
    """Give both tables the text columns ``names``, and the table beside all that the live one has."""
    live = _add_columns(catalog, rebuild.live, names)
    table = open_table(catalog, rebuild.beside)
    known = {field.name for field in table.schema().fields}
    missing = [field for field in live.schema().fields if field.name not in known]
    if not missing:
        return
    schema = Schema(
        *table.schema().fields,
        *missing,
        schema_id=1 + max(s.schema_id for s in table.metadata.schemas),
        identifier_field_ids=table.schema().identifier_field_ids,
    )
    catalog.commit_table(
        table,
        (AssertCurrentSchemaId(current_schema_id=table.metadata.current_schema_id),),
        (AddSchemaUpdate(schema_=schema), SetCurrentSchemaUpdate(schema_id=-1)),
    )


def schema_for_live(live: Table, beside: Table) -> Schema | None:
    """The schema that the live table needs for the rebuilt files; None where it has it.

    Raises TableMismatch where both gave one field id to different columns.
    """
    wanted = {field.field_id: field for field in beside.schema().fields}
    current = {field.field_id: field for field in live.schema().fields}
    for field_id, field in wanted.items():
        other = current.get(field_id)
        if other is None and field_id > live.metadata.last_column_id:
            continue  # a replaced column: its id is new
        if other is None or (other.name, other.field_type) != (field.name, field.field_type):
            raise TableMismatch(
                f"table {'.'.join(live.name())}: expected field id {field_id} to be column {field.name}, "
                f"found {other.name if other else 'a dropped column'}: its schema changed meanwhile; "
                "remove the rebuild with `lean-ops rebuild --discard`, then start again"
            )
    if wanted.keys() <= current.keys():
        return None
    names = {field.name for field in wanted.values()}
    kept = [field for field in current.values() if field.field_id not in wanted and field.name not in names]
    return Schema(
        *beside.schema().fields,
        *kept,
        schema_id=1 + max(s.schema_id for s in live.metadata.schemas),
        identifier_field_ids=live.schema().identifier_field_ids,
    )


def discard(target: Target, topic: str, layer: MergedLayer) -> int:
    """Remove a rebuild and the files that only it refers to; gives their number, 0 where there was none.

    After a swap the live table refers to the rebuilt files, which then stay.
    """
    catalog = target.catalog()
    identifier = target.settings.rebuild_table(layer, topic)
    try:
        table = catalog.load_table(identifier)
    except NoSuchTableError:
        return 0
    live = open_table(catalog, target.settings.table(layer, topic))
    with ThreadPoolExecutor(concurrency(live.location())) as pool:
        unneeded = referenced_files(table, pool) - referenced_files(live, pool)
    catalog.drop_table(identifier)
    unneeded = {path for path in unneeded if not path.startswith(f"{table.location()}/")}
    remove_files(table.io, unneeded)
    return len(unneeded) + _remove_own_place(table)


def _create(catalog: Catalog, live: Table, identifier: str, schema: Schema, notes: dict[str, str]) -> Table:
    """An empty table like ``live``, registered under ``identifier``."""
    name = identifier.rpartition(".")[2]
    location = f"{live.location().rpartition('/')[0]}/{name}"
    merged = last_merge(live)
    sequence = max(merged[1] if merged else 0, int(live.properties.get(MERGE_SEQ, "0")))
    properties = {
        **live.properties,
        **notes,
        "write.data.path": live.location_provider().new_data_location("x").removesuffix("/x"),
        MERGE_SEQ: str(sequence + _SEQUENCE_GAP),
        _STARTED: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    metadata = live.metadata.model_copy(
        update={
            "table_uuid": uuid.uuid4(),
            "location": location,
            "schemas": [schema],
            "current_schema_id": schema.schema_id,
            "last_column_id": max(live.metadata.last_column_id, schema.highest_field_id),
            "properties": properties,
            "last_sequence_number": 0,
            "snapshots": [],
            "current_snapshot_id": None,
            "refs": {},
            "snapshot_log": [],
            "metadata_log": [],
            "statistics": [],
            "partition_statistics": [],
        }
    )
    path = f"{location}/metadata/00000-{uuid.uuid4()}.metadata.json"
    ToOutputFile.table_metadata(metadata, live.io.new_output(path))
    return catalog.register_table(identifier, path)


def _add_columns(catalog: Catalog, identifier: str, names: Sequence[str]) -> Table:
    for _ in range(_ATTEMPTS):
        table = open_table(catalog, identifier)
        missing = [name for name in names if name not in table.schema().column_names]
        if not missing:
            return table
        try:
            with table.update_schema() as update:
                for name in missing:
                    update.add_column(name, StringType())
        except CommitFailedException:
            continue  # the pipeline committed first; it may have added the same column
    raise CommitConflict(
        f"table {identifier}: expected to add columns {', '.join(names)} within {_ATTEMPTS} attempts, found "
        "other writers first every time; run the rebuild again, it goes on where it ended"
    )


def _remove_own_place(table: Table) -> int:
    """Remove what lies in the table's own place (its metadata); gives the number of files."""
    if not isinstance(table.io, PyArrowFileIO):
        raise TableMismatch(
            f"table {'.'.join(table.name())}: expected a file store read through PyArrowFileIO, found "
            f"{type(table.io).__name__}; set py-io-impl to pyiceberg.io.pyarrow.PyArrowFileIO"
        )
    scheme, host, root = PyArrowFileIO.parse_location(table.location(), table.io.properties)
    store = table.io.fs_by_scheme(scheme, host)
    found = store.get_file_info(FileSelector(root, allow_not_found=True, recursive=True))
    if found:
        store.delete_dir(root)
    return sum(info.type == FileType.File for info in found)
