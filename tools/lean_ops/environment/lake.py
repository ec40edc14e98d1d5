"""The lake as its readers see it: DuckDB over the Iceberg tables, in place of Athena and Snowflake.

Every table of the environment is a view named as in the catalog (``raw_events``, ``curated_events``,
``semantic_events``, ``quarantine_events``). DuckDB's own Iceberg reader opens the metadata file that the
catalog points to, so that what is shown was read by another engine than the one that wrote it. Every manifest
is read by this project first (``common.lake.avro``): of a damaged one DuckDB shows the rows before the damage
as if they were all, or ends the whole process (seen with 1.5.5).

A query finds the views that Athena has too (``common.lake.views``): ``curated_events_current`` leaves out the
keys that were deleted, ``semantic_events_current`` the pipeline's own columns, and ``history_events`` has
every version of every key.
"""

import importlib
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.table import Table

from common.lake import views
from common.lake.avro import FileDamaged
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER, open_table
from common.runtime.errors import InvalidInput, LeanOpsError, PermanentError, TableMissing
from lean_ops.environment import select_only
from lean_ops.environment.target import Target

# In order of dependence. They come as packages, so that nothing is fetched at run time.
_EXTENSIONS: Final = ("httpfs", "avro", "iceberg")
_BATCH_ROWS: Final = 10_000
_MANY_FILES: Final = 100
_FEW_ROWS: Final = 10
_AGAIN_S: Final = 0.2


@dataclass(frozen=True)
class TableState:
    """What one table holds now. ``size_bytes`` counts live data files; ``merge_seq`` None before a merge."""

    name: str
    rows: int
    data_files: int
    delete_files: int
    size_bytes: int
    partitions: int
    snapshots: int
    columns: int
    snapshot_id: str | None

    @property
    def scattered(self) -> bool:
        """Whether its files hold so few rows each that its partitions are too narrow for its volume."""
        return self.data_files >= _MANY_FILES and self.rows < _FEW_ROWS * self.data_files


class TableUnreadable(PermanentError):  # noqa: N818 - the table is unreadable; "error" would say less
    """A table's metadata is missing, damaged or out of reach; the message names the object."""


@contextmanager
def connect(target: Target, names: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with a view for every table of ``target``, or for those of ``names``.

    Raises TableMissing without tables and TableUnreadable.
    """
    opened = (
        [_opened(target.catalog(), target, name) for name in names] if names is not None else tables(target)
    )
    with _engine() as connection:
        _create_views(connection, target, opened)
        yield connection


def run(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Run one statement of this program; returns column names and rows. Raises InvalidInput."""
    try:
        result = connection.execute(sql)
        names = [column[0] for column in result.description or []]
        return names, result.fetchall()
    except duckdb.Error as error:
        raise _explained(error) from error


class Result:
    """The rows of one query, read as they are asked for. ``columns``: their names, each once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection: Final = connection
        self.columns: Final = _distinct([column[0] for column in connection.description or []])

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The rows that were not read yet."""
        while batch := self._connection.fetchmany(_BATCH_ROWS):
            yield from batch

    def arrow(self) -> pa.RecordBatchReader:
        """The rows that were not read yet, as Arrow batches."""
        reader = self._connection.to_arrow_reader(_BATCH_ROWS)
        names = pa.schema([f.with_name(n) for f, n in zip(reader.schema, self.columns, strict=True)])
        batches = (pa.RecordBatch.from_arrays(batch.columns, schema=names) for batch in reader)
        return pa.RecordBatchReader.from_batches(names, batches)


@contextmanager
def query(target: Target, sql: str, seconds: float = threading.TIMEOUT_MAX) -> Iterator[Result]:
    """The rows of a SELECT that a person typed, read with no more rights than that takes.

    Only the tables that it names are opened, so that a damaged one stands in nobody else's way. It ends after
    so many ``seconds``, its rows read or not. Raises InvalidInput for anything but one SELECT over the tables
    (``lean_ops.environment.select_only``) and for one that takes longer, TableMissing and TableUnreadable.
    """
    catalog = target.catalog()
    names = table_names(target, catalog)
    with _engine() as connection:
        current = {
            f"{name}{views.CURRENT}": name for name in names if name.startswith(("curated_", "semantic_"))
        }
        topics = [name.removeprefix("raw_") for name in names if name.startswith("raw_")]
        histories = {
            f"{views.HISTORY}{topic}": (f"raw_{topic}", f"curated_{topic}")
            for topic in topics
            if f"curated_{topic}" in names
        }
        wanted = select_only.check(connection, sql, [*names, *current, *histories])
        tables = dict.fromkeys(
            table for name in wanted for table in histories.get(name, (current.get(name, name),))
        )
        opened = [_opened(catalog, target, name) for name in tables]
        _create_views(connection, target, opened)
        for table in opened:
            layer, _, topic = table.name()[-1].partition("_")
            if f"{layer}_{topic}{views.CURRENT}" in wanted:
                _create_readers_view(connection, views.current(layer, topic, table.schema()))
        for name in histories.keys() & set(wanted):
            _create_readers_view(connection, views.history(name.removeprefix(views.HISTORY)))
        select_only.seal(connection, [f"s3://{target.lake_bucket}/"])
        try:
            with limited(connection, seconds):
                yield Result(connection.execute(sql))
        except duckdb.Error as error:
            raise _explained(error) from error


@contextmanager
def limited(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """End what ``connection`` does after so many seconds; raises InvalidInput then."""
    ended = threading.Event()
    watch = threading.Thread(target=_interrupt, args=(connection, seconds, ended), daemon=True)
    watch.start()
    try:
        yield
    except (duckdb.InterruptException, OSError) as error:  # Arrow's reader makes the latter of the former
        if "INTERRUPT" not in str(error):
            raise
        raise InvalidInput(
            f"query: expected rows within {seconds:g} s, found it running; ask for fewer, or give it longer "
            "with --timeout"
        ) from error
    finally:
        ended.set()
        watch.join()


def _interrupt(connection: duckdb.DuckDBPyConnection, seconds: float, ended: threading.Event) -> None:
    pause = min(seconds, threading.TIMEOUT_MAX)
    while not ended.wait(pause):
        connection.interrupt()
        pause = _AGAIN_S  # an engine that does nothing just then has not noticed


def readable_names(target: Target) -> list[str]:
    """Every table of ``target``, and the views that readers have; raises TableMissing without tables."""
    names = table_names(target, target.catalog())
    current = [f"{name}{views.CURRENT}" for name in names if name.startswith(("curated_", "semantic_"))]
    return [*names, *current, *(f"{views.HISTORY}{name[4:]}" for name in names if name.startswith("raw_"))]


def table_names(target: Target, catalog: Catalog) -> list[str]:
    """Every table of ``target``, topic by topic, layer by layer, and what runs did; raises TableMissing."""
    try:
        names = [identifier[-1] for identifier in catalog.list_tables(target.database)]
    except NoSuchNamespaceError:
        names = []
    if not names:
        raise TableMissing(
            f"{target.description}: expected tables in database {target.database}, found none; "
            "create them with `terraform apply` (or `lean-ops up` for the local stack)"
        )
    layer_of = {name: LAYERS.index(name.split("_")[0]) for name in names if name.split("_")[0] in LAYERS}
    operations = [f"{OPERATIONS_LAYER}_{name}" for name in OPERATIONS]
    of_topics = sorted(layer_of, key=lambda name: (name.split("_", 1)[1], layer_of[name]))
    return [*of_topics, *(name for name in operations if name in names)]


def tables(target: Target) -> list[Table]:
    """Every table of ``target``, layer by layer; raises TableMissing without tables and TableUnreadable."""
    catalog = target.catalog()
    return [_opened(catalog, target, name) for name in table_names(target, catalog)]


def open_whole(catalog: Catalog, identifier: str, *, newest: int | None = None) -> Table:
    """The table, once everything that says what it holds was read: metadata file, manifest list, manifests.

    ``newest``: read so many manifests at most, those that were written last; None: all. Raises TableMissing,
    and TableUnreadable naming the object that is missing, damaged or out of reach.
    """
    table = read(identifier, _METADATA, lambda: open_table(catalog, identifier))
    snapshot = table.current_snapshot()
    if snapshot is None:
        return table
    manifests = read(identifier, snapshot.manifest_list, lambda: snapshot.manifests(table.io))
    for manifest in sorted(manifests, key=lambda one: one.sequence_number or 0, reverse=True)[:newest]:
        read(identifier, manifest.manifest_path, partial(manifest.fetch_manifest_entry, table.io))
    return table


def state(table: Table) -> TableState:
    """Files, rows, partitions and snapshots of one table, from its metadata alone."""
    current = table.current_snapshot()
    summary = current.summary.additional_properties if current and current.summary else {}
    tasks = list(table.scan().plan_files()) if current else []
    deletes = {file.file_path: file.record_count for task in tasks for file in task.delete_files}
    return TableState(
        name=table.name()[-1],
        rows=sum(task.file.record_count for task in tasks) - int(summary.get("total-position-deletes", 0)),
        data_files=len(tasks),
        delete_files=len(deletes),
        size_bytes=sum(task.file.file_size_in_bytes for task in tasks),
        partitions=len({str(task.file.partition) for task in tasks}),
        snapshots=len(table.snapshots()),
        columns=len(table.schema().fields),
        snapshot_id=str(current.snapshot_id) if current else None,
    )


_METADATA: Final = "the metadata file that the catalog points to"
_Read = TypeVar("_Read")


def read(identifier: str, what: str, reader: Callable[[], _Read]) -> _Read:
    """What ``reader`` gives; TableUnreadable for whatever a damaged file makes its reader raise."""
    try:
        return reader()
    except FileDamaged as error:
        raise _unreadable(identifier, what, error.found) from error
    except (BotoCoreError, ClientError, LeanOpsError):
        raise  # the catalog did not answer, or there is no such table
    except Exception as error:  # what a damaged file makes its decoder raise: EOFError, zlib.error and others
        words = str(error).splitlines()
        raise _unreadable(identifier, what, ": ".join([type(error).__name__, *words[:1]])) from error


def _unreadable(identifier: str, what: str, found: str) -> TableUnreadable:
    return TableUnreadable(
        f"table {identifier}: expected to read {what}, found {found}; restore that object from its last "
        "version, or go back to a snapshot before it (docs/runbook.md, A table that cannot be read)"
    )


def _opened(catalog: Catalog, target: Target, name: str) -> Table:
    return open_whole(catalog, f"{target.database}.{name}")


def _explained(error: duckdb.Error) -> LeanOpsError:
    """What DuckDB says: about a file of the lake that it cannot read, or a statement that it cannot run."""
    words = next(iter(str(error).splitlines()), type(error).__name__)
    unread = isinstance(error, duckdb.IOException | duckdb.HTTPException)
    if unread or (isinstance(error, duckdb.InvalidInputException) and "'s3://" in words):
        return TableUnreadable(
            f"query: expected to read the data files of its tables, found {words}; restore that object from "
            "its last version, or rebuild the table (docs/runbook.md, A table that cannot be read)"
        )
    return InvalidInput(f"query: expected a statement that DuckDB can run, found: {error}")


@contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    # What does not fit into memory goes to a folder that is gone afterwards, not to where the command runs.
    with (
        tempfile.TemporaryDirectory() as spill,
        duckdb.connect(config={"temp_directory": spill}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
        for name in _EXTENSIONS:
            connection.execute(f"LOAD '{_extension(name)}'")
        yield connection


def _create_views(connection: duckdb.DuckDBPyConnection, target: Target, opened: Sequence[Table]) -> None:
    _create_secret(connection, target)
    for table in opened:
        try:
            _create_view(connection, table)
        except duckdb.Error as error:
            raise _explained(error) from error


def _distinct(names: Sequence[str]) -> list[str]:
    """``names`` with a number after each one that was there before, as DuckDB does in subqueries."""
    distinct: dict[str, None] = {}
    for name in names:
        number, free = 0, name
        while free in distinct:
            number += 1
            free = f"{name}_{number}"
        distinct[free] = None
    return list(distinct)


def _extension(name: str) -> Path:
    package = importlib.import_module(f"duckdb_extension_{name}")
    folders: Sequence[str] = list(package.__path__)
    return Path(folders[0]) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"


def _create_secret(connection: duckdb.DuckDBPyConnection, target: Target) -> None:
    credentials = target.session.get_credentials()
    if credentials is None:
        return  # the first read says what is missing
    frozen = credentials.get_frozen_credentials()
    options = {
        "KEY_ID": frozen.access_key or "",
        "SECRET": frozen.secret_key or "",
        "REGION": target.session.region_name or "",
    }
    if frozen.token:
        options["SESSION_TOKEN"] = frozen.token
    options |= target.object_store()
    listed = ", ".join(f"{name} '{_quoted(value)}'" for name, value in options.items())
    connection.execute(f"CREATE SECRET lake (TYPE s3, {listed})")


def _create_view(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    name = table.name()[-1]
    if table.current_snapshot() is None:
        connection.register(name, table.schema().as_arrow().empty_table())
        return
    source = iceberg_scan(table.metadata_location)
    connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {source}')  # noqa: S608 - a path of the catalog


def _create_readers_view(connection: duckdb.DuckDBPyConnection, view: views.View) -> None:
    connection.execute(f'CREATE VIEW "{view.name}" AS {view.sql}')


def iceberg_scan(metadata_location: str) -> str:
    """DuckDB's reading of a table, whose metadata may be compressed (Firehose writes RAW's so)."""
    packed = (
        ", metadata_compression_codec = 'gzip'" if metadata_location.endswith(".gz.metadata.json") else ""
    )
    return f"iceberg_scan('{_quoted(metadata_location)}'{packed})"


def _quoted(text: str) -> str:
    return text.replace("'", "''")
