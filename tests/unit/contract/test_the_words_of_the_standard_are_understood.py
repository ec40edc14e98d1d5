"""What databases call a type is taken for what it is, and lint says so; the standard's examples are read."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.contract.contracts import lint, load_contract
from common.contract.properties import Property

EXAMPLES = Path(__file__).parents[4] / "shared/data/odcs-examples"


def text_of(**said: Any) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": "x", "version": "1.0.0",
            "schema": [{"name": "t", "properties": [{"name": "a", "description": "A field"} | said]}],
        }
    )  # fmt: skip


def one(**said: Any) -> Property:
    return load_contract(text_of(**said), "t").properties[0]


@pytest.mark.parametrize(
    ("logical_type", "word", "column"),
    [
        ("string", "VARCHAR(20)", "string"),
        ("string", "character  varying(5)", "string"),
        ("string", "uuid", "string"),
        ("boolean", "bool", "boolean"),
        ("timestamp", "timestamp", "timestamptz"),
        ("timestamp", "timestamp(6)", "timestamptz"),
        ("timestamp", "Timestamp with time zone", "timestamptz"),
        ("integer", "bigint", "long"),
        ("integer", "smallint", "int"),
        ("integer", "numeric(9)", "decimal(9, 0)"),
        ("number", "NUMERIC(9, 2)", "decimal(9, 2)"),
        ("number", "double precision", "double"),
        ("number", "real", "double"),
        ("array", "array<string>", "string"),
        ("object", "json", "string"),
    ],
)
def test_a_word_of_databases_is_a_type_and_lint_says_which(logical_type: str, word: str, column: str) -> None:
    assert str(one(logicalType=logical_type, physicalType=word).value_type) == column
    (note,) = lint(text_of(logicalType=logical_type, physicalType=word), "t")
    assert (note.severity, note.message.partition(" is understood as ")[0]) == (
        "note",
        f"physicalType {word}",
    )


def test_what_a_word_says_of_values_is_enforced() -> None:
    assert one(logicalType="string", physicalType="varchar(20)").limits.max_length == 20
    both = one(logicalType="string", physicalType="varchar(20)", logicalTypeOptions={"maxLength": 5})
    assert both.limits.max_length == 5
    assert one(logicalType="integer", physicalType="smallint").limits.maximum == 2**15 - 1


def test_a_format_bounds_the_values_of_the_column_beside_it() -> None:
    said = one(logicalType="integer", physicalType="bigint", logicalTypeOptions={"format": "u8"})
    assert (str(said.value_type), said.limits.minimum, said.limits.maximum) == ("long", 0, 255)
    money = one(logicalType="number", physicalType="decimal(9,2)", logicalTypeOptions={"format": "f64"})
    assert str(money.value_type) == "decimal(9, 2)"


def test_a_bound_without_an_offset_is_utc_where_values_are() -> None:
    options = {"format": "yyyy-MM-dd HH:mm:ss", "minimum": "2020-01-01 00:00:00"}
    said = one(logicalType="timestamp", physicalType="timestamp", logicalTypeOptions=options)
    assert said.limits.minimum == datetime(2020, 1, 1, tzinfo=UTC)


def test_a_name_is_the_column_that_curated_and_glue_have() -> None:
    assert (one(name="DataValue", logicalType="string").name, one(name="A", logicalType="string").source) == (
        "datavalue",
        "a",
    )


def test_every_property_that_is_wrong_is_said_with_its_line_and_column() -> None:
    text = """apiVersion: v3.2.0
kind: DataContract
id: x
version: 1.0.0
schema:
  - name: t
    properties:
      - {name: a, description: A, logicalType: strin}
      - name: b
        description: B
        logicalType: date
        logicalTypeOptions: {format: dd}
      - description: without a name
        logicalType: string
"""
    found = {(f.where, f.line, f.column) for f in lint(text, "t") if f.severity == "error"}
    assert found == {("property a", 8, 9), ("property b", 9, 9), ("property number 3", 13, 9)}
    assert "error: property b (line 9, column 9): " in "\n".join(map(str, lint(text, "t")))


# Of the examples of one table refused: no type said, a zone of times without one, a time of no day, and
# what would have to be checked inside of JSON text.
REFUSED = {
    "all-data-types.odcs.yaml": {"txn_timestamp_tz", "txn_time", "latest_txns", "customer_details"},
    "column-accuracy.odcs.yaml": {"DataValue"},
    "column-completeness.odcs.yaml": {"UniqueID"},
    "column-custom.odcs.yaml": {"UniqueID"},
}


@pytest.mark.skipif(
    not EXAMPLES.is_dir(),
    reason="needs the published examples of the standard: put them into ../shared/data/odcs-examples",
)
def test_every_published_example_of_one_table_is_read() -> None:
    read = 0
    for path in sorted(EXAMPLES.glob("*.yaml")):
        tables = yaml.safe_load(path.read_text()).get("schema") or []
        if len(tables) != 1 or not tables[0].get("properties"):
            continue
        read += 1
        errors = [f for f in lint(path.read_text(), tables[0]["name"]) if f.severity == "error"]
        refused = {f.where.removeprefix("property ") for f in errors}
        assert refused == REFUSED.get(path.name, set()), (path.name, errors)
    assert read > 5
