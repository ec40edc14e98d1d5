"""The live table and the rebuilt one, row by row, read by DuckDB: what the swap would change."""

from dataclasses import dataclass, replace
from typing import Final

import duckdb
from pyiceberg.table import Table

from lean_ops.environment import lake
from lean_ops.environment.target import Target
from lean_ops.operate.rebuild.beside import Rebuild, columns_to_go

# What differs in every rebuilt row and says nothing about its content.
_NUMBERS: Final = frozenset({"_merge_seq", "_source_merge_seq", "_contract_version"})
_SAMPLES: Final = 5


@dataclass(frozen=True)
class Comparison:
    """Rows by key. ``only_live`` would vanish, ``only_rebuilt`` appear, ``different`` have other values.

    ``samples``: some keys of these. ``columns``: those in which rows differ. ``unreadable``: why the live
    table could not be compared (that may be the reason for the rebuild); its counts are 0 then. ``to_go``:
    columns that the swap drops from the live table; their values are in `_rescued` of the rebuilt rows.
    """

    live_rows: int
    rebuilt_rows: int
    only_live: int = 0
    only_rebuilt: int = 0
    different: int = 0
    samples: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    unreadable: str = ""
    to_go: tuple[str, ...] = ()


def compare(target: Target, rebuild: Rebuild) -> Comparison:
    """Compare the two tables of ``rebuild``; columns that one of them lacks count as null there.

    Only these two are read, so that damage elsewhere in the lake keeps nobody from a rebuild; of each, its
    manifests before its rows (``lean_ops.environment.lake``). Raises TableMissing, and TableUnreadable for
    the rebuilt one.
    """
    catalog = target.catalog()
    beside = lake.open_whole(catalog, rebuild.beside)
    with lake.connect(target, ()) as connection:
        to_go: tuple[str, ...] = ()
        try:
            live = lake.open_whole(catalog, rebuild.live)
            to_go = columns_to_go(rebuild, live, beside)
            names = sorted({*live.schema().column_names, *beside.schema().column_names} - _NUMBERS)
            _view(connection, "rebuilt", beside, names)
            _view(connection, "live", live, names)
            found = _compare(connection, names, _count(connection, "SELECT count(*) FROM rebuilt"))
        except (duckdb.Error, lake.TableUnreadable) as error:
            unreadable = str(error).splitlines()[0]
            _view(connection, "readable", beside, beside.schema().column_names)
            rebuilt_rows = _count(connection, "SELECT count(*) FROM readable")
            found = Comparison(0, rebuilt_rows, unreadable=unreadable)
    return replace(found, to_go=to_go)


def _compare(connection: duckdb.DuckDBPyConnection, names: list[str], rebuilt_rows: int) -> Comparison:
    values = [name for name in names if name != "idempotency_key"]
    flags = ", ".join(f"l.{_q(n)} IS DISTINCT FROM r.{_q(n)} AS {_q(n)}" for n in values)
    anywhere = " OR ".join(_q(n) for n in values)
    connection.execute(
        f"""CREATE TEMP TABLE difference AS
        SELECT coalesce(l.idempotency_key, r.idempotency_key) AS idempotency_key,
               r.idempotency_key IS NULL AS only_live, l.idempotency_key IS NULL AS only_rebuilt, {flags}
        FROM live l FULL JOIN rebuilt r ON l.idempotency_key = r.idempotency_key"""  # noqa: S608 - column names of the catalog, quoted
    )
    both = "NOT only_live AND NOT only_rebuilt"
    counted = connection.execute(
        f"""SELECT count(*) FILTER (NOT only_rebuilt), count(*) FILTER (only_live),
                   count(*) FILTER (only_rebuilt), count(*) FILTER ({both} AND ({anywhere}))
            FROM difference"""  # noqa: S608 - as above
    ).fetchone() or (0, 0, 0, 0)
    columns = [
        name
        for name in values
        if _count(connection, f"SELECT count(*) FROM difference WHERE {both} AND {_q(name)}")  # noqa: S608 - as above
    ]
    samples = connection.execute(
        f"SELECT idempotency_key FROM difference WHERE only_live OR only_rebuilt OR {anywhere} "  # noqa: S608 - as above
        f"ORDER BY 1 LIMIT {_SAMPLES}"
    ).fetchall()
    live_rows, only_live, only_rebuilt, different = (int(number) for number in counted)
    return Comparison(
        live_rows,
        rebuilt_rows,
        only_live,
        only_rebuilt,
        different,
        tuple(str(key) for (key,) in samples),
        tuple(columns),
    )


def _view(connection: duckdb.DuckDBPyConnection, name: str, table: Table, columns: list[str]) -> None:
    """The table under ``name`` with every one of ``columns``, as text so that changed types compare."""
    known = set(table.schema().column_names)
    selected = ", ".join(
        f"CAST({_q(c)} AS VARCHAR) AS {_q(c)}" if c in known else f"NULL AS {_q(c)}" for c in columns
    )
    if table.current_snapshot() is None:
        connection.register(f"empty_{name}", table.schema().as_arrow().empty_table())
        source = f"empty_{name}"
    else:
        source = lake.iceberg_scan(table.metadata_location)
    connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {selected} FROM {source}")  # noqa: S608 - as above


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
