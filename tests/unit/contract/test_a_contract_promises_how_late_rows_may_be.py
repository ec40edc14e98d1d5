"""``slaProperties: latency``: what of it can be measured, and that nothing else follows from it."""

from datetime import timedelta
from typing import Any

import pytest
from open_data_contract_standard.model import OpenDataContractStandard

from common.contract.promises import read_promise


def promised(*entries: dict[str, Any]) -> timedelta | None:
    document = OpenDataContractStandard(
        apiVersion="v3.2.0", kind="DataContract", id="a", version="1.0.0", status="active",
        slaProperties=list(entries),
    )  # fmt: skip
    found = read_promise(document)
    return found.within if found else None


@pytest.mark.parametrize(
    ("value", "unit", "span"),
    [(30, "s", 30), (30, "min", 1800), (2, "h", 7200), (1, "d", 86_400), (0.5, "hours", 1800)],
)
def test_a_number_and_a_unit_are_a_span(value: float, unit: str, span: int) -> None:
    assert promised({"property": "latency", "value": value, "unit": unit}) == timedelta(seconds=span)


@pytest.mark.parametrize(
    "entry",
    [
        {"property": "latency", "value": 30},
        {"property": "latency", "value": 30, "unit": "fortnight"},
        {"property": "latency", "value": 0, "unit": "d"},
        {"property": "latency", "value": True, "unit": "d"},
        {"property": "latency", "value": 1e300, "unit": "y"},
        {"property": "latency", "value": "soon", "unit": "d"},
        {"property": "retention", "value": 30, "unit": "d"},
    ],
)
def test_what_cannot_be_measured_promises_nothing(entry: dict[str, Any]) -> None:
    assert promised(entry) is None


def test_of_several_the_strictest_counts() -> None:
    two = [{"property": "latency", "value": n, "unit": "min", "element": f"t{n}"} for n in (30, 10)]
    assert promised(*two) == timedelta(minutes=10)
