"""Rebuilt files can be listed by the live table: one field id, one column, one type."""

from pathlib import Path

import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DoubleType, LongType, NestedField, StringType

from common.runtime.errors import TableMismatch
from lean_ops.operate.rebuild.beside import rebuilt_schema, schema_for_live

LIVE = Schema(
    NestedField(1, "key", StringType(), required=False),
    NestedField(2, "value", StringType(), required=False),
    NestedField(3, "old", LongType(), required=False),
)


def column(name: str, kind: type) -> NestedField:
    return NestedField(1, name, kind(), required=False)


def fields(schema: Schema) -> dict[str, tuple[int, str]]:
    return {field.name: (field.field_id, str(field.field_type)) for field in schema.fields}


def table(tmp_path: Path, name: str, schema: Schema) -> Table:
    """A table of exactly these field ids (a catalog numbers them in order)."""
    with InMemoryCatalog(name, warehouse=tmp_path.as_uri()) as catalog:
        catalog.create_namespace("lake")
        return catalog.create_table(f"lake.{name}", schema)


def test_columns_that_are_as_the_contract_says_keep_their_ids() -> None:
    assert fields(rebuilt_schema(LIVE, [column("value", StringType)], 3)) == fields(LIVE)


def test_a_type_that_cannot_widen_gets_a_new_id_under_the_same_name() -> None:
    rebuilt = rebuilt_schema(LIVE, [column("value", DoubleType), column("new", StringType)], 7)
    assert fields(rebuilt) == {
        "key": (1, "string"),
        "value": (8, "double"),
        "old": (3, "long"),
        "new": (9, "string"),
    }


def test_the_live_table_needs_no_change_when_it_knows_every_id(tmp_path: Path) -> None:
    live = table(tmp_path, "live", LIVE)
    beside = table(tmp_path, "beside", Schema(*LIVE.fields[:2]))
    assert schema_for_live(live, beside) is None


def test_the_live_table_takes_over_a_replaced_column_and_keeps_its_others(tmp_path: Path) -> None:
    live = table(tmp_path, "live", LIVE)
    beside = table(tmp_path, "beside", LIVE)
    replaced = NestedField(4, "value", DoubleType(), required=False)
    schema = Schema(LIVE.fields[0], replaced, schema_id=1)
    beside.metadata = beside.metadata.model_copy(
        update={"schemas": [*beside.metadata.schemas, schema], "current_schema_id": 1}
    )
    wanted = schema_for_live(live, beside)
    assert wanted is not None
    assert fields(wanted) == {"key": (1, "string"), "value": (4, "double"), "old": (3, "long")}
    assert wanted.schema_id == 1


def test_a_column_that_is_to_go_leaves_the_live_table_and_its_others_keep_their_ids(tmp_path: Path) -> None:
    live = table(tmp_path, "live", LIVE)
    beside = table(tmp_path, "beside", Schema(*LIVE.fields[:1]))
    wanted = schema_for_live(live, beside, ("value",))
    assert wanted is not None
    assert fields(wanted) == {"key": (1, "string"), "old": (3, "long")}


def test_one_id_for_two_columns_is_refused(tmp_path: Path) -> None:
    live = table(tmp_path, "live", LIVE)
    other = Schema(*LIVE.fields[:2], NestedField(3, "other", LongType(), required=False))
    with pytest.raises(TableMismatch, match="expected field id 3 to be column other, found old"):
        schema_for_live(live, table(tmp_path, "beside", other))
    gone = Schema(*LIVE.fields[:2])
    live.metadata = live.metadata.model_copy(
        update={"schemas": [Schema(*gone.fields, schema_id=5)], "current_schema_id": 5}
    )
    with pytest.raises(TableMismatch, match="a dropped column"):
        schema_for_live(live, table(tmp_path, "again", LIVE))
