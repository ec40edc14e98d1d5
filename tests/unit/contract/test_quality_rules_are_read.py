"""Rules of the standard about all rows are taken, or refused by what can be measured; none is passed by."""

from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.contract.contracts import lint, load_contract
from common.contract.quality import QualityRule
from common.runtime.errors import ContractError


def text(of_value: Any = (), of_table: Any = (), **more: Any) -> str:
    properties: list[dict[str, Any]] = [
        {"name": "value", "description": "d", "logicalType": "integer", "quality": list(of_value)},
        {
            "name": "kind",
            "description": "d",
            "logicalType": "string",
            "quality": list(more.get("of_kind", ())),
        },
    ]
    table = {"name": "t", "properties": properties, "quality": list(of_table)}
    return yaml.safe_dump(
        {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "schema": [table]}
    )


def rule(**stated: Any) -> QualityRule:
    (one,) = load_contract(text([stated]), "t").quality
    return one


def test_a_rule_has_a_name_a_metric_and_one_bound() -> None:
    found = rule(metric="nullValues", mustBeLessOrEqualTo=5, unit="percent", severity="warning")
    assert (found.name, found.metric, found.columns) == ("value: nullValues", "nullValues", ("value",))
    assert found.percent
    assert found.severity == "warning"
    assert found.expected == "nullValues of value is at most 5 %"
    assert found.bound.holds(Decimal(5))
    assert not found.bound.holds(Decimal("5.0001"))


def test_the_names_of_older_versions_of_the_standard_are_understood() -> None:
    assert rule(rule="nullValues", mustBe=0).metric == "nullValues"
    assert rule(query="SELECT 1", mustBe=1).metric == "sql"


@pytest.mark.parametrize(
    ("operator", "value", "holds", "breaks"),
    [
        ("mustBe", 3, 3, 4),
        ("mustNotBe", 3, 4, 3),
        ("mustBeGreaterThan", 3, 4, 3),
        ("mustBeGreaterOrEqualTo", 3, 3, 2),
        ("mustBeLessThan", 3, 2, 3),
        ("mustBeLessOrEqualTo", 3, 3, 4),
        ("mustBeBetween", [3, 5], 5, 6),
        ("mustNotBeBetween", [3, 5], 6, 5),
    ],
)
def test_every_operator_of_the_standard_is_one(operator: str, value: Any, holds: int, breaks: int) -> None:
    bound = rule(metric="nullValues", **{operator: value}).bound
    assert bound.holds(Decimal(holds))
    assert not bound.holds(Decimal(breaks))
    assert str(value if isinstance(value, int) else value[0]) in str(bound)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"metric": "nullValues"}, "exactly one bound"),
        ({"metric": "nullValues", "mustBe": 1, "mustNotBe": 2}, "exactly one bound"),
        ({"metric": "freshness", "mustBe": 1}, "metric: expected nullValues"),
        ({"metric": "nullValues", "mustBe": 1, "unit": "bytes"}, "unit: expected rows or percent"),
        ({"metric": "nullValues", "mustBe": 1, "severity": "fatal"}, "severity: expected info"),
        ({"metric": "nullValues", "mustBe": "no"}, "mustBe"),
        ({"metric": "nullValues", "mustBe": 1, "arguments": {"x": 1}}, "arguments: expected none"),
        ({"metric": "missingValues", "mustBe": 1}, "missingValues: expected a list"),
        ({"metric": "invalidValues", "mustBe": 1}, "expected validValues or pattern"),
        (
            {"metric": "invalidValues", "mustBe": 1, "arguments": {"validValues": ["x"]}},
            "of type long can have",
        ),
        (
            {"metric": "invalidValues", "mustBe": 1, "arguments": {"pattern": "x"}},
            "expected a column of texts",
        ),
        ({"type": "sqll", "query": "SELECT 1", "mustBe": 1}, "expected library, sql, text or custom"),
        ({"type": "sql", "mustBe": 1}, "query: expected a SELECT"),
    ],
)
def test_what_nobody_could_measure_is_refused(stated: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError) as refused:
        load_contract(text([stated]), "t")
    assert "property value: " in str(refused.value)
    assert said in str(refused.value)


def test_rules_of_the_table_name_its_columns() -> None:
    stated = {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["Value", "kind"]}}
    contract = load_contract(text([], [stated, {"metric": "rowCount", "mustBeGreaterThan": 0}]), "t")
    assert [one.columns for one in contract.quality] == [("value", "kind"), ()]
    stated["arguments"] = {"properties": ["value", "other"]}
    with pytest.raises(ContractError, match="found other"):
        load_contract(text([], [stated]), "t")


def test_all_errors_come_at_once_and_two_rules_have_two_names() -> None:
    wrong = {"metric": "nullValues"}
    same = {"metric": "nullValues", "mustBe": 0}
    findings = [str(one) for one in lint(text([wrong, same, same], [wrong]), "t") if one.severity == "error"]
    assert len(findings) == 3
    assert any("found 'value: nullValues' again" in one for one in findings)


def test_of_a_property_that_is_wrong_itself_that_alone_is_said() -> None:
    wrong = text([{"metric": "nullValues", "mustBe": 0}]).replace("logicalType: integer", "logicalType: blob")
    (finding,) = [one for one in lint(wrong, "t") if one.severity == "error"]
    assert "logicalType: expected one of" in finding.message


def test_what_stands_there_and_is_not_kept_is_said() -> None:
    stated = [
        {"type": "text", "description": "good"},
        {"type": "sql", "query": "SELECT 1", "mustBe": 1, "schedule": "0 20 * * *", "scheduler": "cron"},
    ]
    notes = " ".join(str(one) for one in lint(text(stated), "t") if one.severity == "note")
    assert "measured by nobody" in notes
    assert "`lean-ops contract test`" in notes
    assert "whatever its schedule says" in notes


def test_a_query_names_the_table_by_a_placeholder() -> None:
    found = rule(type="sql", query="SELECT count(${property}) FROM ${object}", mustBe=0)
    assert found.sql("semantic_t") == "SELECT count(value) FROM semantic_t"


@given(
    st.dictionaries(
        st.sampled_from(
            ["metric", "rule", "type", "mustBe", "mustBeBetween", "unit", "severity", "arguments", "query"]
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.just({"validValues": [1, None]})
        | st.sampled_from(["nullValues", "invalidValues", "library", "sql", "text", "percent", "error"])
        | st.lists(st.integers(), max_size=3),
    )
)
def test_whatever_stands_there_is_a_rule_or_a_sentence(stated: dict[str, Any]) -> None:
    findings = lint(text([stated]), "t")
    if not any(one.severity == "error" for one in findings):
        load_contract(text([stated]), "t")
