"""SQL on the readers' page is that of the files, which tests run or parse; every saved query is there."""

import re

import pytest
import sqlglot
from sqlglot import exp

from common.contract.contracts import load_contract
from common.contract.properties import LINEAGE_COLUMNS
from lean_ops.environment.repository import ROOT, contract_files, operations_queries, saved_queries

BLOCKS = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/readers.md").read_text(), re.S)
SNOWFLAKE = {path.stem: path.read_text() for path in sorted(ROOT.glob("infra/snowflake/queries/*.sql"))}


def test_the_page_shows_every_saved_query_as_it_is() -> None:
    expected = [*saved_queries("events", "lean_ops_dev").values(), *operations_queries().values()]
    expected += SNOWFLAKE.values()
    assert sorted(BLOCKS) == sorted(expected)


@pytest.mark.parametrize("name", SNOWFLAKE)
def test_a_query_for_snowflake_reads_columns_that_semantic_has(name: str) -> None:
    (parsed,) = [one for one in sqlglot.parse(SNOWFLAKE[name], dialect="snowflake") if one is not None]
    assert isinstance(parsed, exp.Select)
    contract = load_contract(contract_files()["events"].read_text(), "events")
    known = {*LINEAGE_COLUMNS, *(one.name for one in contract.properties)}
    given = {one.alias for one in parsed.find_all(exp.Alias)}
    assert {one.name for one in parsed.find_all(exp.Column)} <= known | given
    (table,) = parsed.find_all(exp.Table)
    assert table.sql() == "lean_ops.semantic.semantic_events"
