"""A query is one SELECT over the lake's tables; every other way that DuckDB has is closed, twice over."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.runtime.errors import InvalidInput
from lean_ops.environment import lake, select_only

from ...support.generated import cases

CONTENT = "what is in the file"
VIEWS = ["raw_events", "curated_events"]
# Table functions that another file, setting, secret or statement can be read with, called as they must be.
FILES = (
    "read_csv",
    "read_text",
    "read_blob",
    "read_json",
    "read_parquet",
    "glob",
    "sniff_csv",
    "iceberg_scan",
)
OTHER_STATEMENTS = (
    "COPY raw_events TO '{there}/out.csv'",
    "COPY (SELECT 1) TO '{there}/out.parquet' (FORMAT parquet)",
    "EXPORT DATABASE '{there}/export'",
    "IMPORT DATABASE '{there}/export'",
    "ATTACH '{there}/out.duckdb' AS out",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "PRAGMA lock_configuration = false",
    "PRAGMA database_list",
    "PRAGMA table_info('raw_events')",
    "SET VARIABLE x = 1",
    "CALL enable_logging()",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "CREATE TABLE t AS SELECT 1",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE MACRO f() AS TABLE SELECT * FROM read_text('{there}/secret.csv')",
    "CREATE VIEW v AS SELECT 1",
    "DROP VIEW raw_events",
    "INSERT INTO raw_events VALUES (1)",
    "UPDATE raw_events SET a = 2",
    "DELETE FROM raw_events",
    "MERGE INTO raw_events USING curated_events USING (a) WHEN MATCHED THEN DELETE",
    "ALTER VIEW raw_events RENAME TO x",
    "BEGIN TRANSACTION",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE COPY raw_events TO '{there}/out.csv'",
    "SELECT 1; COPY raw_events TO '{there}/out.csv'",
    "SELECT 1; SELECT 2",
    "PIVOT raw_events ON a",
    "",
    ";",
    "-- nothing but a comment",
    "SELEC 1",
    "SELECT '\udc80'",
)
OTHER_SOURCES = (
    "'{there}/secret.csv'",
    '"{there}/secret.csv"',
    "'s3://elsewhere/secret.csv'",
    "'https://example.org/secret.csv'",
    "python_table",
    "memory.main.raw_events",
    "main.raw_events",
    "sqlite_master",
    "duckdb_settings",
    "pg_catalog.pg_tables",
    "query('SELECT 1')",
    "query_table(['raw_events'])",
    "json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "duckdb_secrets()",
    "duckdb_settings()",
    "pragma_table_info('raw_events')",
    "which_secret('s3://x', 's3')",
    *(f"{name}('{{there}}/secret.csv')" for name in FILES),
    *(f"\"{name}\"('{{there}}/secret.csv')" for name in FILES),
    *(f"main.{name.upper()}('{{there}}/secret.csv')" for name in FILES),
)
# Where a source can stand in a SELECT.
PLACES = (
    "SELECT * FROM {source}",
    "FROM {source}",
    "FROM {source} AS raw_events",
    "SELECT count(*) FROM raw_events, {source} x",
    "SELECT * FROM raw_events POSITIONAL JOIN {source}",
    "SELECT (SELECT min(COLUMNS(*)) FROM {source})",
    "SELECT EXISTS (FROM {source})",
    "SELECT a FROM raw_events WHERE a IN (FROM {source})",
    "SELECT a FROM raw_events ORDER BY (SELECT count(*) FROM {source})",
    "SELECT a FROM raw_events GROUP BY ALL HAVING EXISTS (FROM {source})",
    "SELECT a FROM raw_events QUALIFY row_number() OVER (ORDER BY (SELECT 1 FROM {source})) = 1",
    "SELECT a FROM raw_events LIMIT (SELECT count(*) FROM {source})",
    "WITH raw AS (FROM {source}) SELECT 1",
    "WITH raw AS MATERIALIZED (FROM {source}) FROM raw",
    "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 2 FROM {source}) FROM r",
    "SELECT a FROM raw_events UNION ALL BY NAME FROM {source}",
    "SELECT a FROM raw_events EXCEPT SELECT 1 FROM {source}",
    "FROM raw_events, LATERAL (FROM {source}) AS l",
    "SELECT list_transform([1], x -> (SELECT count(*) FROM {source}))",
    "SELECT count(*) FILTER (EXISTS (FROM {source})) FROM raw_events",
    "SELECT CASE WHEN EXISTS (FROM {source}) THEN 1 END",
    "VALUES ((SELECT count(*) FROM {source}))",
    "DESCRIBE FROM {source}",
    "SUMMARIZE FROM {source}",
    "FROM (DESCRIBE FROM {source})",
    "FROM (PIVOT {source} ON a IN (1))",
    "SELECT * FROM (UNPIVOT {source} ON a)",
    "SELECT * REPLACE ((SELECT 1 FROM {source}) AS a) FROM raw_events",
)
GOOD = (
    "SELECT count(*) FROM raw_events",
    "FROM Raw_Events r JOIN curated_events c USING (a) SELECT r.a",
    "WITH newest AS (SELECT max(a) AS a FROM raw_events) FROM newest",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) FROM n",
    "SELECT unnest([1, 2])",
    "FROM range(3)",
    "FROM (PIVOT raw_events ON a IN (1))",
    "SELECT a, row_number() OVER () FROM raw_events QUALIFY true LIMIT 1",
    "DESCRIBE raw_events",
    "SUMMARIZE raw_events",
    "SHOW TABLES",
    "SELECT table_name FROM information_schema.tables",
    "SELECT 1 -- a comment; with a semicolon",
    "SELECT regexp_extract('a1', '[0-9]'), strftime(now(), '%Y'), from_json('[1]', '[\"INT\"]')",
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file that no query may read, and nothing else before or after."""
    folder = tmp_path_factory.mktemp("there")
    (folder / "secret.csv").write_text(f"a\n{CONTENT}\n")
    return folder


def fresh() -> duckdb.DuckDBPyConnection:
    engine = duckdb.connect()
    for view in VIEWS:
        engine.execute(f"CREATE VIEW {view} AS SELECT 1 AS a")
    return engine


@pytest.fixture(scope="module")
def parser() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that only parses."""
    with fresh() as engine:
        yield engine


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with fresh() as engine:
        yield engine


@pytest.mark.parametrize("sql", GOOD)
def test_a_select_over_the_tables_is_run(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    select_only.check(connection, sql, VIEWS)
    select_only.seal(connection, ["s3://lake/"])
    connection.execute(sql).fetchall()


def test_only_the_tables_that_a_query_names_are_opened(parser: duckdb.DuckDBPyConnection) -> None:
    assert select_only.check(parser, "FROM RAW_EVENTS, raw_events", VIEWS) == ["raw_events"]
    assert select_only.check(parser, "SELECT 1", VIEWS) == []
    assert select_only.check(parser, "SHOW TABLES", VIEWS) == VIEWS
    assert select_only.check(parser, "FROM information_schema.columns", VIEWS) == VIEWS


@pytest.mark.parametrize("sql", OTHER_STATEMENTS)
def test_any_other_statement_is_refused(parser: duckdb.DuckDBPyConnection, there: Path, sql: str) -> None:
    with pytest.raises(InvalidInput, match=r"^query: expected"):
        select_only.check(parser, sql.format(there=there), VIEWS)


@pytest.mark.parametrize("place", PLACES)
def test_no_other_source_passes_wherever_it_stands(
    parser: duckdb.DuckDBPyConnection, there: Path, place: str
) -> None:
    assert select_only.check(parser, place.format(source="curated_events"), VIEWS)
    for source in OTHER_SOURCES:
        sql = place.format(source=source.format(there=there))
        with pytest.raises(InvalidInput, match=r"^query: expected"):
            select_only.check(parser, sql, VIEWS)


def test_every_table_function_of_the_engine_is_known(parser: duckdb.DuckDBPyConnection) -> None:
    kinds = "('table', 'table_macro', 'pragma')"
    with lake._engine() as engine:  # with its extensions
        found = engine.execute(
            f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN {kinds}"  # noqa: S608 - constants
        ).fetchall()
    assert len(found) > 100
    for (name,) in found:
        if name not in select_only.TABLE_FUNCTIONS:
            with pytest.raises(InvalidInput, match=r"no table function"):
                select_only.check(parser, f'FROM "{name}"()', VIEWS)


@pytest.mark.parametrize("name", sorted(select_only.REFUSED_FUNCTIONS))
def test_functions_that_do_more_than_compute_are_refused(
    parser: duckdb.DuckDBPyConnection, name: str
) -> None:
    with pytest.raises(InvalidInput, match=name):
        select_only.check(parser, f"SELECT a FROM raw_events WHERE main.{name.upper()}('x') = 'y'", VIEWS)  # noqa: S608 - only parsed


def test_a_name_of_its_own_cannot_stand_for_a_file(parser: duckdb.DuckDBPyConnection) -> None:
    """Where the name does not reach, DuckDB would look for a file that is called so."""
    sql = """SELECT * FROM (WITH "/etc/hostname.csv" AS (SELECT 1) SELECT 1), '/etc/hostname.csv'"""
    with pytest.raises(InvalidInput, match="after WITH"):
        select_only.check(parser, sql, VIEWS)


def test_a_deeply_nested_query_is_refused_in_a_sentence(parser: duckdb.DuckDBPyConnection) -> None:
    for levels in (300, 900, 5_000):
        for sql in (f"SELECT {'1+' * levels}1", f"SELECT {'(SELECT ' * levels}1{')' * levels}"):
            try:
                select_only.check(parser, sql, VIEWS)
            except InvalidInput as error:
                assert str(error).startswith("query: expected")


@pytest.mark.parametrize("sql", [s for s in OTHER_STATEMENTS if "{there}" in s and ";" not in s])
def test_the_sealed_engine_alone_reaches_no_file_by_a_statement(
    connection: duckdb.DuckDBPyConnection, there: Path, sql: str
) -> None:
    select_only.seal(connection, ["s3://lake/"])
    try:
        connection.execute(sql.format(there=there))
        connection.execute("FROM f()")  # the macro, where one could be made
    except duckdb.Error:
        assert [path.name for path in there.iterdir()] == ["secret.csv"]
    else:
        pytest.fail(f"{sql} was run")


def test_the_sealed_engine_alone_reaches_no_file_by_a_select(
    connection: duckdb.DuckDBPyConnection, there: Path
) -> None:
    select_only.seal(connection, ["s3://lake/"])
    for source in OTHER_SOURCES:
        if "there" in source or "://" in source or source == "python_table":
            with pytest.raises(duckdb.Error):
                connection.execute(f"SELECT * FROM {source.format(there=there)}")  # noqa: S608 - what is tested


@pytest.mark.parametrize("change", ["SET {} = {}", "RESET {}", "PRAGMA {} = {}", "SET GLOBAL {} = {}"])
@pytest.mark.parametrize(
    "setting", ["lock_configuration", "enable_external_access", "allowed_directories", "temp_directory"]
)
def test_the_lock_cannot_be_opened(connection: duckdb.DuckDBPyConnection, change: str, setting: str) -> None:
    select_only.seal(connection, ["s3://lake/"])
    with pytest.raises(duckdb.Error):
        connection.execute(change.format(setting, "false"))


words = st.sampled_from(
    ["SELECT", "FROM", "raw_events", "'{there}/secret.csv'", "read_text('{there}/secret.csv')", "(", ")", "*",
     ",", ";", "WITH", "x", "AS", "1", "UNION ALL", "DESCRIBE", "SUMMARIZE", "PIVOT", "ON a IN (1)", "a",
     "LATERAL", "VALUES", "WHERE", "IN", "EXISTS", "JOIN", "USING (a)", "TABLE"]
)  # fmt: skip


@settings(
    max_examples=cases(300),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(words, max_size=12).map(" ".join))
def test_whatever_words_pass_show_nothing_of_a_file(
    parser: duckdb.DuckDBPyConnection, there: Path, sql: str
) -> None:
    statement = sql.format(there=there)
    try:
        select_only.check(parser, statement, VIEWS)
        shown = parser.execute(statement).fetchall()  # by an engine that is not sealed: this wall alone
    except (InvalidInput, duckdb.Error):
        return
    assert CONTENT not in repr(shown)
