"""A table with compressed metadata, as Firehose writes RAW's, is read by the jobs' library and by DuckDB."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from common.lake.specifications import TableSpec
from lean_ops.environment.lake import _extension, iceberg_scan
from lean_ops.environment.repository import TABLE_SPECIFICATIONS


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    yield catalog
    catalog.close()


@pytest.mark.parametrize("packed", [False, True])
def test_rows_are_the_same(catalog: SqlCatalog, *, packed: bool) -> None:
    table = TableSpec.load(TABLE_SPECIFICATIONS, "raw").create(catalog, "lake.raw_events")
    at = datetime(2026, 3, 1, tzinfo=UTC)
    row = {"message_id": "m", "idempotency_key": "k", "publish_time": at, "ingestion_ts": at}
    table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
    location = table.metadata_location
    if packed:
        plain = Path(location.removeprefix("file://"))
        other = plain.with_name(plain.name.replace(".metadata.json", ".gz.metadata.json"))
        other.write_bytes(gzip.compress(plain.read_bytes()))
        catalog.drop_table("lake.raw_events")
        location = f"file://{other}"
        table = catalog.register_table("lake.raw_events", location)
    assert table.scan().to_arrow()["message_id"].to_pylist() == ["m"]
    table.append(
        pa.Table.from_pylist([row], schema=table.schema().as_arrow())
    )  # upkeep commits to it as well
    assert len(table.scan().to_arrow()) == 2
    connection = duckdb.connect()
    for name in ("avro", "iceberg"):
        connection.execute(f"LOAD '{_extension(name)}'")
    found = connection.execute(f"SELECT message_id FROM {iceberg_scan(location)}").fetchall()  # noqa: S608 - our path
    assert found == [("m",)]
