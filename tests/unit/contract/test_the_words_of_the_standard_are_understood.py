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
        ("string", "varchar[20]", "string"),
        ("number", "bigint", "long"),
        ("number", "float(3,2)", "double"),
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
    assert found == {("property a", 8, 35), ("property b", 12, 9), ("property number 3", 13, 9)}
    assert "error: property b (line 12, column 9): " in "\n".join(map(str, lint(text, "t")))


def test_what_is_wrong_anywhere_is_said_at_once_with_its_place() -> None:
    text = """apiVersion: v2.3.0
kind: DataContrakt
id: ""
version: 1.0
descripton: {}
customProperties:
  - {property: volume, value: middle}
  - {property: lateEvents, value: lost}
slaProperties:
  - {property: retention, value: 3, unit: d}
  - {property: retention, value: 3, unit: m}
schema:
  - name: other
    quality:
      - {metric: rowCounts, mustBe: 1}
    properties:
      - name: _a
        logicalType: strin
        classification: PII
        tansformLogic: x
      - name: b
        logicalType: array
        physicalType: list
        logicalTypeOptions: {minItems: 3, maxItems: 2}
        quality:
          - {metric: nullValues}
""".replace("version: 1.0\n", 'version: "1.0"\n')
    found = [(f.where, f.line) for f in lint(text, "t") if f.severity == "error"]
    assert sorted(found, key=lambda one: one[1] or 0) == [
        ("apiVersion", 1),
        ("kind", 2),
        ("id", 3),
        ("version", 4),
        ("descripton", 5),
        ("customProperties, volume", 6),
        ("customProperties, lateEvents", 6),
        ("slaProperties, entry 1 (retention)", 10),
        ("slaProperties, entry 2 (retention)", 11),
        ("schema", 12),
        ("quality", 15),
        ("property _a", 17),
        ("property _a", 18),
        ("property _a", 19),
        ("schema[other].properties[_a].tansformLogic", 20),
        ("property b", 21),
        ("property b", 26),
    ]


def test_what_is_no_yaml_is_said_in_one_sentence_with_its_place() -> None:
    (found,) = lint("a: [1, 2\nb: 3", "t")
    assert (found.line, found.column) == (2, 2)
    assert "\n" not in found.message


@pytest.mark.parametrize(
    ("word", "column"),
    [("varchar(20)", "string"), ("bigint", "long"), ("numeric(9,2)", "decimal(9, 2)"), ("time", "string")],
)
def test_a_physical_type_alone_says_which_logical_type_it_is(word: str, column: str) -> None:
    assert str(one(physicalType=word).value_type) == column
    assert any("no logicalType" in note.message for note in lint(text_of(physicalType=word), "t"))
    for unclear in ("json", "geography"):
        assert "logicalType: expected one of" in str(lint(text_of(physicalType=unclear), "t")[0])


def test_a_number_of_a_whole_type_is_one() -> None:
    said = one(logicalType="number", physicalType="int2")
    assert (str(said.value_type), said.limits.maximum) == ("int", 2**15 - 1)


def test_digits_that_a_double_does_not_keep_to_are_said() -> None:
    (note,) = lint(text_of(logicalType="number", physicalType="float(3,2)"), "t")
    assert note.message == "physicalType float(3,2) is understood as double; the digits (3,2) are not kept to"


def test_what_nothing_acts_on_is_said() -> None:
    text = text_of(logicalType="string", partitioned=True, physicalName="AA", encryptedName="b")
    (found,) = lint(text, "t")
    assert (
        found.message
        == "partitioned, physicalName, encryptedName: documented to readers, not enforced by the pipeline"
    )
    table = text_of(logicalType="string").replace("name: t", "name: t\n  physicalName: other")
    assert "the table is semantic_t" in str(lint(table, "t"))
    promise = {
        "property": "latency",
        "value": 30,
        "unit": "min",
        "schedule": "0 20 * * *",
        "scheduler": "cron",
    }
    document = yaml.safe_load(text_of(logicalType="string")) | {"slaProperties": [promise]}
    (said,) = lint(yaml.safe_dump(document), "t")
    assert said.message.startswith("schedule, scheduler: documented to readers; runs begin as soon as")


def test_a_rule_of_another_engine_is_a_warning() -> None:
    stated = [{"type": "custom", "engine": "soda", "implementation": "x"}]
    (found,) = lint(text_of(logicalType="string", quality=stated), "t")
    assert (found.severity, "for soda, and measured by nobody here" in found.message) == ("warning", True)


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
        assert not errors, (path.name, errors)
    assert read > 5
