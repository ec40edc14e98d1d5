"""The custom property ``sparkFromRows``: a whole number of rows, or never."""

from typing import Any

import pytest
import yaml

from common.contract.contracts import NEVER, lint, load_contract
from common.runtime.errors import ContractError


def text(*values: Any) -> str:
    document = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "x",
        "version": "1.0.0",
        "schema": [
            {"name": "t", "properties": [{"name": "a", "logicalType": "string", "description": "a text"}]}
        ],
        "customProperties": [{"property": "sparkFromRows", "value": value} for value in values],
    }
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("values", "rows"), [((), None), ((20_000_000,), 20_000_000), (("5",), 5), (("never",), NEVER)]
)
def test_it_is_a_number_of_rows_or_never(values: tuple[Any, ...], rows: int | None) -> None:
    assert load_contract(text(*values), "t").spark_from_rows == rows
    assert [finding for finding in lint(text(*values), "t") if finding.where.startswith("customProp")] == []


@pytest.mark.parametrize("values", [(0,), (-1,), (1.5,), ("always",), (True,), (10**18,), (1, 2), ("",)])
def test_anything_else_is_refused_with_a_sentence(values: tuple[Any, ...]) -> None:
    with pytest.raises(
        ContractError, match="sparkFromRows: expected a whole number of rows, at least 1, or never"
    ):
        load_contract(text(*values), "t")
