"""``query`` and ``tables``: look at the lake."""

from dataclasses import asdict
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from common.lake.specifications import LAYERS
from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import a_number
from lean_ops.console.printing import err, human_bytes, say, show_result, show_table
from lean_ops.environment import athena, lake, select_elsewhere
from lean_ops.environment.fetched import Fetched, Rows
from lean_ops.environment.lake import TableState, TableUnreadable
from lean_ops.local import trino
from lean_ops.local.target import LocalTarget
from lean_ops.operate.cost import load_prices
from lean_ops.operate.export import check_export, export

_SHOWN_ROWS = 100


class Engine(StrEnum):
    """Who answers a query."""

    DUCKDB = "duckdb"
    TRINO = "trino"
    ATHENA = "athena"


@on_target()
def query(
    call: Call,
    sql: Annotated[str, typer.Argument(help='One SELECT, e.g. "SELECT count(*) FROM raw_events".')],
    write_to: Annotated[
        Path | None,
        typer.Option("--write-to", help="Write all rows into this new file: .csv, .ndjson or .parquet."),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="DuckDB here; Trino on the local stack; Athena on AWS.")
    ] = Engine.DUCKDB,
    timeout: Annotated[
        float,
        typer.Option("--timeout", help="Seconds that the query may take.", min=1, callback=a_number),
    ] = 300.0,
) -> Answer:
    """Query the tables: raw_<topic>, curated_<topic>, semantic_<topic>, quarantine_<topic>, and their views.

    It reads and changes nothing: one SELECT over these tables, without files, settings or other statements.
    Views: curated_<topic>_current, semantic_<topic>_current, history_<topic>. Trino is started once and ended
    by `lean-ops down`. Of Athena it is said what was scanned and what that costs (with --json: beside the
    result).
    """
    if write_to is not None:
        check_export(write_to)
    if engine is Engine.DUCKDB:
        with lake.query(call.target, sql, timeout) as result:
            return _answer(call, result, write_to)
    select_elsewhere.check(sql, lake.readable_names(call.target), engine.value)
    if engine is Engine.TRINO:
        if not isinstance(call.target, LocalTarget):
            raise InvalidInput(
                f"--engine trino: expected a local stack, found {call.place}; on AWS ask with --engine athena"
            )
        columns, rows = trino.serving(call.target, _aside).query(sql, timeout)
        return _answer(call, Fetched(columns, rows), write_to)
    if isinstance(call.target, LocalTarget):
        raise InvalidInput(
            "--engine athena: expected an environment on AWS (--env), found the local stack; here ask with "
            "--engine trino"
        )
    done = athena.run(call.target, sql, timeout)
    return _with_scan(_answer(call, done.fetched, write_to), done)


def _aside(text: str) -> None:
    """A line that is no part of the answer."""
    err.print(text, soft_wrap=True)


def _answer(call: Call, result: Rows, write_to: Path | None) -> Answer:
    if write_to is not None:
        written = export(result, write_to)
        document = {"file": write_to, "rows": written, "columns": result.columns}
        return Answer(document, lambda: say(f"{written:,} rows written to {write_to}."))
    rows = list(result.rows() if call.json else islice(result.rows(), _SHOWN_ROWS + 1))

    def tell() -> None:
        show_result(result.columns, rows[:_SHOWN_ROWS])
        if len(rows) > _SHOWN_ROWS:
            say(f"The first {_SHOWN_ROWS} rows are shown; take all with --json or --write-to FILE.")

    return Answer([dict(zip(result.columns, row, strict=True)) for row in rows], tell)


def _with_scan(answer: Answer, done: athena.Done) -> Answer:
    """The answer, and what Athena scanned for it."""
    price = load_prices().price("athena-tib")
    usd = done.billed_bytes / 2**40 * price.usd

    def tell() -> None:
        answer.tell()
        say(
            f"Athena scanned {human_bytes(done.scanned_bytes)} in {done.engine_ms / 1000:.1f} s: about "
            f"{usd:.6f} USD at list price."
        )

    document = {
        "result": answer.document,
        "scanned_bytes": done.scanned_bytes,
        "billed_bytes": done.billed_bytes,
        "usd": usd,
    }
    return Answer(document, tell)


@on_target()
def tables(call: Call) -> Answer:
    """List the tables of every layer: rows, files, partitions, snapshots. Exit code 1 if one is damaged."""
    states, unreadable = [], []
    catalog, database = call.target.catalog(), call.target.database
    for name in lake.table_names(call.target, catalog):
        try:
            states.append(lake.state(lake.open_whole(catalog, f"{database}.{name}")))
        except TableUnreadable as error:
            unreadable.append(str(error))
    return Answer([asdict(state) for state in states], lambda: _show(database, states), failures=unreadable)


def _show(database: str, states: list[TableState]) -> None:
    columns = ["table", "rows", "columns", "data files", "delete files", "size", "partitions", "snapshots"]
    rows = [
        [
            s.name,
            s.rows,
            s.columns,
            s.data_files,
            s.delete_files,
            human_bytes(s.size_bytes),
            s.partitions,
            s.snapshots,
        ]
        for s in states
    ]
    show_table(f"Tables of {database}", columns, rows)
    scattered = (s.name.split("_", 1) for s in states if s.scattered)
    for topic in sorted({topic for layer, topic in scattered if layer in LAYERS}):
        say(
            f"{topic}: fewer than ten rows a data file. If the topic stays that small, `volume: low` in "
            f"contracts/{topic}.yaml (docs/contracts.md) partitions its tables by month when they are made.",
            style="yellow",
        )
