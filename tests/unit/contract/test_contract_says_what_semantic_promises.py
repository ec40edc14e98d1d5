import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyiceberg.types import DecimalType, StringType

from common.contract.casting import cast_rows
from common.contract.contracts import Contract, lint, load_contract
from common.contract.properties import (
    ENVELOPE_MOMENTS,
    ENVELOPE_TEXTS,
    LINEAGE_COLUMNS,
    TYPE_RULES,
    TypeRule,
)
from common.runtime.errors import ContractError

REPOSITORY = Path(__file__).parents[3]
MOMENT = pa.timestamp("us", tz="UTC")


def contract_text(*properties: Mapping[str, object], topic: str = "t", **head: object) -> str:
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "x",
        "version": "1.0.0",
        "schema": [{"name": topic, "properties": list(properties)}],
    }
    return yaml.safe_dump(document | head)


def one(**fields: object) -> Contract:
    return load_contract(contract_text({"name": "a", "logicalType": "string"} | fields), "t")


def column_types(contract: Contract) -> dict[str, str]:
    return {c.name: str(c.field_type) for c in contract.semantic_columns()}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "contracts").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_contract_of_the_repository_is_free_of_findings(path: Path) -> None:
    assert lint(path.read_text(), path.stem) == []


def test_events_gives_the_promised_columns() -> None:
    contract = load_contract((REPOSITORY / "contracts/events.yaml").read_text(), "events")
    assert column_types(contract) == {
        "device_id": "string",
        "device_type": "string",
        "device_firmware": "string",
        "reading_value": "decimal(18, 6)",
        "reading_unit": "string",
        "reading_quality": "string",
        "battery_pct": "decimal(5, 2)",
        "site_country": "string",
        "operator_email": "string",
        "counter": "decimal(20, 0)",
        "gps_lat": "decimal(9, 6)",
        "gps_lon": "decimal(9, 6)",
    }
    assert [p.name for p in contract.properties if p.critical] == [
        "device_id",
        "device_type",
        "reading_value",
    ]
    assert {p.name: p.pii for p in contract.properties if p.pii} == {"operator_email": "hash"}


def test_lineage_columns_are_those_of_the_semantic_table() -> None:
    spec = json.loads((REPOSITORY / "modules/storage/tables/semantic.json").read_text())
    assert tuple(f["name"] for f in spec["schema"]["fields"]) == LINEAGE_COLUMNS


@pytest.mark.parametrize("rule", TYPE_RULES, ids=lambda r: f"{r.logical_type}-{r.value}")
def test_every_line_of_the_type_table_is_accepted(rule: TypeRule) -> None:
    value = rule.value.replace("p,s", "12,2").replace("p,0", "12,0")
    by: dict[str | None, dict[str, Any]] = {
        "format": {"logicalTypeOptions": {"format": value}},
        "physicalType": {"physicalType": value},
        None: {},
    }
    (column,) = one(logicalType=rule.logical_type, **by[rule.by]).semantic_columns()
    if rule.column_type is not None:
        assert column.field_type == rule.column_type
    else:
        assert column.field_type == DecimalType(12, 2 if rule.value.endswith("s)") else 0)


def test_source_defaults_to_the_name() -> None:
    assert one().properties[0].source == "a"
    assert one(transformSourceObjects=["b__c"]).properties[0].source == "b__c"


def test_a_dropped_value_has_no_column_and_a_hash_is_text() -> None:
    def pii(treatment: str) -> Contract:
        custom = [{"property": "piiTreatment", "value": treatment}]
        return one(logicalType="integer", classification="PII", customProperties=custom)

    assert pii("drop").semantic_columns() == []
    assert [c.field_type for c in pii("hash").semantic_columns()] == [StringType()]


def test_bounds_are_read_in_the_kind_of_the_property() -> None:
    assert one(logicalType="number", logicalTypeOptions={"minimum": 0.1}).properties[
        0
    ].limits.minimum == Decimal("0.1")
    day = one(logicalType="date", logicalTypeOptions={"maximum": "2030-01-01"}).properties[0]
    assert day.limits.maximum == date(2030, 1, 1)
    moment = one(
        logicalType="timestamp", logicalTypeOptions={"minimum": "2020-01-01T01:00:00+01:00"}
    ).properties[0]
    assert moment.limits.minimum == datetime(2020, 1, 1, tzinfo=UTC)


def test_a_format_bounds_an_integer_and_stated_bounds_narrow_it() -> None:
    limits = (
        one(logicalType="integer", logicalTypeOptions={"format": "u8", "maximum": 9}).properties[0].limits
    )
    assert (limits.minimum, limits.maximum) == (0, 9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "_a"}, "name: expected"),
        ({"name": 'a" int, b'}, "name: expected"),
        ({"name": "publish_time"}, "lineage columns"),
        ({"logicalType": "map"}, "logicalType: expected one of"),
        ({"logicalType": None}, "logicalType: expected one of"),
        (
            {"physicalType": "interval"},
            "physicalType of string: expected string, or what databases call that",
        ),
        ({"physicalType": "varchar(3,4)"}, "physicalType of string: expected string"),
        ({"logicalType": "number", "physicalType": "decimal(39,2)"}, "p from 1 to 38"),
        ({"logicalType": "number", "physicalType": "decimal(3,4)"}, "s from 0 to p"),
        ({"logicalType": "integer", "physicalType": "decimal(9,2)"}, "0 for an integer"),
        ({"logicalType": "integer", "physicalType": "int8"}, "physicalType of integer: expected int or long"),
        ({"logicalType": "number", "physicalType": "decimal"}, "physicalType of number: expected double or"),
        (
            {"logicalType": "number", "logicalTypeOptions": {"format": "f16"}},
            "format of number: expected one of f32, f64",
        ),
        ({"logicalTypeOptions": {"formats": "email"}}, "minLength, maxLength, pattern"),
        ({"logicalTypeOptions": {"pattern": "(?=a)"}}, "RE2"),
        ({"logicalTypeOptions": {"maxLength": -1}}, "whole number"),
        ({"logicalType": "number", "logicalTypeOptions": {"minimum": "0"}}, "expected a number"),
        ({"logicalType": "number", "logicalTypeOptions": {"minimum": float("nan")}}, "expected a number"),
        ({"logicalType": "date", "logicalTypeOptions": {"minimum": "soon"}}, "expected a date"),
        ({"logicalType": "timestamp", "logicalTypeOptions": {"minimum": "2020-01-01T00:00:00"}}, "an offset"),
        ({"logicalType": "date", "logicalTypeOptions": {"format": "dd/MM"}}, "year"),
        ({"enum": [{"value": False}]}, "quoted text"),
        ({"enum": [{"value": "a"}, {"value": "a"}]}, "each once"),
        ({"enum": []}, "at least one"),
        ({"logicalType": "boolean", "enum": [{"value": True}]}, "enum: expected on a string"),
        ({"transformSourceObjects": ["a", "b"]}, "one Curated column"),
        ({"transformSourceObjects": ["reading.value"]}, "one Curated column"),
        ({"classification": "PII"}, "piiTreatment"),
        ({"customProperties": [{"property": "piiTreatment", "value": "hash"}]}, "classification: PII"),
        ({"criticalDataElemnt": True}, "criticalDataElemnt: expected a field of the standard"),
    ],
)
def test_what_a_contract_may_not_say_is_refused_with_what_it_may(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ContractError, match=r"contracts/t\.yaml: .*a.*") as refused:
        one(**fields)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "YAML mapping"),
        ("a: [", "file"),
        ("1: 2", "text keys"),
        ("kind: DataContract\nkind: DataContract", "each key once"),
        (contract_text(apiVersion="v2.2.2"), "v3.x.y"),
        (contract_text(version="1"), "major.minor.patch"),
        (contract_text(kind="Table"), "DataContract"),
        (contract_text(id=""), "identifier"),
        (contract_text(topic="other"), "exactly one object named 't'"),
        (contract_text(), "at least one property"),
        (contract_text(colour="red"), "colour"),
        (
            contract_text({"name": "a", "logicalType": "date"}, {"name": "a", "logicalType": "date"}),
            "each name once",
        ),
    ],
)
def test_a_file_that_is_no_contract_is_refused(text: str, message: str) -> None:
    with pytest.raises(ContractError, match=r"contracts/t\.yaml") as refused:
        load_contract(text, "t")
    assert message in str(refused.value)


def test_the_linter_reports_all_properties_at_once_errors_first() -> None:
    text = contract_text(
        {"name": "phone", "logicalType": "string", "unique": True},
        {"name": "b", "logicalType": "thing", "description": "B"},
        {"name": "_c", "logicalType": "string", "description": "C"},
    )
    findings = [(f.severity, f.where) for f in lint(text, "t")]
    assert findings == [
        ("error", "property b"),
        ("error", "property _c"),
        ("warning", "property phone"),
        ("warning", "property phone"),
        ("warning", "property phone"),
    ]


def test_envelope_sources_are_the_columns_of_curated_that_semantic_repeats() -> None:
    spec = json.loads((REPOSITORY / "modules/storage/tables/curated.json").read_text())
    kinds = {f["name"]: f["type"] for f in spec["schema"]["fields"] if not f["name"].startswith("_")}
    assert kinds == dict.fromkeys(ENVELOPE_TEXTS, "string") | dict.fromkeys(ENVELOPE_MOMENTS, "timestamptz")
    assert kinds.keys() <= set(LINEAGE_COLUMNS)


def test_moments_of_the_envelope_are_published_as_what_they_are() -> None:
    times = ["publish_time"]
    contract = load_contract(
        contract_text(
            {"name": "at", "logicalType": "timestamp", "transformSourceObjects": times},
            {
                "name": "day",
                "logicalType": "date",
                "transformSourceObjects": times,
                "logicalTypeOptions": {"minimum": "2026-02-28"},
            },
            {"name": "text", "logicalType": "string", "transformSourceObjects": times},
        ),
        "t",
    )
    late = datetime(2026, 2, 28, 23, 59, 59, 5, tzinfo=UTC)
    rows = pa.table(
        dict.fromkeys((*ENVELOPE_TEXTS, "_rescued"), pa.array(["x", "y"]))
        | dict.fromkeys(ENVELOPE_MOMENTS, pa.array([late, datetime(1, 1, 1, tzinfo=UTC)], MOMENT))
        | {"_merge_seq": pa.array([1, 2])}
    )
    good = cast_rows(rows, contract, b"").good.select(["at", "day", "text"]).to_pylist()
    assert good == [
        {"at": late, "day": date(2026, 2, 28), "text": "2026-02-28T23:59:59.000005Z"},
        {"at": datetime(1, 1, 1, tzinfo=UTC), "day": None, "text": "0001-01-01T00:00:00.000000Z"},
    ]


def test_two_properties_on_one_source_are_both_personal_or_neither() -> None:
    personal: dict[str, Any] = {
        "classification": "PII",
        "customProperties": [{"property": "piiTreatment", "value": "hash"}],
    }
    shared: dict[str, Any] = {"logicalType": "string", "transformSourceObjects": ["mail"]}
    with pytest.raises(ContractError, match="property clear: expected classification: PII as hashed has it"):
        load_contract(contract_text({"name": "clear"} | shared, {"name": "hashed"} | shared | personal), "t")
    load_contract(
        contract_text({"name": "one"} | shared | personal, {"name": "two"} | shared | personal), "t"
    )


def test_a_value_of_an_enum_that_can_never_occur_is_doubtful_while_others_can() -> None:
    text = contract_text(
        {
            "name": "a",
            "description": "A",
            "logicalType": "integer",
            "enum": [{"value": 1}, {"value": 300}],
            "logicalTypeOptions": {"format": "u8"},
        }
    )
    (finding,) = lint(text, "t")
    assert (finding.severity, "300 can never occur" in finding.message) == ("warning", True)
