"""A query for Trino or Athena is one SELECT over the lake's tables and views; every other way is closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.errors import InvalidInput
from lean_ops.environment import select_elsewhere
from lean_ops.environment.repository import operations_queries, saved_queries

VIEWS = [
    "raw_events", "curated_events", "semantic_events", "quarantine_events", "curated_events_current",
    "history_events", "ops_runs", "ops_rules", "ops_drift", "ops_upkeep", "ops_reconciliation",
]  # fmt: skip
REFUSED = (
    "",
    ";",
    "DROP TABLE raw_events",
    "SELECT 1; DROP TABLE raw_events",
    "INSERT INTO raw_events VALUES (1)",
    "WITH x AS (SELECT 1) INSERT INTO raw_events SELECT * FROM x",
    "UPDATE raw_events SET a = 2",
    "DELETE FROM raw_events",
    "MERGE INTO raw_events USING curated_events ON true WHEN MATCHED THEN DELETE",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW raw_events AS SELECT 1",
    "ALTER TABLE raw_events EXECUTE expire_snapshots",
    "OPTIMIZE raw_events REWRITE DATA USING BIN_PACK",
    "VACUUM raw_events",
    "CALL awsdatacatalog.system.rollback_to_snapshot('d', 'raw_events', 1)",
    "EXECUTE IMMEDIATE 'DROP TABLE raw_events'",
    "EXPLAIN ANALYZE INSERT INTO raw_events SELECT 1",
    "UNLOAD (SELECT 1) TO 's3://elsewhere/'",
    "USING EXTERNAL FUNCTION f(x varchar) RETURNS varchar LAMBDA 'l' SELECT f('x')",
    "SET SESSION task_concurrency = 1",
    "SHOW TABLES",
    "SELECT * INTO t FROM raw_events",
    "SELECT * FROM other.raw_events",
    "SELECT * FROM system.runtime.queries",
    "SELECT * FROM elsewhere",
    'SELECT * FROM "raw_events$properties"',
    'SELECT * FROM "elsewhere$snapshots"',
    "SELECT * FROM TABLE(system.query(query => 'x'))",
    "SELECT * FROM raw_events WHERE EXISTS (SELECT 1 FROM system.jdbc.tables)",
    "WITH raw_events AS (SELECT 1) SELECT * FROM other.raw_events",
    "SELECT 'a",
    "\x00",
)


@pytest.mark.parametrize("dialect", ["trino", "athena"])
@pytest.mark.parametrize("sql", REFUSED)
def test_whatever_is_no_select_over_the_tables_is_refused_in_a_sentence(sql: str, dialect: str) -> None:
    with pytest.raises(InvalidInput, match=r"^query: expected ") as refused:
        select_elsewhere.check(sql, VIEWS, dialect)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dialect", ["trino", "athena"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM raw_events",
        "SELECT * FROM RAW_EVENTS r JOIN curated_events_current c ON r.idempotency_key = c.idempotency_key;",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x UNION ALL SELECT 2",
        'SELECT * FROM "curated_events$snapshots"',
        "SELECT * FROM curated_events FOR TIMESTAMP AS OF current_timestamp - INTERVAL '1' DAY",
        "SELECT * FROM curated_events FOR VERSION AS OF 123",
        "SELECT table_name FROM information_schema.tables",
        "SELECT x FROM curated_events CROSS JOIN UNNEST(ARRAY[1, 2]) AS t (x)",
        *saved_queries("events", "lean_ops_dev").values(),
        *operations_queries().values(),
    ],
)
def test_a_select_over_tables_views_and_snapshots_passes(sql: str, dialect: str) -> None:
    select_elsewhere.check(sql, VIEWS, dialect)


@given(st.text(max_size=60) | st.lists(st.sampled_from([*REFUSED, "SELECT", "(", ")", "FROM"])).map(" ".join))
def test_any_text_is_let_through_or_refused_in_a_sentence(sql: str) -> None:
    try:
        select_elsewhere.check(sql, VIEWS, "athena")
    except InvalidInput as refused:
        assert str(refused).startswith("query: expected ")
