"""What the engine assumes of files, the tables' properties tell every writer; the engine obeys them too."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table

from common.lake import specifications
from common.lake.merge.datafiles import most_values
from common.lake.specifications import LAYERS, TableSpec, align

from .conftest import Lake

SPECIFICATIONS = Path(__file__).parents[4] / "modules/storage/tables"
EVERYWHERE = {
    "format-version": "2",
    "write.format.default": "parquet",
    "write.delete.format.default": "parquet",
    "write.parquet.compression-codec": "zstd",
    "write.distribution-mode": "hash",
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.idempotency_key": "full",
    "write.metadata.metrics.column.publish_time": "full",
    "write.metadata.metrics.column.ingestion_ts": "full",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_table_says_what_the_engine_assumes(layer: str) -> None:
    properties = TableSpec.load(SPECIFICATIONS, layer).properties
    assert EVERYWHERE.items() <= properties.items()
    modes = {properties[f"write.{kind}.mode"] for kind in ("merge", "update", "delete")}
    # RAW is read by the files that commits added: a delete file of another writer would be passed over.
    assert modes == {"copy-on-write" if layer == "raw" else "merge-on-read"}
    filters = {name for name in properties if name.startswith("write.parquet.bloom-filter-enabled")}
    assert bool(filters) == (layer != "raw")
    for name in filters:
        assert name.replace("enabled", "fpp") in properties
        assert int(properties["write.parquet.bloom-filter-max-bytes"]) <= 2**16


def filter_sizes(table: Table) -> list[int]:
    files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    groups = [(pq.read_metadata(f), n) for f in files for n in range(pq.read_metadata(f).num_row_groups)]
    columns: list[Any] = [m.row_group(n).column(c) for m, n in groups for c in range(m.num_columns)]
    return [c.bloom_filter_length for c in columns if c.path_in_schema == "idempotency_key"]


def test_the_engine_s_filters_are_as_large_as_the_table_allows(lake: Lake) -> None:
    limit = 1024
    with lake.table.transaction() as change:
        change.set_properties({"write.parquet.bloom-filter-max-bytes": str(limit)})
    lake.merge([lake.event(f"k{n:05d}", f"m{n}") for n in range(30_000)])
    header = 64  # Thrift before the bits
    sizes = filter_sizes(lake.table)
    assert sizes
    assert max(sizes) <= limit + header


@pytest.mark.parametrize("size", [1024, 65536, 2**20])
def test_as_many_values_as_fit_are_a_bound_of_parquet_s_own_sizing(size: int) -> None:
    # "Sizing an SBBF": about 9.7 bits a value at 1 % false positives.
    assert most_values(size, 0.01) == pytest.approx(size * 8 / 9.68, rel=0.01)


def test_a_table_that_was_there_gets_what_its_specification_gained_once(lake: Lake) -> None:
    spec = TableSpec.load(SPECIFICATIONS, "curated")
    with lake.table.transaction() as change:
        change.remove_properties("write.distribution-mode", "write.delete.granularity")
        change.set_properties({"write.parquet.bloom-filter-max-bytes": "1048576", "owner": "data"})
    changed = align(lake.catalog, lake.identifier, spec)
    assert set(changed) == {
        "write.distribution-mode",
        "write.delete.granularity",
        "write.parquet.bloom-filter-max-bytes",
    }
    wanted = {name: value for name, value in spec.properties.items() if name != "format-version"}
    assert wanted.items() <= lake.table.properties.items()
    assert lake.table.properties["owner"] == "data"
    location = lake.table.metadata_location
    assert align(lake.catalog, lake.identifier, spec) == {}
    assert lake.table.metadata_location == location


def test_a_table_that_was_there_gets_the_columns_that_its_specification_gained(lake: Lake) -> None:
    spec = TableSpec.load(SPECIFICATIONS, "curated")
    with lake.table.update_schema() as update:
        update.delete_column("_tombstone")
    lake.table.refresh()
    assert align(lake.catalog, lake.identifier, spec) == {"_tombstone": "boolean"}
    lake.table.refresh()
    assert lake.table.schema().find_field("_tombstone").doc
    location = lake.table.metadata_location
    assert align(lake.catalog, lake.identifier, spec) == {}
    assert lake.catalog.load_table(lake.identifier).metadata_location == location


def test_a_column_that_had_another_name_is_renamed_with_what_stands_in_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert specifications.RENAMED == {"_deleted": "_tombstone"}
    monkeypatch.setattr(
        specifications, "RENAMED", {"earlier": "_tombstone"}
    )  # no test may write the real one
    spec = TableSpec.load(SPECIFICATIONS, "curated")
    before = lake.table.schema().find_field("_tombstone").field_id
    with lake.table.update_schema() as update:
        update.rename_column("_tombstone", "earlier")
    lake.table.refresh()
    assert align(lake.catalog, lake.identifier, spec) == {"earlier": "_tombstone"}
    lake.table.refresh()
    assert lake.table.schema().find_field("_tombstone").field_id == before
    assert "earlier" not in lake.table.schema().column_names
    assert align(lake.catalog, lake.identifier, spec) == {}


def test_specifications_are_json_that_terraform_reads_too() -> None:
    for layer in LAYERS:
        properties = json.loads((SPECIFICATIONS / f"{layer}.json").read_text())["properties"]
        assert all(isinstance(value, str) for value in properties.values())
