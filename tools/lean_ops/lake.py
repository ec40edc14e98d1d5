"""The lake as its readers see it: DuckDB over the Iceberg tables, in place of Athena and Snowflake.

Every table of the environment is a view named as in the catalog (``raw_events``, ``curated_events``,
``semantic_events``, ``quarantine_events``). DuckDB's own Iceberg reader opens the metadata file that the
catalog points to, so that what is shown was read by another engine than the one that wrote it.
"""

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

import duckdb
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.table import Table

from common.errors import InvalidInput, TableMissing
from common.tables import LAYERS, open_table
from lean_ops.target import Target

# In order of dependence. They come as packages, so that nothing is fetched at run time.
_EXTENSIONS: Final = ("httpfs", "avro", "iceberg")


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


@contextmanager
def connect(target: Target) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with a view for every table of ``target``; raises TableMissing without tables."""
    # What does not fit into memory goes to a folder that is gone afterwards, not to where the command runs.
    with (
        tempfile.TemporaryDirectory() as spill,
        duckdb.connect(config={"temp_directory": spill}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
        for name in _EXTENSIONS:
            connection.execute(f"LOAD '{_extension(name)}'")
        _create_secret(connection, target)
        for table in tables(target):
            _create_view(connection, table)
        yield connection


def run(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Run one statement; returns column names and rows. Raises InvalidInput with DuckDB's explanation."""
    try:
        result = connection.execute(sql)
        names = [column[0] for column in result.description or []]
        return names, result.fetchall()
    except duckdb.Error as error:
        raise InvalidInput(f"query: expected a statement that DuckDB can run, found: {error}") from error


def tables(target: Target) -> list[Table]:
    """Every table of ``target``, layer by layer; raises TableMissing where there are none."""
    catalog = target.catalog()
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
    ordered = sorted(layer_of, key=lambda name: (name.split("_", 1)[1], layer_of[name]))
    return [open_table(catalog, f"{target.database}.{name}") for name in ordered]


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
    if target.is_local:
        endpoint = urlparse(target.endpoints[""]).netloc
        options |= {"ENDPOINT": endpoint, "URL_STYLE": "path", "USE_SSL": "false"}
    listed = ", ".join(f"{name} '{_quoted(value)}'" for name, value in options.items())
    connection.execute(f"CREATE SECRET lake (TYPE s3, {listed})")


def _create_view(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    name = table.name()[-1]
    if table.current_snapshot() is None:
        connection.register(name, table.schema().as_arrow().empty_table())
        return
    source = f"iceberg_scan('{_quoted(table.metadata_location)}')"
    connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {source}')  # noqa: S608 - a path of the catalog


def _quoted(text: str) -> str:
    return text.replace("'", "''")
