from dataclasses import replace
from typing import Any

import pytest
import yaml

from common.contract.changes import compare, review
from common.contract.contracts import Contract, load_contract
from common.runtime.errors import ContractError

INTEGER = {"logicalType": "integer"}
PII = {"classification": "PII", "customProperties": [{"property": "piiTreatment", "value": "hash"}]}


def text(version: str, *properties: dict[str, Any]) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v3.2.0",
            "kind": "DataContract",
            "id": "x",
            "version": version,
            "schema": [{"name": "t", "properties": [{"description": "d"} | p for p in properties]}],
        }
    )


def contract(version: str, *properties: dict[str, Any]) -> Contract:
    return load_contract(text(version, *properties), "t")


def string(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "logicalType": "string"} | fields


def enum(*values: str) -> dict[str, Any]:
    return string(enum=[{"value": value} for value in values])


def options(**values: Any) -> dict[str, Any]:
    return string(logicalTypeOptions=values)


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return string(logicalType="number", physicalType=f"decimal({precision},{scale})")


B = {"name": "b", "logicalType": "string"}
FITS = [
    ([string()], [string(), B], "added"),
    ([string(physicalType="int", **INTEGER)], [string(**INTEGER)], "widened from int to long"),
    ([decimal(9, 2)], [decimal(18, 2)], "widened"),
    ([string(required=True)], [string()], "no longer required"),
    ([string(criticalDataElement=True)], [string()], "no longer critical"),
    ([enum("x")], [enum("x", "y")], "gains y"),
    ([enum("x")], [string()], "enum removed"),
    ([options(maxLength=3)], [options(maxLength=4)], "max_length"),
    ([options(minLength=3)], [string()], "min_length"),
    ([options(pattern="x")], [string()], "pattern"),
]
BREAKS = [
    ([string(), B], [string()], "dropped"),
    ([string()], [{"name": "c", "logicalType": "string", "transformSourceObjects": ["a"]}], "renamed to c"),
    ([string(**INTEGER)], [string(physicalType="int", **INTEGER)], "changed from long to int"),
    ([decimal(9, 2)], [decimal(9, 3)], "changed"),
    ([string(**INTEGER)], [decimal(20, 0)], "changed"),
    ([string()], [string(logicalType="array")], "another way"),
    ([string()], [string(required=True)], "now required"),
    ([string()], [string(criticalDataElement=True)], "now critical"),
    ([string()], [string(), B | {"criticalDataElement": True}], "added, critical"),
    ([enum("x", "y")], [enum("x")], "loses y"),
    ([string()], [enum("x")], "enum added"),
    ([options(maxLength=3)], [options(maxLength=2)], "max_length"),
    ([string()], [options(minLength=1)], "min_length"),
    ([string()], [options(pattern="x")], "pattern"),
    ([string()], [string(transformSourceObjects=["z"])], "source changed"),
    ([string()], [string(**PII)], "clear values become hash"),
]


@pytest.mark.parametrize(("old", "new", "message"), FITS, ids=[case[2] for case in FITS])
def test_what_readers_do_not_notice_fits_a_minor_version(old: Any, new: Any, message: str) -> None:
    (finding,) = compare(contract("1.0.0", *old), contract("1.1.0", *new))
    assert finding.severity == "note"
    assert message in finding.message


@pytest.mark.parametrize(("old", "new", "message"), BREAKS, ids=[case[2] for case in BREAKS])
def test_what_breaks_readers_needs_a_major_version(old: Any, new: Any, message: str) -> None:
    errors = [f for f in compare(contract("1.0.0", *old), contract("1.1.0", *new)) if f.severity == "error"]
    assert len(errors) == 1
    assert message in errors[0].message
    assert "2.0.0" in errors[0].message
    assert {f.severity for f in compare(contract("1.0.0", *old), contract("2.0.0", *new))} == {"note"}


def test_a_change_needs_a_new_version_and_no_change_needs_none() -> None:
    assert compare(contract("1.0.0", string()), contract("1.0.0", string())) == []
    unchanged = compare(contract("1.0.0", string()), contract("1.0.0", string(), B))
    assert [f.where for f in unchanged] == ["version", "property b"]
    assert [f.where for f in compare(contract("1.1.0", string()), contract("1.0.0", string()))] == ["version"]


def test_another_volume_is_noted_since_tables_keep_their_partitions() -> None:
    old, new = contract("1.0.0", string()), contract("1.1.0", string())
    (finding,) = compare(old, replace(new, low_volume=True))
    assert (finding.severity, finding.where) == ("note", "volume")


def test_a_review_gives_the_findings_of_the_text_and_of_the_change() -> None:
    assert review(text("1.0.0", string()), "t") == []
    assert [f.severity for f in review(text("1.1.0", string(), B), "t", text("1.0.0", string()))] == ["note"]
    assert [f.where for f in review(text("1.1.0", string(name="A")), "t", text("1.0.0", string()))] == [
        "property A"
    ]
    with pytest.raises(ContractError, match="mapping"):
        review(text("1.0.0", string()), "t", "- nothing")
