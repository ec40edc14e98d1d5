"""``checkpoints``: how far every layer has read, and letting one read again."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from common.lake.checkpoints import NOTHING, Entry
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    ReasonOption,
    RegionOption,
    StackOption,
    TopicOption,
    WaitOption,
    check_reason,
    check_topic,
    resolve,
)
from lean_ops.console.printing import say, show_json, show_table
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import checkpoints as operations
from lean_ops.operate import leases
from lean_ops.operate.checkpoints import LayerCheckpoint, MergedLayer

app = typer.Typer(
    help="How far every layer has read, and letting one read again.", invoke_without_command=True
)


@app.callback()
def show_by_default(
    context: typer.Context,
    topic: TopicOption = "events",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Show how far every layer has read, and let one read again."""
    if context.invoked_subcommand is None:
        show(topic, env, stack, region, json)


@app.command("show")
def show(
    topic: TopicOption = "events",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Show where every layer stands in its source, what table and DynamoDB say of it, and who runs."""
    target = resolve(env, stack, region)
    check_topic(target, topic)
    with target.reached():
        found = [operations.read(target, topic, layer) for layer in _layers(target, topic)]
        lease = leases.read(target, topic)
    if json:
        show_json({"layers": [asdict(layer) for layer in found], "lease": asdict(lease)})
        return
    columns = ["layer", "read up to", "position", "source is at", "snapshots behind", "rows behind", "from"]
    show_table(f"Checkpoints of {topic}", columns, [_row(layer) for layer in found])
    for damage in filter(None, (*(layer.damage for layer in found), lease.damage)):
        say(f"{damage}.", style="yellow")
    if lease.holder:
        say(f"lease: held last by {lease.holder} ({lease.status})")
    if lease.hold:
        say(f"{lease.hold}. Next: {lease.way_out}.", style="yellow")


@app.command("set")
def set_back(
    layer: Annotated[MergedLayer, typer.Argument(help="The layer that is to read again.")],
    to: Annotated[int, typer.Option("--to", help="Snapshot of the layer's source to read on from.")],
    reason: ReasonOption,
    topic: TopicOption = "events",
    wait: WaitOption = 60.0,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Let a layer read its source again from after a snapshot. Rows that are right stay as they are."""
    _move_back(resolve(env, stack, region), topic, layer, to, reason, wait, json)


@app.command("reset")
def reset(
    layer: Annotated[MergedLayer, typer.Argument(help="The layer that is to read again.")],
    reason: ReasonOption,
    topic: TopicOption = "events",
    wait: WaitOption = 60.0,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Let a layer read its whole source again. Rows that are right stay as they are."""
    _move_back(resolve(env, stack, region), topic, layer, None, reason, wait, json)


def _move_back(
    target: Target,
    topic: str,
    layer: MergedLayer,
    snapshot_id: int | None,
    reason: str,
    wait: float,
    json: bool,
) -> None:
    check_topic(target, topic)
    check_reason(reason)
    name = "checkpoints.reset" if snapshot_id is None else "checkpoints.set"
    selection: dict[str, Any] = {"topic": topic, "layer": layer.value}
    if snapshot_id is not None:
        selection["to"] = str(snapshot_id)
    work = f"{name} of {layer}" + (f" to {snapshot_id}" if snapshot_id is not None else "")
    with (
        target.reached(),
        audit.operation(target, name, reason=reason, selection=selection) as entry,
        leases.exclusively(target, topic, entry, work, wait_s=wait),
    ):
        before = operations.read(target, topic, layer).counts
        after = operations.move_back(target, topic, layer, snapshot_id)
    if json:
        show_json({"before": asdict(before) if before else None, "after": asdict(after)})
        return
    say(f"{topic}: {layer} had read up to {_token(before)}; the next run reads on from {_token(after)}.")
    say(f"Next: `lean-ops run --topic {topic}`. It repeats nothing: rows that are right stay as they are.")


def _layers(target: Target, topic: str) -> list[MergedLayer]:
    """Semantic has a table only where the topic has a contract."""
    catalog = target.catalog()
    return [layer for layer in MergedLayer if catalog.table_exists(target.settings.table(layer, topic))]


def _row(found: LayerCheckpoint) -> list[object]:
    behind = "expired: reads all" if found.snapshots_behind is None else found.snapshots_behind
    source = "table" if found.counts == found.committed else "DynamoDB"
    if found.counts is not None and found.counts.rewound:
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
    return entry.token if entry else NOTHING
