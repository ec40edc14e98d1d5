"""A Curated table on local disk behind a SQL catalog, and short ways to merge into it and read it back."""

import datetime as dt
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from duckdb_extensions import import_extension
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot, Summary

from common.lake.merge import MergeOutcome

from ....support.lake import LocalLake, merge_rows

SPECIFICATIONS = Path(__file__).parents[4] / "modules" / "storage" / "tables"
START = dt.datetime(2026, 1, 15, tzinfo=dt.UTC)
TIMES = pa.timestamp("us", "UTC")


class Lake:
    """One Curated table. Times are short: ``publish`` in hours and ``ingestion`` in seconds after START."""

    def __init__(self, root: Path) -> None:
        self._layers = LocalLake(root, ["curated"], topic="events")
        self.root, self.catalog, self.connect = root, self._layers.catalog, self._layers.connect
        self.identifier = self._layers.identifier("curated")

    def create(self) -> None:
        """Create the table ``identifier``."""
        self._layers.create("curated", self.identifier)

    @property
    def table(self) -> Table:
        return self.catalog.load_table(self.identifier)

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot, which a merge has left."""
        current = self.table.current_snapshot()
        assert current is not None
        return current

    @property
    def summary(self) -> Summary:
        """What the current snapshot says of itself."""
        summary = self.snapshot.summary
        assert summary is not None
        return summary

    def event(
        self,
        key: str | None,
        message: str = "m1",
        publish: float = 0,
        ingestion: float = 0,
        **columns: str | None,
    ) -> dict[str, Any]:
        published = START + dt.timedelta(hours=publish)
        return {
            "message_id": message,
            "idempotency_key": key,
            "topic_name": "events",
            "period_reference": f"{published:%Y-%m}",
            "publish_time": published,
            "ingestion_ts": START + dt.timedelta(seconds=ingestion),
            **columns,
        }

    def reader(self, events: Iterable[dict[str, Any]]) -> pa.RecordBatchReader:
        rows = list(events)
        names = list(dict.fromkeys(name for row in (self.event("k"), *rows) for name in row))
        schema = pa.schema(
            [(n, TIMES if n in ("publish_time", "ingestion_ts") else pa.string()) for n in names]
        )
        return pa.Table.from_pylist(rows, schema=schema).to_reader()

    def merge(self, events: Iterable[dict[str, Any]], **options: Any) -> MergeOutcome:
        catalog = options.pop("catalog", self.catalog)
        return merge_rows(catalog, self.identifier, self.reader(events), **{"run_id": "run-1", **options})

    def rows(self) -> list[dict[str, Any]]:
        """All rows as pyiceberg reads them, ordered by key."""
        rows = self.table.scan().to_arrow().to_pylist()
        return sorted(rows, key=lambda row: str(row["idempotency_key"]))

    def duckdb_rows(self) -> list[dict[str, Any]]:
        """All rows as DuckDB's Iceberg extension reads them, ordered by key."""
        found = iceberg_reader().sql(
            f"from iceberg_scan('{self.table.metadata_location}') order by idempotency_key"
        )
        return found.to_arrow_table().to_pylist()

    def files(self) -> set[str]:
        """Everything on disk under the table's location."""
        location = Path(self.table.location().removeprefix("file://"))
        return {str(p) for p in location.rglob("*") if p.is_file()}

    def data_files(self) -> set[str]:
        """Data and delete files on disk, referenced or not."""
        return {p for p in self.files() if "/data/" in p}


@cache
def iceberg_reader() -> duckdb.DuckDBPyConnection:
    """DuckDB with its Iceberg extension; loading it takes longer than most tests."""
    connection = duckdb.connect()
    for extension in ("avro", "iceberg"):
        import_extension(extension, con=connection)
    connection.execute("load avro; load iceberg; set timezone = 'UTC'")
    return connection


@pytest.fixture
def lake_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Lake]:
    """A new table a call, for tests with many examples."""
    return lambda: Lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def lake(lake_factory: Callable[[], Lake]) -> Lake:
    return lake_factory()
