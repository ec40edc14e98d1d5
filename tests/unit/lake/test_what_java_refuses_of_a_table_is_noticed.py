"""No test writes a table that Athena, Spark or Snowflake could not read, though pyiceberg would."""

import copy
import json
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table.update import AddSchemaUpdate, SetCurrentSchemaUpdate
from pyiceberg.types import NestedField, StringType

from common.lake.specifications import LAYERS, TableSpec

from ...support.java_metadata import refusals

SPECIFICATIONS = Path(__file__).parents[3] / "modules/storage/tables"


@pytest.mark.parametrize("low_volume", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_column_named_like_a_partition_field_of_another_is_refused(
    tmp_path: Path, layer: str, low_volume: bool
) -> None:
    spec = TableSpec.load(SPECIFICATIONS, layer, low_volume=low_volume)
    columns = {field.name for field in spec.schema.fields}
    catalog = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    table = spec.create(catalog, "lake.t")
    metadata = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())
    assert refusals(json.dumps(metadata)) == []
    for field in spec.partition_spec.fields:
        column = {"id": 99, "name": field.name, "type": "string", "required": False}
        changed = copy.deepcopy(metadata)
        changed["schemas"][0]["fields"].append(column)
        found = "there are 2" if field.name in columns else f"partition field {field.name} is named like"
        assert any(found in refusal for refusal in refusals(json.dumps(changed)))
    catalog.close()


def test_a_test_that_writes_such_a_table_fails(tmp_path: Path) -> None:
    catalog = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("lake")
    table = TableSpec.load(SPECIFICATIONS, "curated").create(catalog, "lake.t")
    column = NestedField(99, "key_bucket", StringType(), required=False)
    schema = Schema(*table.schema().fields, column, schema_id=1)
    with pytest.raises(AssertionError, match="partition field key_bucket is named like"):
        catalog.commit_table(
            table, (), (AddSchemaUpdate(schema_=schema), SetCurrentSchemaUpdate(schema_id=1))
        )
    catalog.close()
