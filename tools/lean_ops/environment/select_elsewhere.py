"""SQL that people type for Trino or Athena: one SELECT over the lake's tables and views, and nothing else.

As ``lean_ops.environment.select_only`` does for DuckDB, with the statement as sqlglot reads it in that
dialect. What the parser does not know it hands on as a command, which is no SELECT and refused. Behind this
wall stands another: Trino's connector is read only, and in Athena the caller's policy counts
(infra/policies/athena-reader.json).
"""

import logging
from collections.abc import Collection
from typing import Final

import sqlglot
from sqlglot import exp

from common.runtime.errors import InvalidInput

_CATALOG_SCHEMA: Final = "information_schema"
_SELECTS: Final = (exp.Select, exp.SetOperation, exp.Subquery)
# Tables that Iceberg's connector has beside each table, as curated_events$snapshots.
_METADATA: Final = frozenset({"files", "history", "manifests", "partitions", "refs", "snapshots"})

# It warns of statements that it hands on, which are refused here in one sentence.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def check(sql: str, views: Collection[str], dialect: str) -> None:
    """Raise InvalidInput, saying what is not allowed, unless ``sql`` is one SELECT over ``views``.

    ``views``: names of tables and views; ``dialect``: ``trino`` or ``athena``.
    """
    try:
        found = [one for one in sqlglot.parse(sql, dialect=dialect) if one is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        words = next(iter(str(error).splitlines()), type(error).__name__)
        raise InvalidInput(
            f"query: expected one SELECT of {dialect.title()}, found text that is none: {words}"
        ) from error
    kinds = ", ".join(type(one).__name__.upper() for one in found) or "no statement"
    if len(found) != 1 or not isinstance(found[0], _SELECTS):
        raise InvalidInput(f"query: expected one SELECT, found {kinds}; see `lean-ops query --help`")
    (tree,) = found
    if tree.find(exp.DML, exp.DDL, exp.Command, exp.Into):
        raise InvalidInput("query: expected one SELECT that changes nothing, found a part that does")
    own = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    known = {view.casefold() for view in views}
    for table in tree.find_all(exp.Table):
        _check_table(table, own, known, views)


def _check_table(
    table: exp.Table, own: Collection[str], known: Collection[str], views: Collection[str]
) -> None:
    spelled = table.this.sql() if not isinstance(table.this, exp.Identifier) else ""
    if spelled:
        raise InvalidInput(
            f"query: expected tables, found the table function {spelled!r}; a query reads the lake's tables"
        )
    name, schema = table.name.casefold(), table.db.casefold()
    if schema == _CATALOG_SCHEMA and not table.catalog:
        return
    base, _, metadata = name.partition("$")
    there = base in known and (not metadata or metadata in _METADATA)
    if schema or table.catalog or not (there or name in own):
        full = ".".join(part for part in (table.catalog, table.db, table.name) if part)
        raise InvalidInput(f"query: expected tables {', '.join(views)}; found {full!r}")
