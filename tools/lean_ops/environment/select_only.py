"""SQL that people type: one SELECT over the views of the lake, and nothing else.

Two walls stand one behind the other, so that a hole in one is not a hole:

- ``check`` reads the statement as DuckDB itself parsed it (``json_serialize_sql``) and lets through one
  SELECT whose tables are views of the lake, names of its own (``WITH``) or ``information_schema``, and whose
  table functions are in a short list of such that make rows out of their arguments;
- ``seal`` tells the engine to reach nothing but the lake's bucket, to load and to look up nothing, and locks
  its configuration (DuckDB documentation, "Securing DuckDB").

What SELECT may still do is read rows that the caller's credentials may read anyway, and take time and memory.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import duckdb

from common.runtime.errors import InvalidInput

# Table functions that make rows of their arguments; all others read files, settings, secrets or other SQL.
TABLE_FUNCTIONS: Final = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "unnest"})
# Scalar functions that write, wait, or read what is not in their arguments.
REFUSED_FUNCTIONS: Final = frozenset(
    {
        "current_setting",
        "currval",
        "getenv",
        "getvariable",
        "nextval",
        "pg_sleep",
        "setseed",
        "sleep_ms",
        "write_log",
    }
)
_CATALOG_SCHEMA: Final = "information_schema"
# DuckDB takes a table's name for a file where nothing else has the name: no path passes this.
_OWN_NAME: Final = re.compile(r"\w[\w ]*")
_ADVICE: Final = "see `lean-ops query --help`; --write-to FILE exports rows"

Node = Mapping[str, Any]


def check(connection: duckdb.DuckDBPyConnection, sql: str, views: Sequence[str]) -> list[str]:
    """The views that ``sql`` reads; all of them where it asks which there are.

    Raises InvalidInput, saying what is not allowed, unless it is one SELECT over ``views``.
    """
    try:
        sql.encode()
        found = [statement.type for statement in connection.extract_statements(sql)]
    except (duckdb.Error, UnicodeError) as error:
        raise InvalidInput(
            f"query: expected one SELECT, found text that is none: {_first_line(error)}"
        ) from error
    if found != [duckdb.StatementType.SELECT]:
        kinds = ", ".join(kind.name for kind in found) or "no statement"
        raise InvalidInput(f"query: expected one SELECT, found {kinds}; {_ADVICE}")
    ((text,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise InvalidInput("query: expected fewer levels of nesting, found too many to check") from error
    if tree["error"]:  # PRAGMA calls itself a SELECT until here
        raise InvalidInput(f"query: expected one SELECT, found another statement; {_ADVICE}")
    nodes = list(_nodes(tree["statements"]))
    own = {name.casefold() for name in _own_names(nodes)}
    used: dict[str, None] = {}
    for node in nodes:
        used |= dict.fromkeys(_views_of(node, own, views))
    return list(used)


def seal(connection: duckdb.DuckDBPyConnection, directories: Collection[str]) -> None:
    """Let ``connection`` reach ``directories`` (URLs) and nothing else, and never be told otherwise."""
    listed = ", ".join("'" + directory.replace("'", "''") + "'" for directory in directories)
    connection.execute(
        f"SET allowed_directories = [{listed}]; SET python_enable_replacements = false;"
        "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false;"
        "SET allow_community_extensions = false; SET enable_external_access = false;"
        "SET lock_configuration = true"
    )


def _views_of(node: Node, own: Collection[str], views: Sequence[str]) -> Sequence[str]:
    """The views that one node of a statement reads; raises InvalidInput for what no query may do."""
    kind = node.get("type")
    if kind == "BASE_TABLE":
        return _table(node, own, views)
    if kind == "TABLE_FUNCTION":
        name = node["function"]["function_name"]
        if name.casefold() not in TABLE_FUNCTIONS:
            raise InvalidInput(
                f"query: expected no table function but {', '.join(sorted(TABLE_FUNCTIONS))}, found "
                f"{name!r}; a query reads the lake's tables, no files, no settings and no other statements"
            )
    elif kind == "SHOW_REF" and node.get("query") is None:
        if node.get("show_type") != "SHOW_UNQUALIFIED":
            raise InvalidInput("query: expected SHOW TABLES or DESCRIBE of a table, found another SHOW")
        return views
    elif node.get("class") == "FUNCTION" and node["function_name"].casefold() in REFUSED_FUNCTIONS:
        raise InvalidInput(
            f"query: expected functions of values, found {node['function_name']!r}, which does or reads more"
        )
    return ()


def _table(node: Node, own: Collection[str], views: Sequence[str]) -> Sequence[str]:
    qualifiers = [part for part in (node.get("catalog_name"), node.get("schema_name")) if part]
    name = node["table_name"]
    if [part.casefold() for part in qualifiers] == [_CATALOG_SCHEMA]:
        return views
    found = [view for view in views if view.casefold() == name.casefold()]
    if qualifiers or not (found or name.casefold() in own):
        spelled = ".".join([*qualifiers, name])
        raise InvalidInput(f"query: expected tables {', '.join(views)}; found {spelled!r}")
    return found


def _own_names(nodes: list[Node]) -> Iterator[str]:
    """Names that the statement itself gives to subqueries (WITH); raises InvalidInput for one like a path."""
    for node in nodes:
        if isinstance(ctes := node.get("cte_map"), dict):
            for entry in ctes["map"]:
                if not _OWN_NAME.fullmatch(entry["key"]):
                    raise InvalidInput(
                        f"query: expected a name of letters, digits and _ after WITH, found {entry['key']!r}"
                    )
                yield entry["key"]


def _nodes(tree: Any) -> Iterator[Node]:
    """Every object of the parsed statement; by a stack, for it may be nested deeper than Python calls."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
