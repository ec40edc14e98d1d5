import datetime as dt
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from common.lake.properties import check_properties
from common.lake.rule import EVENT_RULE, SOURCE_RULE
from common.lake.specifications import LAYERS, TableSpec
from common.runtime.errors import InvalidInput, TableMismatch, TableMissing

from ....support.lake import merge_rows
from .conftest import Lake

SPECIFICATIONS = Path(__file__).parents[4] / "modules" / "storage" / "tables"


@pytest.mark.parametrize("budget", [0, 256])
@pytest.mark.parametrize("key", [None, "", "k" * 257])
def test_a_null_empty_or_too_long_key_is_refused(lake: Lake, key: str | None, budget: int) -> None:
    with pytest.raises(InvalidInput, match="in source row 1;"):
        lake.merge([lake.event("a"), lake.event(key)], memory_budget_mb=budget)
    assert not lake.data_files()


def test_a_key_of_256_characters_is_taken(lake: Lake) -> None:
    key = "ü" * 256
    lake.merge([lake.event(key)])
    assert lake.merge([lake.event(key, "m2", publish=1)]).updated == 1


def test_an_unknown_column_is_refused_where_the_table_must_not_evolve(lake: Lake) -> None:
    with pytest.raises(InvalidInput, match="found color"):
        lake.merge([lake.event("a", color="red")], evolve=False)


def test_a_new_column_that_differs_only_in_case_is_refused(lake: Lake) -> None:
    with pytest.raises(InvalidInput, match="'Topic_Name' twice"):
        lake.merge([lake.event("a", Topic_Name="x")])


def test_a_new_column_that_is_not_text_is_refused(lake: Lake) -> None:
    table = pa.Table.from_batches(lake.reader([lake.event("a")]), lake.reader([]).schema)
    source = table.append_column("size", pa.array([1]))
    with pytest.raises(InvalidInput, match="'size' to be text, found int64"):
        merge_rows(lake.catalog, lake.identifier, source.to_batches())


def test_a_missing_table_says_how_to_create_it(lake: Lake) -> None:
    lake.catalog.drop_table(lake.identifier)
    with pytest.raises(TableMissing, match="terraform apply"):
        lake.merge([lake.event("a")])


def test_a_table_without_the_merge_sequence_is_refused(lake: Lake) -> None:
    with lake.table.update_schema() as update:
        update.delete_column("_merge_seq")
    with pytest.raises(TableMismatch, match="found no _merge_seq"):
        lake.merge([lake.event("a")])


@pytest.mark.parametrize("column", EVENT_RULE.columns)
def test_a_table_without_a_column_that_decides_is_refused(lake: Lake, column: str) -> None:
    lake.catalog.drop_table(lake.identifier)
    names = [c for c in (*EVENT_RULE.columns, "_merge_seq") if c != column]
    schema = Schema(*(NestedField(i, n, StringType(), required=False) for i, n in enumerate(names, 1)))
    lake.catalog.create_table(lake.identifier, schema)
    with pytest.raises(TableMismatch, match=f"found no {column}; add them"):
        lake.merge([lake.event("a")])


@pytest.mark.parametrize("column", EVENT_RULE.columns)
def test_a_source_without_a_column_that_decides_is_refused(lake: Lake, column: str) -> None:
    source = pa.Table.from_batches(lake.reader([lake.event("a")])).drop_columns(column)
    with pytest.raises(InvalidInput, match=f"found no {column}; the rows of a source"):
        merge_rows(lake.catalog, lake.identifier, source.to_batches())
    assert not lake.data_files()


def test_a_column_that_the_source_lacks_is_null_and_one_that_older_files_lack_too(lake: Lake) -> None:
    lake.merge([lake.event("a", color="red")])
    with lake.table.update_schema() as update:
        update.add_column("size", StringType())
    lake.merge([lake.event("b"), lake.event("a", "m2", publish=1, size="1.10")])
    assert [(r["color"], r["size"]) for r in lake.rows()] == [(None, "1.10"), (None, None)]


def test_files_that_lost_a_column_that_decides_are_refused(lake: Lake) -> None:
    lake.merge([lake.event("a")])
    with lake.table.update_schema() as update:
        update.delete_column("ingestion_ts")
    with lake.table.update_schema() as update:
        update.add_column("ingestion_ts", TimestamptzType())
    before = lake.data_files()
    with pytest.raises(TableMismatch, match="expected column ingestion_ts in every data file"):
        lake.merge([lake.event("a", "m2")])
    assert lake.data_files() == before


def test_files_of_an_older_partition_spec_are_refused(lake: Lake) -> None:
    lake.merge([lake.event("a")])
    with lake.table.update_spec() as update:
        update.remove_field("key_bucket")
    with pytest.raises(TableMismatch, match="rewrite the table's files"):
        lake.merge([lake.event("a", "m2", publish=1)])


def test_a_foreign_partition_spec_is_used_as_it_is(lake: Lake) -> None:
    lake.catalog.drop_table(lake.identifier)
    schema = Schema(
        *(
            NestedField(i, name, StringType(), required=False)
            for i, name in enumerate(["idempotency_key", "message_id", "topic_name"], 1)
        ),
        NestedField(4, "_source_merge_seq", LongType(), required=False),
        NestedField(5, "_merge_seq", LongType(), required=False),
    )
    spec = PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "topic"))
    lake.catalog.create_table(lake.identifier, schema, partition_spec=spec)
    for name, topic in (("first", "t1"), ("second", None)):
        source = pa.table(
            {
                "idempotency_key": ["k"],
                "message_id": [name],
                "topic_name": pa.array([topic], pa.string()),
                "publish_time": [1],
                "_source_merge_seq": [1 if name == "first" else 2],
            }
        ).drop_columns("publish_time")
        merge_rows(lake.catalog, lake.identifier, source.to_batches(), rule=SOURCE_RULE, evolve=False)
    assert [(r["message_id"], r["topic_name"]) for r in lake.rows()] == [("second", None)]


def test_ancient_and_future_times_find_their_partitions(lake: Lake) -> None:
    first = dt.datetime(1960, 2, 29, 23, 59, tzinfo=dt.UTC)
    last = dt.datetime(9998, 12, 31, tzinfo=dt.UTC)
    lake.merge(
        [
            {**lake.event("old"), "publish_time": first, "period_reference": "1960-02"},
            {**lake.event("new"), "publish_time": last, "period_reference": "9998-12"},
        ]
    )
    assert {r["idempotency_key"]: r["publish_time"] for r in lake.rows()} == {"old": first, "new": last}
    assert lake.duckdb_rows() == lake.rows()


def test_a_batch_of_copies_of_one_message_is_one_row(lake: Lake) -> None:
    outcome = lake.merge([lake.event("a", ingestion=i) for i in range(500)])
    assert (outcome.inserted, outcome.duplicate_messages) == (1, 499)
    assert lake.rows()[0]["ingestion_ts"] == lake.event("a")["ingestion_ts"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("write.target-file-size-bytes", "large"),
        ("lean-ops.merge-seq", "4.5"),
        ("write.parquet.compression-codec", "zip"),
        ("write.metadata.metrics.default", "some"),
        ("write.metadata.metrics.column.idempotency_key", "truncate(0)"),
        ("write.parquet.bloom-filter-fpp.column.idempotency_key", "2"),
        ("write.parquet.bloom-filter-enabled.column.idempotency_key", "yes"),
    ],
)
def test_a_table_property_that_is_none_is_named(lake: Lake, name: str, value: Any) -> None:
    with lake.table.transaction() as transaction:
        transaction.set_properties({name: value})
    with pytest.raises(TableMismatch, match=f"property {name}: expected .*, found '{value[:4]}"):
        lake.merge([lake.event("a")])
    assert not lake.data_files()


def test_the_properties_of_every_specification_are_taken() -> None:
    for layer in LAYERS:
        check_properties(layer, TableSpec.load(SPECIFICATIONS, layer).properties)


def test_a_value_that_a_column_cannot_take_is_not_quoted(lake: Lake) -> None:
    with lake.table.update_schema() as update:
        update.add_column("size", LongType())
    value = "secret".upper()
    with pytest.raises(InvalidInput, match="'size' as int64, found string") as raised:
        lake.merge([lake.event("a", size=value)])
    assert value not in "".join(traceback.format_exception(raised.value))
