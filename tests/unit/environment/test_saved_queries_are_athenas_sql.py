"""Every saved query and every view is one SELECT in Athena's dialect, and says what it answers."""

import pytest
import sqlglot
from pyiceberg.schema import Schema
from sqlglot import exp

from common.lake import views
from common.lake.specifications import TableSpec
from lean_ops.environment.repository import TABLE_SPECIFICATIONS, saved_queries

QUERIES = saved_queries("events", "lean_ops_dev")
LAYERS = ("raw", "curated", "semantic", "quarantine")


def schema(layer: str) -> Schema:
    return TableSpec.load(TABLE_SPECIFICATIONS, layer).schema


VIEWS = [view for layer in ("curated", "semantic") for view in views.of_table(layer, "events", schema(layer))]


@pytest.mark.parametrize("sql", [*QUERIES.values(), *(view.sql for view in VIEWS)])
def test_it_is_one_select_that_athena_parses(sql: str) -> None:
    (parsed,) = sqlglot.parse(sql, dialect="athena")
    assert isinstance(parsed, exp.Select)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_says_in_its_first_line_what_it_answers(name: str) -> None:
    first = QUERIES[name].splitlines()[0]
    assert first.startswith("-- ")
    assert first.endswith(".")
    assert "\n-- " not in QUERIES[name]


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_tables_and_views_of_its_topic(name: str) -> None:
    """And its own columns of them: a column that no specification has is a slip of the pen."""
    (parsed,) = sqlglot.parse(QUERIES[name], dialect="athena")
    assert parsed is not None
    known = {f"{layer}_events" for layer in LAYERS} | {view.name for view in VIEWS}
    named = {cte.alias for cte in parsed.find_all(exp.CTE)}
    used = {table.name for table in parsed.find_all(exp.Table)} - named - {"reasons", "rescued"}
    assert used <= known | {"columns", "curated_events$snapshots"}
    assert used


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_lists_the_columns_that_its_select_gives(view: views.View) -> None:
    parsed = sqlglot.parse_one(view.sql, dialect="athena")
    assert isinstance(parsed, exp.Select)
    assert parsed.named_selects == [column.name for column in view.columns]
