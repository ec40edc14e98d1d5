"""``query`` and ``tables``: look at the lake."""

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import human_bytes, say, show_result, show_table
from lean_ops.environment import lake
from lean_ops.environment.lake import TableState, TableUnreadable
from lean_ops.operate.export import check_export, export

_SHOWN_ROWS = 100


@on_target()
def query(
    call: Call,
    sql: Annotated[str, typer.Argument(help='One SELECT, e.g. "SELECT count(*) FROM raw_events".')],
    write_to: Annotated[
        Path | None,
        typer.Option("--write-to", help="Write all rows into this new file: .csv, .ndjson or .parquet."),
    ] = None,
) -> Answer:
    """Query the tables with DuckDB: raw_<topic>, curated_<topic>, semantic_<topic>, quarantine_<topic>.

    It reads and changes nothing: one SELECT over these tables, without files, settings or other statements.
    """
    if write_to is not None:
        check_export(write_to)
    with lake.query(call.target, sql) as result:
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
    for topic in sorted({s.name.split("_", 1)[1] for s in states if s.scattered}):
        say(
            f"{topic}: fewer than ten rows a data file. If the topic stays that small, `volume: low` in "
            f"contracts/{topic}.yaml (docs/contracts.md) partitions its tables by month when they are made.",
            style="yellow",
        )
