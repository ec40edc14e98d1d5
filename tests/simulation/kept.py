"""What a history asks for hundreds of times and what cannot have changed, worked out once.

Iceberg writes a file once, schemas and types are values, and a transaction's updates are the same until one
is added: pyiceberg reads and works out all of it again each time. Nothing is kept beyond what it was made of:
a file that was removed is not there, and one that was written again where it was is another (``which_file``).
Of what is a value, its object is the key and kept with the answer, so that no other gets its identity.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from ministack.services import dynamodb
from pyiceberg.avro import file as container
from pyiceberg.avro import resolver
from pyiceberg.catalog import sql
from pyiceberg.io import FileIO, InputFile
from pyiceberg.manifest import ManifestFile, ManifestWriter
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import update_table_metadata
from pyiceberg.types import StructType
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

from common.contract import contracts
from common.lake import avro
from lean_ops import cli

_help: Final = functools.cache(cli._help)


def which_file(place: str) -> tuple[Any, ...]:
    """What a file is: its place, and which one is there; FileNotFoundError as from whoever reads it."""
    found = Path(place.removeprefix("file://")).stat()
    return place, found.st_ino, found.st_mtime_ns, found.st_size


def _kept_manifests() -> tuple[Callable[..., list[Any]], Callable[..., list[Any]]]:
    """Reading of manifests and of their lists, each file once.

    By what the file is as well as by its place: an erasure writes some of them again where they are.
    """
    entries, manifests = avro._READ_ENTRIES, avro._READ_LIST
    read_entries: Final[dict[Any, list[Any]]] = {}
    read_lists: Final[dict[Any, list[Any]]] = {}

    def entries_of(manifest: ManifestFile, io: FileIO, discard_deleted: bool = True) -> list[Any]:
        key = (which_file(manifest.manifest_path), manifest.sequence_number, discard_deleted)
        if key not in read_entries:
            read_entries[key] = entries(manifest, io, discard_deleted)
        return list(read_entries[key])

    def manifests_of(snapshot: Snapshot, io: FileIO) -> list[Any]:
        key = which_file(snapshot.manifest_list)
        if key not in read_lists:
            read_lists[key] = manifests(snapshot, io)
        return list(read_lists[key])

    return entries_of, manifests_of


def _of_the_same(work: Callable[..., Any]) -> Callable[..., Any]:
    """Work whose answer is that of before for the same objects, numbers and words."""
    known: Final[dict[tuple[Any, ...], tuple[Any, tuple[Any, ...]]]] = {}

    @functools.wraps(work)
    def kept(*given: Any, **named: Any) -> Any:
        every = (*given, *named.values())
        key = (*(one if isinstance(one, int | str) else id(one) for one in every), *named)
        if key not in known:
            known[key] = work(*given, **named), every
        return known[key][0]

    return kept


def _kept_writers() -> dict[str, Any]:
    """How records of a schema are written: the same for each manifest of a table."""
    work_out: Any = ManifestWriter._with_partition
    schema_of = _of_the_same(
        # All that it asks of a writer.
        lambda version, spec, schema: work_out(SimpleNamespace(_spec=spec, _schema=schema), version)
    )
    return {
        "with_partition": lambda writer, version: schema_of(version, writer._spec, writer._schema),
        "to_avro": _of_the_same(AvroSchemaConversion().iceberg_to_avro),
    }


def _as_struct(schema: Schema) -> StructType:
    known = vars(schema).get("_struct")
    if known is None or known.fields is not schema.fields:
        vars(schema)["_struct"] = known = StructType(*schema.fields)
    return known


def _copied(metadata: TableMetadataV2, _memo: Any = None) -> TableMetadataV2:
    """A copy that can be changed; what is in its lists never is."""
    made = metadata.model_copy()
    for name, value in vars(made).items():
        if isinstance(value, list | dict):
            vars(made)[name] = value.copy()
    return made


@contextmanager
def nothing_worked_out_twice() -> Iterator[None]:
    """Let pyiceberg keep what it has read or worked out, and contracts what their text says."""
    read = FromInputFile.table_metadata
    known: Final[dict[str, TableMetadata]] = {}

    def metadata(file: InputFile) -> TableMetadata:
        if file.location not in known or not file.exists():  # one that was removed is not there
            known[file.location] = read(file)
        return known[file.location]

    def staged(transaction: Transaction) -> TableMetadata:
        table, updates = transaction._table.metadata, transaction._updates
        last = transaction.__dict__.get("_last_staged")
        if last is None or last[0] is not table or last[1] is not updates:
            last = (table, updates, update_table_metadata(table, updates))
            transaction.__dict__["_last_staged"] = last
        answer: TableMetadata = last[2]
        return answer

    avro.read_whole_files_only()  # before what it would put in place is stood in for
    entries_of, manifests_of = _kept_manifests()
    tokens = functools.cache(dynamodb._tokenize)
    writers = _kept_writers()
    with ExitStack() as patches:
        put = patches.enter_context
        put(patch.object(avro, "_READ_ENTRIES", entries_of))
        put(patch.object(avro, "_READ_LIST", manifests_of))
        put(patch.object(ManifestWriter, "_with_partition", writers["with_partition"]))
        put(patch.object(container, "resolve_writer", _of_the_same(resolver.resolve_writer)))
        put(patch.object(container, "construct_writer", _of_the_same(resolver.construct_writer)))
        to_avro = SimpleNamespace(iceberg_to_avro=writers["to_avro"])
        put(patch.object(container, "AvroSchemaConversion", lambda: to_avro))
        put(patch.object(Schema, "as_struct", _as_struct))
        put(patch.object(TableMetadataV2, "__deepcopy__", _copied))
        put(patch.object(dynamodb, "_tokenize", lambda text: list(tokens(text))))
        put(patch.object(sql, "FromInputFile", SimpleNamespace(table_metadata=metadata)))
        put(patch.object(Transaction, "table_metadata", property(staged)))
        put(patch.object(contracts, "_read", functools.cache(contracts._read)))
        put(patch.object(cli, "_help", _help))
        yield
