"""What other tools read says what the columns are, and nothing of the texts that they are made from."""

from types import SimpleNamespace
from typing import Any

import yaml

from lean_ops.operate.exporting import exported

SERVER = {"server": "prod", "type": "iceberg"}


def table(*properties: dict[str, Any]) -> dict[str, Any]:
    text = yaml.safe_dump(
        {
            "apiVersion": "v3.0.2", "kind": "DataContract", "id": "x", "version": "1.0.0",
            "schema": [{"name": "t", "properties": [{"description": "A field"} | of for of in properties]}],
        }
    )  # fmt: skip
    target: Any = SimpleNamespace(iceberg_server=lambda: SERVER)
    document = exported(target, "t", text)
    assert (document["apiVersion"], document["servers"]) == ("v3.2.0", [SERVER])
    found = document["schema"][0]
    assert found["physicalName"] == "semantic_t"
    return {of["name"]: of for of in found["properties"]}


def test_the_business_key_is_the_primary_key_and_what_is_critical_is_required() -> None:
    found = table({"name": "A", "logicalType": "string", "criticalDataElement": True})
    assert found["idempotency_key"]["primaryKey"]
    assert [name for name, of in found.items() if of.get("primaryKey")] == ["idempotency_key"]
    assert found["a"]["required"]


def test_a_format_of_texts_goes_and_a_bound_is_that_of_the_column() -> None:
    found = table(
        {"name": "d", "logicalType": "date",
         "logicalTypeOptions": {"format": "dd.MM.yyyy", "minimum": "2020-01-01"}},
        {"name": "s", "logicalType": "timestamp", "customProperties": [
            {"property": "timeFormats", "value": ["epoch-s"]}, {"property": "mine", "value": 1}]},
        {"name": "n", "physicalType": "smallint"},
    )  # fmt: skip
    assert found["d"]["logicalTypeOptions"] == {"minimum": "2020-01-01"}
    assert found["s"]["customProperties"] == [{"property": "mine", "value": 1}]
    assert (found["s"]["physicalType"], found["n"]["logicalType"]) == ("timestamptz", "integer")
    assert found["n"]["logicalTypeOptions"] == {"minimum": -(2**15), "maximum": 2**15 - 1}


def test_of_two_bounds_of_a_side_the_tighter_one_stands() -> None:
    def bounds(**options: Any) -> dict[str, Any]:
        found: dict[str, Any] = table({"name": "n", "logicalType": "integer", "logicalTypeOptions": options})[
            "n"
        ]
        kept: dict[str, Any] = found["logicalTypeOptions"]
        return kept

    assert bounds(maximum=9, exclusiveMaximum=9) == {"exclusiveMaximum": 9}
    assert bounds(maximum=8, exclusiveMaximum=9) == {"maximum": 8}
    assert bounds(minimum=1, exclusiveMinimum=1) == {"exclusiveMinimum": 1}
    assert bounds(minimum=2, exclusiveMinimum=1) == {"minimum": 2}


def test_what_is_hashed_dropped_or_json_text_has_no_limits_that_its_column_does_not_keep() -> None:
    def personal(name: str, treatment: str) -> dict[str, Any]:
        custom = [{"property": "piiTreatment", "value": treatment}]
        options = {"maxLength": 5}
        return {"name": name, "logicalType": "string", "classification": "PII", "customProperties": custom,
                "logicalTypeOptions": options}  # fmt: skip

    found = table(
        personal("h", "hash"),
        personal("x", "drop"),
        {"name": "l", "logicalType": "array", "logicalTypeOptions": {"maxItems": 2}},
        {"name": "t", "logicalType": "time", "logicalTypeOptions": {"minimum": "06:00"}},
        {"name": "e", "logicalType": "string", "enum": [{"value": "a"}]},
    )
    assert "x" not in found
    assert all("logicalTypeOptions" not in found[name] for name in ("h", "l", "t"))
    assert {found[name]["logicalType"] for name in ("h", "l", "t")} == {"string"}
    assert found["h"]["classification"] == "PII"
    assert found["e"]["enum"] == [{"value": "a"}]
