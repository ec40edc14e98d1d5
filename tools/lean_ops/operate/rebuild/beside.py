"""The table beside: where a layer is rebuilt, with the columns, field ids and partitions of the live table.

Its data files are written where the live table's lie, so that the swap only has to list them; its metadata
lies in a place of its own. Field ids are given out by the live table alone: a column that the rebuild finds
is added there first (empty, which no reader minds). Where all of RAW is read, leaves are given columns anew
(``lean_ops.operate.rebuild.admission``), and the swap drops those that none was given. Its merge sequence
begins far above the live one, so that every rebuilt row is new to the layer that reads it, and no number is
ever used twice.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from pyarrow.fs import FileSelector, FileType
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
)
from pyiceberg.types import NestedField, StringType

from common.contract.changes import widens
from common.contract.contracted import row_retention
from common.contract.contracts import Contract
from common.lake.checkpoints import MERGE_SEQ, SourceCheckpoint
from common.lake.closing import CLOSED_BEFORE, OPEN, closed_before
from common.lake.history import last_merge, lineage, said_by
from common.lake.merge import concurrency, remove_files
from common.lake.progress import checkpoint_of
from common.lake.specifications import open_table
from common.lake.upkeep import RowRetention, referenced_files, referenced_now
from common.payload.columns import NOTE, leaf_columns
from common.runtime import outside
from common.runtime.errors import CommitConflict, InvalidInput, TableMismatch, TableMissing
from lean_ops.environment.target import Target
from lean_ops.operate.checkpoints import MergedLayer

LONGEST: Final = timedelta(days=2)
"""An older rebuild is begun anew: to maintenance its files may look like orphans, from three days on."""

SWAPPED_IN: Final = "lean-ops.rebuild"
"""In the summary of a swap's snapshot, and as a property of the live table: the table beside, by its uuid."""

_STARTED: Final = "lean-ops.rebuild-started"
_FROM: Final = "lean-ops.rebuild-from"
_READ: Final = "lean-ops.rebuild-live-sequence"
_CONTRACT: Final = "lean-ops.rebuild-contract"
ADMITTED: Final = "lean-ops.rebuild-contracted"
"""Property of a table beside whose columns are decided on: the contract's columns of then, a JSON list."""
_SEQUENCE_GAP: Final = 1_000_000  # merges that the live table may make during a rebuild
_ATTEMPTS: Final = 6


@dataclass(frozen=True)
class Under:
    """What Semantic is rebuilt under: a contract, and the text by which a repetition knows it again.

    It need not be the one in place: a publication puts it there at the swap.
    """

    contract: Contract
    text: str

    def __str__(self) -> str:
        return f"{self.contract.version} ({hashlib.sha256(self.text.encode()).hexdigest()[:12]})"


@dataclass(frozen=True)
class Rebuild:
    """A rebuild in progress: ``live`` and ``beside`` are its tables.

    ``first_day``: rows published before it stay as the live table has them. ``live_sequence``: how far the
    live table had read its source when the rebuild began (as in ``SourceCheckpoint``). ``contract``: what
    Semantic is rebuilt under; None for Curated.
    """

    topic: str
    layer: MergedLayer
    live: str
    beside: str
    first_day: date | None
    live_sequence: int
    started: datetime
    swapped_in: str = ""
    contract: Contract | None = None

    @property
    def admits_anew(self) -> bool:
        """Whether leaves are given columns anew: rows that a first day keeps have their values in the old."""
        return self.layer is MergedLayer.CURATED and self.first_day is None

    @classmethod
    def open(
        cls,
        target: Target,
        topic: str,
        layer: MergedLayer,
        *,
        first_day: date | None,
        under: Under | None = None,
    ) -> "Rebuild":
        """Begin a rebuild, or go on with the one that was begun.

        One that cannot be gone on with is removed first: nothing was filled in, it is too old, or its swap
        was rolled back (its merge numbers are used up). ``under``: of Semantic. Raises InvalidInput
        where the one that was begun has another first day or contract, and, before anything is made, where
        the first day cannot be kept to.
        """
        catalog, settings = target.catalog(), target.settings
        live = open_table(catalog, settings.table(layer, topic))
        identifier = settings.rebuild_table(layer, topic)
        table = _load(catalog, identifier)
        if table is not None and not _of_use(table, live):
            discard(target, topic, layer)
            table = None
        if table is None:
            columns = under.contract.semantic_columns() if under is not None else []
            schema = rebuilt_schema(live.schema(), columns, live.metadata.last_column_id)
            if layer is MergedLayer.CURATED and first_day is None:
                schema = without_columns(schema, leaf_columns(schema))
            counts = checkpoint_of(live, layer, topic, settings, target.client("dynamodb"))
            read = counts.checkpoint if counts else None
            raw = open_table(catalog, settings.table("raw", topic))
            _check_dropped(identifier, live, raw, first_day)
            if first_day is not None:
                _check_first_day(identifier, live, schema, read, first_day=first_day, layer=layer)
            notes = {
                _FROM: first_day.isoformat() if first_day else "",
                _CONTRACT: str(under or ""),
                _READ: str(read.sequence if read else 0),
                CLOSED_BEFORE: _closed(target, topic, layer, live, first_day).isoformat(),
            }
            try:
                table = _create(catalog, live, identifier, schema, notes)
            except TableAlreadyExistsError:
                # Begun before, by a command that had no answer, or by this one, whose SDK asked again.
                return cls.open(target, topic, layer, first_day=first_day, under=under)
        found = cls(
            topic,
            layer,
            settings.table(layer, topic),
            identifier,
            date.fromisoformat(table.properties[_FROM]) if table.properties[_FROM] else None,
            int(table.properties[_READ]),
            datetime.fromisoformat(table.properties[_STARTED]),
            _swapped_in(table, live),
            under.contract if under is not None else None,
        )
        if not found.swapped_in:
            found._check(first_day, str(under or ""), table.properties[_CONTRACT])
        return found

    def _check(self, first_day: date | None, under: str, begun_under: str) -> None:
        advice = "remove it with `lean-ops rebuild --discard`, then start again"
        if first_day != self.first_day:
            raise InvalidInput(
                f"rebuild {self.beside}: expected it to have begun with --from {first_day}, found "
                f"{self.first_day}; name that day, or {advice}"
            )
        if under != begun_under:
            raise InvalidInput(
                f"rebuild {self.beside}: expected it to have begun under contract {under}, found "
                f"{begun_under}; {advice}"
            )


def was_swapped_in(live: Table, after: Snapshot) -> bool:
    """Whether a rebuild took the place of ``live`` after its snapshot ``after``, undone meanwhile or not."""
    return any(
        SWAPPED_IN in said_by(snapshot)
        for snapshot in live.snapshots()
        if (snapshot.sequence_number or 0) > (after.sequence_number or 0)
    )


def fits(target: Target, topic: str, under: Under) -> bool:
    """Whether a rebuild of Semantic that was begun, if any, can be gone on with under this contract.

    Not where it was begun under another one, or was swapped in already (a kill came before its removal), or
    where the live table was given columns that clash with its.
    """
    settings = target.settings
    table = _load(target.catalog(), settings.rebuild_table(MergedLayer.SEMANTIC, topic))
    live = open_table(target.catalog(), settings.table(MergedLayer.SEMANTIC, topic))
    if table is None:
        return True
    if _swapped_in(table, live):
        return False
    try:
        schema_for_live(live, table)
    except TableMismatch:
        return False
    return table.properties[_CONTRACT] == str(under)


def rebuilt_schema(live: Schema, columns: Sequence[NestedField], last_column_id: int) -> Schema:
    """The live schema with the contract's columns: new ones added, wider ones widened, and others replaced.

    A replaced column keeps its name and gets a new field id, as Iceberg asks for when a type changes; rows of
    older snapshots keep the old one.
    """
    fields = {field.name: field for field in live.fields}
    next_id = last_column_id + 1
    for column in columns:
        known = fields.get(column.name)
        if known is not None and widens(known.field_type, column.field_type):
            fields[column.name] = known.model_copy(
                update={"field_type": column.field_type, "doc": column.doc or known.doc}
            )
            continue
        fields[column.name] = column.model_copy(update={"field_id": next_id})
        next_id += 1
    return Schema(*fields.values(), schema_id=0, identifier_field_ids=live.identifier_field_ids)


def share_columns(
    catalog: Catalog,
    rebuild: Rebuild,
    notes: Mapping[str, str],
    *,
    record_new: Callable[[Sequence[str]], None],
    contracted: frozenset[str] = frozenset(),
    properties: Mapping[str, str] | None = None,
) -> None:
    """Give both tables text columns with their comments, and the table beside what else the live one has.

    ``record_new`` is told of columns that the live table does not have yet, before it gets them: no run will
    meet them as new ones.

    That is all of it, without columns that leaves are to be given anew (``Rebuild.admits_anew``) and the
    contract does not name. ``notes``: the path that owns each column (``common.payload.columns``).
    ``properties`` of the table beside are set in the same commit.
    """
    live = _add_columns(catalog, rebuild.live, notes, record_new)
    docs = {field.name: field.doc for field in live.schema().fields}
    to_decide = leaf_columns(live.schema()).keys() - contracted if rebuild.admits_anew else set()
    wanted = dict(properties or {})
    for _ in range(_ATTEMPTS):
        table = open_table(catalog, rebuild.beside)
        known = [
            field.model_copy(update={"doc": docs.get(field.name, field.doc)})
            for field in table.schema().fields
        ]
        left_out = {field.name for field in known} | (to_decide - notes.keys())
        missing = [field for field in live.schema().fields if field.name not in left_out]
        is_set = wanted.items() <= table.properties.items()
        if not missing and known == list(table.schema().fields) and is_set:
            return
        schema = Schema(
            *known,
            *missing,
            schema_id=1 + max(s.schema_id for s in table.metadata.schemas),
            identifier_field_ids=table.schema().identifier_field_ids,
        )
        # The SDK asks again where it had no answer, and is told that somebody, itself, was first.
        with suppress(CommitFailedException):
            catalog.commit_table(
                table,
                (AssertCurrentSchemaId(current_schema_id=table.metadata.current_schema_id),),
                (
                    AddSchemaUpdate(schema_=schema),
                    SetCurrentSchemaUpdate(schema_id=-1),
                    *([SetPropertiesUpdate(updates=wanted)] if wanted else []),
                ),
            )
            return
    raise CommitConflict(
        f"rebuild {rebuild.beside}: expected to be the only one that gives it columns, found other writers "
        f"first {_ATTEMPTS} times; run the rebuild again, it goes on where it ended"
    )


def columns_to_go(rebuild: Rebuild, live: Table, beside: Table) -> tuple[str, ...]:
    """Columns that the swap drops from the live table: leaves had made them, and none was given them anew."""
    if not rebuild.admits_anew:
        return ()
    return tuple(sorted(leaf_columns(live.schema()).keys() - set(beside.schema().column_names)))


def schema_for_live(live: Table, beside: Table, to_go: Collection[str] = ()) -> Schema | None:
    """The schema that the live table needs for the rebuilt files; None where it has it.

    ``to_go``: columns that it is not to have any more; Iceberg keeps their ids for older snapshots. Raises
    TableMismatch where both gave one field id to different columns.
    """
    wanted = {field.field_id: field for field in beside.schema().fields}
    current = {field.field_id: field for field in live.schema().fields}
    for field_id, field in wanted.items():
        other = current.get(field_id)
        if other is None and field_id > live.metadata.last_column_id:
            continue  # a replaced column: its id is new
        if other is None or other.name != field.name or not widens(other.field_type, field.field_type):
            raise TableMismatch(
                f"table {'.'.join(live.name())}: expected field id {field_id} to be column {field.name}, "
                f"found {other.name if other else 'a dropped column'}: its schema changed meanwhile; "
                "remove the rebuild with `lean-ops rebuild --discard`, then start again"
            )
    as_it_is = all(
        field_id in current and current[field_id].field_type == field.field_type
        for field_id, field in wanted.items()
    )
    if as_it_is and not to_go:
        return None
    names = {*to_go, *(field.name for field in wanted.values())}
    kept = [field for field in current.values() if field.field_id not in wanted and field.name not in names]
    return Schema(
        *beside.schema().fields,
        *kept,
        schema_id=1 + max(s.schema_id for s in live.metadata.schemas),
        identifier_field_ids=live.schema().identifier_field_ids,
    )


def without_columns(schema: Schema, names: Collection[str]) -> Schema:
    """The schema without these columns; its id stays."""
    return Schema(
        *(field for field in schema.fields if field.name not in names),
        schema_id=schema.schema_id,
        identifier_field_ids=schema.identifier_field_ids,
    )


def discard(target: Target, topic: str, layer: MergedLayer) -> int:
    """Remove a rebuild and the files that only it refers to; gives their number, 0 where there was none.

    After a swap the live table refers to the rebuilt files, which then stay. Where an earlier removal was
    interrupted, what it left is removed.
    """
    catalog = target.catalog()
    identifier = target.settings.rebuild_table(layer, topic)
    live = open_table(catalog, target.settings.table(layer, topic))
    table = _load(catalog, identifier)
    if table is None:
        return _remove_folder(live, _place(live, identifier))
    with ThreadPoolExecutor(concurrency(live.location())) as pool:
        unneeded = referenced_files(table, pool) - referenced_now(live, pool)
    with suppress(NoSuchTableError):  # gone by the same request, to which the SDK had no answer
        catalog.drop_table(identifier)
    unneeded = {path for path in unneeded if not path.startswith(f"{table.location()}/")}
    remove_files(table.io, unneeded)
    return len(unneeded) + _remove_folder(table, table.location())


def _load(catalog: Catalog, identifier: str) -> Table | None:
    """The table, if it is there. An entry of which no metadata is left is removed: nothing refers to it.

    Its registration had no answer, and came about when the rebuild had been removed.
    """
    try:
        return open_table(catalog, identifier)
    except TableMissing:
        return None
    except FileNotFoundError:
        with suppress(NoSuchTableError):
            catalog.drop_table(identifier)
        return None


def _of_use(table: Table, live: Table) -> bool:
    """Whether a rebuild that was begun can be gone on with, or has only its removal before it."""
    if _swapped_in(table, live):
        return True
    if live.properties.get(SWAPPED_IN) == str(table.metadata.table_uuid):
        return False
    started = datetime.fromisoformat(table.properties[_STARTED])
    return table.current_snapshot() is not None and outside.now() - started <= LONGEST


def _swapped_in(table: Table, live: Table) -> str:
    """The snapshot in the history of ``live`` with which ``table`` took its place; empty without one."""
    own = str(table.metadata.table_uuid)
    swaps = (s.snapshot_id for s in lineage(live) if said_by(s).get(SWAPPED_IN) == own)
    return str(next(swaps, ""))


def _check_first_day(
    identifier: str,
    live: Table,
    schema: Schema,
    read: SourceCheckpoint | None,
    *,
    first_day: date,
    layer: MergedLayer,
) -> None:
    """Raise InvalidInput where rows of before ``first_day`` cannot be kept, or are not known to be whole."""
    if replaced := sorted({*replaced_columns(live.schema(), schema), *emptied_columns(live)[0]}):
        raise InvalidInput(
            f"rebuild {identifier}: expected columns that widen, found another type of "
            f"{', '.join(replaced)}, which rows of before {first_day} cannot take; start it without --from "
            "(a publication: give the type a new name, or leave rows with --leave-rows)"
        )
    if layer is MergedLayer.CURATED:
        _read_whole(identifier, read)


def _check_dropped(identifier: str, live: Table, raw: Table, first_day: date | None) -> None:
    """Raise InvalidInput where the live table has rows that RAW has dropped, and they would be lost."""
    dropped = closed_before(raw)
    if dropped is None or (first_day is not None and first_day >= dropped.date()):
        return
    older = live.scan(row_filter=f"publish_time < '{dropped.isoformat()}'").plan_files()
    if any(True for _ in older):
        raise InvalidInput(
            f"rebuild {identifier}: expected RAW to have everything that the table is made from, found that "
            f"it has dropped what was published before {dropped.date()} (its retention); begin with --from "
            f"{dropped.date()}, and older rows are taken over as they are"
        )


def _closed(target: Target, topic: str, layer: MergedLayer, live: Table, first_day: date | None) -> datetime:
    """From when on the table beside takes rows: as the contract says today, also where that is earlier.

    Where older rows are taken over as they are, what the live table has dropped stays dropped.
    """
    days = row_retention(target.client("s3"), target.lake_bucket, topic).days.get(layer.value)
    said = RowRetention(days, outside.now()).before if days is not None else OPEN
    return said if first_day is None else max(said, closed_before(live) or OPEN)


def _read_whole(identifier: str, read: SourceCheckpoint | None) -> SourceCheckpoint:
    """How far Curated has read RAW; raises InvalidInput where that is not up to a whole snapshot."""
    if read is None or read.files is not None:
        raise InvalidInput(
            f"rebuild {identifier}: expected Curated to have read RAW up to a whole snapshot, found "
            f"{read.token if read else 'nothing read'}; let the pipeline catch up first (`lean-ops run`)"
        )
    return read


def replaced_columns(live: Schema, rebuilt: Schema) -> list[str]:
    """Columns that both have under one name with different field ids, and so of different types."""
    ids = {field.name: field.field_id for field in live.fields}
    return [f.name for f in rebuilt.fields if ids.get(f.name, f.field_id) != f.field_id]


def emptied_columns(live: Table) -> tuple[frozenset[str], int]:
    """Columns that were given another type since the last swap, and the last merge before that.

    Rows that this merge and earlier ones wrote have no value in them.
    """
    names: set[str] = set()
    upto = 0
    for snapshot in lineage(live):
        if snapshot.schema_id is not None and snapshot.schema_id in live.schemas():
            emptied = replaced_columns(live.schemas()[snapshot.schema_id], live.schema())
            merged = last_merge(live, snapshot.snapshot_id) if emptied else None
            upto = max(upto, merged[1] if merged else 0)
            names.update(emptied)
        if SWAPPED_IN in said_by(snapshot):
            break
    return frozenset(names), upto


def _place(live: Table, identifier: str) -> str:
    """Where the metadata of the table beside lies."""
    return f"{live.location().rpartition('/')[0]}/{identifier.rpartition('.')[2]}"


def _create(catalog: Catalog, live: Table, identifier: str, schema: Schema, notes: dict[str, str]) -> Table:
    """An empty table like ``live``, registered under ``identifier``."""
    location = _place(live, identifier)
    merged = last_merge(live)
    sequence = max(merged[1] if merged else 0, int(live.properties.get(MERGE_SEQ, "0")))
    properties = {
        **live.properties,
        **notes,
        "write.data.path": live.location_provider().new_data_location("x").removesuffix("/x"),
        MERGE_SEQ: str(sequence + _SEQUENCE_GAP),
        _STARTED: outside.now().isoformat(timespec="seconds"),
    }
    metadata = live.metadata.model_copy(
        update={
            "table_uuid": outside.new_id(),
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
    path = f"{location}/metadata/00000-{outside.new_id()}.metadata.json"
    ToOutputFile.table_metadata(metadata, live.io.new_output(path))
    return catalog.register_table(identifier, path)


def _add_columns(
    catalog: Catalog, identifier: str, notes: Mapping[str, str], record_new: Callable[[Sequence[str]], None]
) -> Table:
    for _ in range(_ATTEMPTS):
        table = open_table(catalog, identifier)
        docs = {field.name: field.doc or "" for field in table.schema().fields}
        # A column that belongs to another path by now is left as it is: the merge notices.
        unowned = [name for name in notes if not docs.get(name, "").startswith(NOTE)]
        if not unowned:
            return table
        if new := [name for name in unowned if name not in docs]:
            record_new(new)
        try:
            with table.update_schema() as update:
                for name in unowned:
                    if name in docs:
                        update.update_column(name, doc=notes[name])
                    else:
                        update.add_column(name, StringType(), doc=notes[name])
        except CommitFailedException:
            continue  # the pipeline committed first; it may have added the same column
    raise CommitConflict(
        f"table {identifier}: expected to add columns {', '.join(notes)} within {_ATTEMPTS} attempts, found "
        "other writers first every time; run the rebuild again, it goes on where it ended"
    )


def _remove_folder(table: Table, location: str) -> int:
    """Remove what lies in a place of the store of ``table``; gives the number of files."""
    if not isinstance(table.io, PyArrowFileIO):
        raise TableMismatch(
            f"table {'.'.join(table.name())}: expected a file store read through PyArrowFileIO, found "
            f"{type(table.io).__name__}; set py-io-impl to pyiceberg.io.pyarrow.PyArrowFileIO"
        )
    scheme, host, root = PyArrowFileIO.parse_location(location, table.io.properties)
    store = table.io.fs_by_scheme(scheme, host)
    found = store.get_file_info(FileSelector(root, allow_not_found=True, recursive=True))
    if found:
        store.delete_dir(root)
    return sum(info.type == FileType.File for info in found)
