"""Every saved query and every view is one SELECT in Athena's dialect, and says what it answers."""

import pytest
import sqlglot
from pyiceberg.schema import Schema
from sqlglot import exp

from common.lake import views
from common.lake.specifications import TableSpec
from lean_ops.environment.repository import TABLE_SPECIFICATIONS, operations_queries, saved_queries

OF_TOPIC = saved_queries("events", "lean_ops_dev")
OF_OPERATIONS = operations_queries()
QUERIES = OF_TOPIC | OF_OPERATIONS
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


@pytest.mark.parametrize("name", OF_TOPIC)
def test_a_query_reads_tables_and_views_of_its_topic(name: str) -> None:
    """And its own columns of them: a column that no specification has is a slip of the pen."""
    (parsed,) = sqlglot.parse(QUERIES[name], dialect="athena")
    assert parsed is not None
    known = {f"{layer}_events" for layer in LAYERS} | {view.name for view in VIEWS}
    named = {cte.alias for cte in parsed.find_all(exp.CTE)}
    used = {table.name for table in parsed.find_all(exp.Table)} - named - {"reasons", "rescued"}
    assert used <= known | {"columns", "curated_events$snapshots"}
    assert used


@pytest.mark.parametrize("name", OF_OPERATIONS)
def test_a_query_of_operations_reads_the_columns_of_one_such_table(name: str) -> None:
    parsed = sqlglot.parse_one(OF_OPERATIONS[name], dialect="athena")
    (table,) = {table.name for table in parsed.find_all(exp.Table)}
    known = set(TableSpec.load(TABLE_SPECIFICATIONS, table).schema.column_names)
    given = {one.alias for one in parsed.find_all(exp.Alias)}
    assert {one.name for one in parsed.find_all(exp.Column)} <= known | given


def test_no_two_queries_have_one_name() -> None:
    """Nor would they in the workgroup, were a topic called operations."""
    assert OF_TOPIC.keys() & OF_OPERATIONS.keys() == set()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_lists_the_columns_that_its_select_gives(view: views.View) -> None:
    parsed = sqlglot.parse_one(view.sql, dialect="athena")
    assert isinstance(parsed, exp.Select)
    assert parsed.named_selects == [column.name for column in view.columns]
