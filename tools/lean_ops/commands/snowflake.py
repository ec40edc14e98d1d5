"""``snowflake``: its set-up as one script, and whether it reads what the tables say."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from common.readers.sql_api import SqlApi
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import JsonOption, a_number
from lean_ops.commands.refresh import access
from lean_ops.console.printing import say, show_json, show_table
from lean_ops.environment.repository import contract_files
from lean_ops.operate import snowflake as reader
from lean_ops.operate.snowflake import Catalog, Handed

app = typer.Typer(help="Set Snowflake up as a reader of Semantic, and see whether it keeps up.")


@app.command()
def setup(
    outputs: Annotated[
        Path, typer.Option("--outputs", help="What `terraform output -json` printed; - for standard input.")
    ],
    warehouse: Annotated[str, typer.Option("--warehouse", help="Warehouse of the readers' queries.")],
    catalog: Annotated[
        Catalog, typer.Option("--catalog", help="Glue's Iceberg REST endpoint, or Glue's own interface.")
    ] = Catalog.REST,
    external_id: Annotated[
        str, typer.Option("--external-id", help="What the role of the files asks Snowflake for.")
    ] = "lean-ops-snowflake",
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="PEM file of the monitoring user's key; without, no such user."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print the whole set-up of Snowflake as SQL, from contracts and Terraform's outputs.

    It may run again, and does after a change of a contract. docs/deploy.md says in which order both sides are
    set up.
    """
    text = reader.script(
        Handed.parse(_read("--outputs", outputs)),
        contract_files(),
        catalog=catalog,
        warehouse=warehouse,
        external_id=external_id,
        public_key=_read("--public-key", public_key) if public_key is not None else "",
    )
    if json:
        show_json({"script": text})
    else:
        print(text)


@app.command()
@on_target(only_on_aws="has no Snowflake: DuckDB, in its place here, reads the newest snapshot each time")
def check(
    call: Call,
    minutes: Annotated[
        float,
        typer.Option("--minutes", help="Exit code 1 from so many on.", min=0, callback=a_number),
    ] = 60.0,
) -> Answer:
    """Compare the snapshot that Snowflake has of every Semantic table with the table's own.

    A refresh that has stopped answers queries with old rows and says nothing. Exit code 1 where Snowflake
    lacks a snapshot for longer than --minutes, and where nobody knows: a scheduler can run this.
    """
    signed_in = access(call.target)
    now = outside.now()
    found = list(reader.compare(call.target, SqlApi(signed_in), f"{signed_in.database}.{signed_in.schema}"))
    rows = [
        {
            "topic": one.topic,
            "lacks": one.behind.snapshots if one.behind else None,
            "since": one.behind.since if one.behind else None,
            "minutes": one.minutes(now),
            "unknown": one.unknown,
        }
        for one in found
    ]
    late = [one for one in found if (behind := one.minutes(now)) is not None and behind > minutes]
    failures = [
        f"{one.topic}: Snowflake lacks {one.behind.snapshots} snapshots since {one.behind.since}"
        f"{' at least' if one.behind.at_least else ''}; `lean-ops refresh {one.topic}` reads the newest now "
        "(docs/runbook.md, snowflake-stalled)"
        for one in late
        if one.behind
    ]
    failures += [f"{one.topic}: {one.unknown}" for one in found if one.behind is None]

    def tell() -> None:
        if not rows:
            say("There is no Semantic table.")
            return
        show_table("Semantic in Snowflake", list(rows[0]), [list(row.values()) for row in rows])

    return Answer(rows, tell, failures=failures)


def _read(option: str, path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{option}: expected a text file, found {type(error).__name__} at {str(path)!r}"
        ) from error
