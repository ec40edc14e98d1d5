"""``query`` and ``tables``: look at the lake."""

from dataclasses import asdict
from typing import Annotated

import typer

from lean_ops import lake
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    RegionOption,
    StackOption,
    resolve,
)
from lean_ops.console import human_bytes, say, show_json, show_result, show_table

_SHOWN_ROWS = 100


def query(
    sql: Annotated[str, typer.Argument(help='One SQL statement, e.g. "SELECT count(*) FROM raw_events".')],
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Query the tables with DuckDB: raw_<topic>, curated_<topic>, semantic_<topic>, quarantine_<topic>."""
    target = resolve(env, stack, region)
    with target.reached(), lake.connect(target) as connection:
        names, rows = lake.run(connection, sql)
    if json:
        show_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    show_result(names, rows[:_SHOWN_ROWS])
    if len(rows) > _SHOWN_ROWS:
        say(f"{_SHOWN_ROWS} of {len(rows):,} rows shown; add a LIMIT, or take all with --json.")


def tables(
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """List the tables of every layer: rows, files, partitions, snapshots."""
    target = resolve(env, stack, region)
    with target.reached():
        states = [lake.state(table) for table in lake.tables(target)]
    if json:
        show_json([asdict(state) for state in states])
        return
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
    show_table(f"Tables of {target.database}", columns, rows)
