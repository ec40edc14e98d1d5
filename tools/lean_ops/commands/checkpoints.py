"""``checkpoints``: how far every layer has read, and letting one read again."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from common.lake.checkpoints import NOTHING, Entry
from lean_ops.commands.calling import Answer, Call, on_target, shared_options
from lean_ops.commands.options import WaitOption
from lean_ops.console.printing import say, show_table
from lean_ops.environment.target import Target
from lean_ops.operate import checkpoints as operations
from lean_ops.operate import leases
from lean_ops.operate.checkpoints import LayerCheckpoint, MergedLayer

app = typer.Typer(
    help="How far every layer has read, and letting one read again.", invoke_without_command=True
)

LayerArgument = Annotated[MergedLayer, typer.Argument(help="The layer that is to read again.")]


@app.callback()
@shared_options(topic=True)
def show_by_default(context: typer.Context, **options: Any) -> None:
    """Show how far every layer has read, and let one read again."""
    if context.invoked_subcommand is None:
        show(**options)


@app.command("show")
@on_target(topic=True)
def show(call: Call) -> Answer:
    """Show where every layer stands in its source, what table and DynamoDB say of it, and who runs."""
    target, topic = call.target, call.topic
    found = [operations.read(target, topic, layer) for layer in _layers(target, topic)]
    lease = leases.read(target, topic)

    def tell() -> None:
        columns = [
            "layer",
            "read up to",
            "position",
            "source is at",
            "snapshots behind",
            "rows behind",
            "from",
        ]
        show_table(f"Checkpoints of {topic}", columns, [_row(layer) for layer in found])
        for damage in filter(None, (*(layer.damage for layer in found), lease.damage)):
            say(f"{damage}.", style="yellow")
        if lease.holder:
            say(f"lease: held last by {lease.holder} ({lease.status})")
        if lease.hold:
            say(f"{lease.hold}. Next: {lease.way_out}.", style="yellow")

    return Answer({"layers": [asdict(layer) for layer in found], "lease": asdict(lease)}, tell)


@app.command("set")
@on_target(topic=True, reason=True)
def set_back(
    call: Call,
    layer: LayerArgument,
    to: Annotated[int, typer.Option("--to", help="Snapshot of the layer's source to read on from.")],
    wait: WaitOption = 60.0,
) -> Answer:
    """Let a layer read its source again from after a snapshot. Rows that are right stay as they are."""
    return _move_back(call, "checkpoints.set", layer, to, wait)


@app.command("reset")
@on_target(topic=True, reason=True)
def reset(call: Call, layer: LayerArgument, wait: WaitOption = 60.0) -> Answer:
    """Let a layer read its whole source again. Rows that are right stay as they are."""
    return _move_back(call, "checkpoints.reset", layer, None, wait)


def _move_back(call: Call, name: str, layer: MergedLayer, snapshot_id: int | None, wait: float) -> Answer:
    target, topic = call.target, call.topic
    to = {} if snapshot_id is None else {"to": str(snapshot_id)}
    work = " to ".join([f"{name} of {layer}", *to.values()])
    with (
        call.operation(name, layer=layer.value, **to) as entry,
        leases.exclusively(target, topic, entry, work, wait_s=wait),
    ):
        before = operations.read(target, topic, layer).counts
        after = operations.move_back(target, topic, layer, snapshot_id)

    def tell() -> None:
        say(f"{topic}: {layer} had read up to {_token(before)}; the next run reads on from {_token(after)}.")
        say(
            f"Next: `lean-ops run --topic {topic}`. It repeats nothing: rows that are right stay as they are."
        )

    return Answer({"before": asdict(before) if before else None, "after": asdict(after)}, tell)


def _layers(target: Target, topic: str) -> list[MergedLayer]:
    """Semantic has a table only where the topic has a contract."""
    catalog = target.catalog()
    return [layer for layer in MergedLayer if catalog.table_exists(target.settings.table(layer, topic))]


def _row(found: LayerCheckpoint) -> list[object]:
    behind = "expired: reads all" if found.snapshots_behind is None else found.snapshots_behind
    source = "table" if found.counts == found.committed else "DynamoDB"
    # One that has nothing to read again, as after a rollback and a run, is in order.
    if found.counts is not None and found.counts.rewound and found.snapshots_behind != 0:
        source = "DynamoDB (rewound)"
    return [
        found.layer.value,
        _token(found.counts),
        found.counts.position if found.counts else NOTHING,
        found.source_snapshot,
        behind,
        found.rows_behind,
        source,
    ]


def _token(entry: Entry | None) -> str:
    checkpoint = entry.checkpoint if entry else None
    return checkpoint.plain_token if checkpoint else NOTHING
