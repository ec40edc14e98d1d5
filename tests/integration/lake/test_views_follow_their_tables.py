"""Views of Athena in Glue's catalog have the columns of their tables, and replace nothing that is no view."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    DecimalType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from common.contract.properties import TYPE_RULES
from common.lake import views
from common.lake.reading import read_rows
from common.runtime.errors import TableMismatch
from lean_ops.local.target import LocalTarget

from ...support.topic import DELETE, TopicLake, event

DATABASE = "views"
KEY = NestedField(1, "idempotency_key", StringType(), required=False)
WHEN = NestedField(2, "publish_time", TimestamptzType(), required=False)
OWN = NestedField(3, "_merge_seq", LongType(), required=False)


@pytest.fixture(scope="module")
def glue(target: LocalTarget) -> Iterator[Any]:
    """Glue of the emulator, with a database."""
    client = target.client("glue")
    client.create_database(DatabaseInput={"Name": DATABASE})
    yield client
    client.delete_database(Name=DATABASE)


def kept(glue: Any, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What a reader finds: the view's text, and its columns in the catalog."""
    table = glue.get_table(DatabaseName=DATABASE, Name=name)["Table"]
    assert (table["TableType"], table["Parameters"]["presto_view"]) == ("VIRTUAL_VIEW", "true")
    encoded = table["ViewOriginalText"].removeprefix("/* Presto View: ").removesuffix(" */")
    columns = {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}
    return json.loads(base64.b64decode(encoded, validate=True)), columns


def test_a_view_gains_the_columns_of_its_table_and_is_written_when_it_has_to_be(glue: Any) -> None:
    schema = Schema(KEY, WHEN, OWN)
    assert views.keep(glue, DATABASE, views.current("curated", "a", schema))
    assert not views.keep(glue, DATABASE, views.current("curated", "a", schema))
    amount = NestedField(4, "amount ☃", DecimalType(18, 6), required=False)
    assert views.keep(glue, DATABASE, views.current("curated", "a", Schema(KEY, WHEN, OWN, amount)))
    text, columns = kept(glue, "curated_a_current")
    assert columns == {
        "idempotency_key": "string", "publish_time": "timestamp", "amount ☃": "decimal(18,6)",
    }  # fmt: skip
    assert text["columns"] == [
        {"name": "idempotency_key", "type": "varchar"},
        {"name": "publish_time", "type": "timestamp(6)"},
        {"name": "amount ☃", "type": "decimal(18,6)"},
    ]
    assert (text["catalog"], text["schema"]) == ("awsdatacatalog", DATABASE)
    assert '"amount ☃"' in text["originalSql"]


def test_a_view_that_somebody_else_made_meanwhile_is_left_as_it_is_or_written_again(
    glue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two passes at once; or one whose answer was lost, so that the SDK asked again."""
    look = glue.get_table
    of_another = views.current("curated", "c", Schema(KEY))

    def nothing_yet(**_: Any) -> Any:
        monkeypatch.setattr(glue, "get_table", look)
        views.keep(glue, DATABASE, of_another)
        raise glue.exceptions.EntityNotFoundException({}, "GetTable")

    monkeypatch.setattr(glue, "get_table", nothing_yet)
    assert not views.keep(glue, DATABASE, of_another)
    glue.delete_table(DatabaseName=DATABASE, Name=of_another.name)
    monkeypatch.setattr(glue, "get_table", nothing_yet)
    assert views.keep(glue, DATABASE, views.current("curated", "c", Schema(KEY, WHEN)))
    assert set(kept(glue, of_another.name)[1]) == {"idempotency_key", "publish_time"}


def test_a_table_of_the_name_of_a_view_stays(glue: Any) -> None:
    there = {"Name": "curated_b_current", "TableType": "EXTERNAL_TABLE"}
    glue.create_table(DatabaseName=DATABASE, TableInput=there)
    with pytest.raises(TableMismatch, match="found a table"):
        views.keep(glue, DATABASE, views.current("curated", "b", Schema(KEY)))
    assert glue.get_table(DatabaseName=DATABASE, Name="curated_b_current")["Table"]["TableType"] == (
        "EXTERNAL_TABLE"
    )


def test_a_view_that_is_there_follows_a_column_of_another_type_and_none_is_made(glue: Any) -> None:
    """A run that changes a column may not make tables in Glue, and must not fail for a view."""
    amount = NestedField(4, "amount", LongType(), required=False)
    views.follow(glue, DATABASE, "semantic", "d", Schema(KEY, amount))
    with pytest.raises(glue.exceptions.EntityNotFoundException):
        kept(glue, "semantic_d_current")
    views.keep(glue, DATABASE, views.current("semantic", "d", Schema(KEY, amount)))
    views.follow(glue, DATABASE, "semantic", "d", Schema(KEY, NestedField(5, "amount", StringType())))
    text, columns = kept(glue, "semantic_d_current")
    assert columns == {"idempotency_key": "string", "amount": "string"}
    assert text["columns"][1] == {"name": "amount", "type": "varchar"}


def test_what_can_be_no_view_stops_nobody_who_changes_columns(glue: Any) -> None:
    there = {"Name": "semantic_e_current", "TableType": "EXTERNAL_TABLE"}
    glue.create_table(DatabaseName=DATABASE, TableInput=there)
    views.follow(glue, DATABASE, "semantic", "e", Schema(KEY))
    found = glue.get_table(DatabaseName=DATABASE, Name="semantic_e_current")["Table"]
    assert found["TableType"] == "EXTERNAL_TABLE"
    views.keep(glue, DATABASE, views.current("semantic", "f", Schema(KEY)))
    views.follow(glue, DATABASE, "semantic", "f", Schema(KEY, NestedField(2, "raw", BinaryType())))
    assert set(kept(glue, "semantic_f_current")[1]) == {"idempotency_key"}


def test_what_no_contract_gives_is_refused_in_a_sentence() -> None:
    with pytest.raises(TableMismatch, match="column raw: expected a type that contracts give"):
        views.current("semantic", "t", Schema(NestedField(1, "raw", BinaryType(), required=False)))


def test_every_type_that_a_contract_gives_has_its_names() -> None:
    types = {rule.column_type for rule in TYPE_RULES if rule.column_type is not None}
    fields = [NestedField(n, f"c{n}", of, required=False) for n, of in enumerate(types, 1)]
    found = views.current("semantic", "t", Schema(*fields)).columns
    assert [column.name for column in found] == [field.name for field in fields]


def test_five_hundred_columns_of_the_longest_names_fit_what_glue_keeps() -> None:
    """Glue takes 409,600 characters of a view's text (API TableInput), and names of 255."""
    fields = [NestedField(n, f"{n:03}".ljust(255, "x"), StringType(), required=False) for n in range(1, 501)]
    assert len(views.current("curated", "t", Schema(*fields)).as_table("d")["ViewOriginalText"]) <= 409_600


def test_what_counts_now_has_no_deleted_key_and_no_column_of_the_pipelines_own(tmp_path: Path) -> None:
    lake = TopicLake(tmp_path)
    lake.run(event("a", "m1", 0, 1), event("b", "m2", 1, 2), event("b", "m3", 2, DELETE))
    with duckdb.connect() as connection:
        for layer in ("curated", "semantic"):
            table = lake.table(layer)
            connection.register(f"{layer}_t", read_rows(table).read_all())
            view = views.current(layer, "t", table.schema())
            found = connection.execute(view.sql).to_arrow_table()
            assert found.column_names == [column.name for column in view.columns]
            assert not {"_merge_seq", "_tombstone", "_source_merge_seq"} & set(found.column_names)
            assert found["idempotency_key"].to_pylist() == ["a"]
    lake.close()


def test_a_curated_table_without_tombstones_has_a_view_as_well() -> None:
    view = views.current("curated", "t", Schema(KEY))
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE curated_t AS SELECT 'k' AS idempotency_key")
        assert connection.execute(view.sql).fetchall() == [("k",)]
