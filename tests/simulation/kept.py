"""What a history asks for hundreds of times and what cannot have changed, worked out once.

Iceberg writes a file once, schemas and types are values, and a transaction's updates are the same until one
is added: pyiceberg reads and works out all of it again each time. Nothing is kept beyond what it was made of:
a file that was removed is not there, and one that was written again where it was is another (``which_file``).
Of what is a value, its object is the key and kept with the answer, so that no other gets its identity.
"""

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from ministack.services import dynamodb
from pyiceberg.avro import file as container
from pyiceberg.avro import resolver
from pyiceberg.catalog import sql
from pyiceberg.expressions import parser
from pyiceberg.io import FileIO, InputFile
from pyiceberg.io import pyarrow as arrow
from pyiceberg.manifest import ManifestFile, ManifestWriter
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import update_table_metadata
from pyiceberg.types import StructType
from pyiceberg.utils.config import Config
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

from common.contract import contracts
from common.lake import avro
from common.lake.merge import datafiles, reading, streams, target
from lean_ops import cli

_help: Final = functools.cache(cli._help)
_parse: Final = functools.cache(parser.parse)
_SYNTAX_ERROR: Final = functools.cache(dynamodb._condition_syntax_error)


def which_file(place: str) -> tuple[Any, ...]:
    """What a file is: its place, and which one is there; FileNotFoundError as from whoever reads it."""
    found = os.stat(place.removeprefix("file://"))  # noqa: PTH116 - a Path of each takes longer than it
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


class _Parquet:
    """A Parquet file that was read: what is asked of it again is answered as before."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        self.metadata, self.schema_arrow = file.metadata, file.schema_arrow
        self.num_row_groups = file.num_row_groups
        self._known: dict[str, Any] = {}

    def _once(self, method: str, *given: Any, **named: Any) -> Any:
        key = repr((method, given, named))
        if key not in self._known:
            found = getattr(self._file, method)(*given, **named)
            self._known[key] = list(found) if method == "iter_batches" else found
        return self._known[key]

    def __getattr__(self, method: str) -> Any:
        return functools.partial(self._once, method)


class _AtHand(pa.BufferReader):
    """A small file in memory, for all who read it."""

    def close(self) -> None:
        """The next reader wants it too."""


def _kept_files() -> tuple[Callable[..., pa.NativeFile], SimpleNamespace]:
    """How data files of a table are read: the bytes and what is decoded of them, once for each file."""
    open_input = streams.open_input
    known: Final[dict[Any, pa.NativeFile]] = {}
    parquets: Final[dict[int, _Parquet]] = {}

    def opened(io: FileIO, path: str, size: int | None = None, last: int | None = None) -> pa.NativeFile:
        key = (which_file(path), size)
        if key not in known:
            found = open_input(io, path, size, last)
            if not isinstance(found, pa.BufferReader):
                return found
            known[key] = _AtHand(found.read_buffer())
        return known[key]

    def parquet(stream: pa.NativeFile, **options: Any) -> Any:
        if not isinstance(stream, _AtHand):
            return pq.ParquetFile(stream, **options)
        if id(stream) not in parquets:
            parquets[id(stream)] = _Parquet(pq.ParquetFile(stream, **options))
        return parquets[id(stream)]

    return opened, SimpleNamespace(ParquetFile=parquet)


def _kept_statistics() -> Callable[[Schema, Mapping[str, str]], Any]:
    """What statistics a table's files are to have, by its schema and its properties."""
    work_out = arrow.compute_statistics_plan
    plan = _of_the_same(lambda schema, properties: work_out(schema, json.loads(properties)))
    return lambda schema, properties: plan(schema, json.dumps(properties))


def _kept_rows() -> Callable[..., Iterator[pa.RecordBatch]]:
    """How pyiceberg reads rows of a data file without those that are deleted: once."""
    read = arrow._task_to_record_batches
    known: Final[dict[Any, list[pa.RecordBatch]]] = {}

    def rows(*given: Any, **named: Any) -> Iterator[pa.RecordBatch]:
        _, task, row_filter, projected, schema, _, deleted, *_ = given  # as it is called
        gone = repr([one.to_pylist() for one in deleted or ()])
        columns = tuple((field.field_id, field.name) for field in projected.fields)
        key = (which_file(task.file.file_path), schema.schema_id, columns, repr(row_filter), gone)
        if key not in known:
            known[key] = list(read(*given, **named))
        return iter(known[key])

    return rows


def _as_struct(schema: Schema) -> StructType:
    of, known = vars(schema).get("_struct", (None, None))
    if known is None or of is not schema.fields:
        known = StructType(*schema.fields)
        vars(schema)["_struct"] = schema.fields, known
    made: StructType = known
    return made


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
    open_input, parquet = _kept_files()
    statistics = _kept_statistics()
    to_arrow = _of_the_same(arrow.schema_to_pyarrow)
    configured = Config().config
    with ExitStack() as patches:
        put = patches.enter_context
        put(patch.object(avro, "_READ_ENTRIES", entries_of))
        put(patch.object(avro, "_READ_LIST", manifests_of))
        put(patch.object(ManifestWriter, "_with_partition", writers["with_partition"]))
        put(patch.object(container, "resolve_writer", _of_the_same(resolver.resolve_writer)))
        put(patch.object(container, "construct_writer", _of_the_same(resolver.construct_writer)))
        to_avro = SimpleNamespace(iceberg_to_avro=writers["to_avro"])
        put(patch.object(container, "AvroSchemaConversion", lambda: to_avro))
        put(patch.object(reading, "open_input", open_input))
        put(patch.object(reading, "pq", parquet))
        put(patch.object(target, "schema_to_pyarrow", to_arrow))
        put(patch.object(arrow, "schema_to_pyarrow", to_arrow))
        put(patch.object(arrow, "_task_to_record_batches", _kept_rows()))
        put(patch.object(arrow, "compute_statistics_plan", statistics))
        put(patch.object(datafiles, "compute_statistics_plan", statistics))
        put(patch.object(Config, "__init__", lambda config: setattr(config, "config", configured)))
        put(patch.object(dynamodb, "_condition_syntax_error", _SYNTAX_ERROR))
        put(patch.object(parser, "parse", _parse))
        put(patch("common.lake.reading.parse", _parse))
        put(patch.object(Schema, "as_struct", _as_struct))
        put(patch.object(TableMetadataV2, "__deepcopy__", _copied))
        put(patch.object(dynamodb, "_tokenize", lambda text: list(tokens(text))))
        put(patch.object(sql, "FromInputFile", SimpleNamespace(table_metadata=metadata)))
        put(patch.object(Transaction, "table_metadata", property(staged)))
        put(patch.object(contracts, "_read", functools.cache(contracts._read)))
        put(patch.object(cli, "_help", _help))
        yield
