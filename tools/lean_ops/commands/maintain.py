"""``maintain``: drop what is past, compact, expire and clean up tables."""

from dataclasses import asdict, replace
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final

import typer

from common.contract.contracted import row_retention
from common.lake.specifications import LAYERS, OPERATIONS, OPERATIONS_LAYER, TableSpec, align
from common.lake.upkeep import Upkeep, UpkeepPolicy
from common.layers import reports
from common.layers.upkeep import Failure
from common.layers.upkeep import maintain as keep_up_tables
from common.runtime import outside
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import check_topic
from lean_ops.console.printing import human_bytes, say, show_table
from lean_ops.environment import audit
from lean_ops.environment.repository import TABLE_SPECIFICATIONS
from lean_ops.environment.target import Target


class Layer(StrEnum):
    """A layer of tables."""

    RAW = "raw"
    CURATED = "curated"
    SEMANTIC = "semantic"
    QUARANTINE = "quarantine"


_DEFAULT = UpkeepPolicy()
# A hundred years: older than any table, and within what a date can be.
_MOST_DAYS: Final = 36_500


@on_target()
def maintain(
    call: Call,
    layer: Annotated[Layer | None, typer.Option("--layer", help="One layer; default: all.")] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="One topic; default: all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")] = False,
    snapshot_days: Annotated[
        int, typer.Option("--snapshot-days", help="Keep snapshots of so many days.", min=0, max=_MOST_DAYS)
    ] = _DEFAULT.snapshots_for.days,
    orphan_days: Annotated[
        int,
        typer.Option(
            "--orphan-days", help="Remove unreferenced files older than this.", min=1, max=_MOST_DAYS
        ),
    ] = _DEFAULT.orphans_for.days,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")] = "routine",
) -> Answer:
    """Drop days that are past by contract, compact, expire snapshots, remove orphan files. Safe beside runs.

    Tables also get the properties that their specifications gained since they were created, and views the
    columns that their tables gained.
    """
    target = call.target
    if topic is not None:
        check_topic(target, topic)
    selection: dict[str, Any] = {"layer": layer.value if layer else "all", "topic": topic or "all"}
    policy = replace(
        _DEFAULT, snapshots_for=timedelta(days=snapshot_days), orphans_for=timedelta(days=orphan_days)
    )

    def run(run_id: str) -> list[Upkeep | Failure]:
        return list(
            keep_up_tables(
                target.settings,
                target.catalog(),
                target.client("dynamodb"),
                places=[
                    (one, name)
                    for one in ([topic] if topic else target.topics)
                    for name in ([layer.value] if layer else LAYERS)
                ],
                policy=policy,
                now=outside.now(),
                run_id=run_id,
                retention_of=cache(lambda name: row_retention(target.client("s3"), target.lake_bucket, name)),
                dry_run=dry_run,
                glue=target.client("glue"),
            )
        )

    if dry_run:
        return _answer(run(""), dry_run=True)
    with audit.operation(target, "maintain", reason=reason, selection=selection) as entry:
        entry.counts["properties_set"] = _align(target, topic, layer)
        run_id, now = f"maintain-{entry.operation_id}", outside.now()
        done = run(run_id)
        for upkeep in (one for one in done if isinstance(one, Upkeep)):
            of, _, name = upkeep.table.rpartition(".")[2].partition("_")
            report = reports.Pass.of(upkeep, of, run_id, now)
            reports.leave(target.client("dynamodb"), target.checkpoints_table, name, [report])
            entry.counts["rows_past"] += upkeep.past.rows
            entry.counts["files_compacted"] += upkeep.compacted_files
            entry.counts["snapshots_expired"] += upkeep.snapshots_expired
            entry.counts["orphans_removed"] += upkeep.orphans_removed
    return _answer(done, dry_run=False)


def _align(target: Target, topic: str | None, layer: Layer | None) -> int:
    """Give the tables the columns and properties that their specifications have gained; gives how many."""
    catalog, changed = target.catalog(), 0
    for name in [layer.value] if layer else LAYERS:
        spec = TableSpec.load(TABLE_SPECIFICATIONS, name)
        for one in [topic] if topic else target.topics:
            identifier = target.settings.table(name, one)
            if catalog.table_exists(identifier):
                changed += len(align(catalog, identifier, spec))
    for name in OPERATIONS if topic is None and layer is None else ():
        spec = TableSpec.load(TABLE_SPECIFICATIONS, f"{OPERATIONS_LAYER}_{name}")
        identifier = target.settings.table(OPERATIONS_LAYER, name)
        if catalog.table_exists(identifier):
            changed += len(align(catalog, identifier, spec))
    return changed


def _answer(done: list[Upkeep | Failure], *, dry_run: bool) -> Answer:
    kept = [one for one in done if isinstance(one, Upkeep)]
    failures = [one for one in done if isinstance(one, Failure)]

    def tell() -> None:
        if not done:
            say("There is no such table.")
            return
        columns = [
            "table", "past days", "past rows", "past size", "files", "most in a partition", "delete files",
            "size", "compacted", "snapshots expired", "orphans removed", "freed",
        ]  # fmt: skip
        title = "What would be done" if dry_run else "What was done"
        show_table(title, columns, [_row(one, dry_run=dry_run) for one in kept])
        for one in kept:
            if held := one.past.held_back_rows:
                say(f"{one.table}: {held:,} rows are past and stay until every layer has read them.")

    document = {
        "dry_run": dry_run,
        "tables": [asdict(one) for one in kept],
        "failed": {one.table: str(one.error) for one in failures},
    }
    sentences = [f"{failure.table}: {type(failure.error).__name__}: {failure.error}" for failure in failures]
    return Answer(document, tell, failures=sentences)


def _row(done: Upkeep, *, dry_run: bool) -> list[object]:
    def both(before: object, after: object) -> str:
        return str(before) if dry_run else f"{before} → {after}"

    before, after = done.before, done.after
    return [
        done.table,
        done.past.partitions,
        done.past.rows,
        human_bytes(done.past.bytes),
        both(before.data_files, after.data_files),
        both(before.most_in_a_partition, after.most_in_a_partition),
        both(before.delete_files, after.delete_files),
        both(human_bytes(before.bytes), human_bytes(after.bytes)),
        done.compacted_files,
        done.snapshots_expired,
        done.orphans_removed,
        human_bytes(done.orphan_bytes),
    ]
