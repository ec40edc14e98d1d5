"""``rollback``: a merged table as it was, its checkpoint with it."""

from dataclasses import asdict
from typing import Annotated

import typer

from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.options import WaitOption, check_reason
from lean_ops.console.printing import say, show_table
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import leases, views
from lean_ops.operate import rollback as operation
from lean_ops.operate.checkpoints import MergedLayer


@on_target(topic=True)
def rollback(
    call: Call,
    layer: Annotated[MergedLayer, typer.Argument(help="Which table; RAW is nowhere else and stays.")],
    to: Annotated[
        int | None, typer.Option("--to", help="Snapshot to go back to; without it, list them.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")] = "",
    hold: Annotated[
        bool, typer.Option("--hold", help="Keep the topic on hold afterwards, until `lean-ops resume`.")
    ] = False,
    wait: WaitOption = 60.0,
) -> Answer:
    """Roll Curated or Semantic back to a snapshot. The next run merges again what came after it."""
    target, topic = call.target, call.topic
    if to is None:
        return _history(target, topic, layer)
    check_reason(reason)
    selection = {"topic": topic, "layer": layer.value, "to": str(to), "hold": hold}
    with audit.operation(target, "rollback", reason=reason, selection=selection) as entry:
        work = f"rollback of {layer} to {to}"
        with leases.exclusively(target, topic, entry, work, wait_s=wait, keep_hold=hold) as held:
            done = operation.roll_back(target, topic, layer, to, held.changing)
        entry.counts["snapshots_undone"] = done.snapshots_undone
        left = views.follow_table(target, topic, layer)
    return Answer(asdict(done), lambda: _tell(done, topic, layer, hold=hold), left)


def _tell(done: operation.RolledBack, topic: str, layer: MergedLayer, *, hold: bool) -> None:
    if done.snapshots_undone:
        say(f"{done.table}: {done.before} → {done.after}, {done.snapshots_undone} snapshots undone.")
    else:
        say(f"{done.table}: {done.after} is current already, nothing was undone.")
    say(f"The next run reads on from {done.checkpoint} and merges again what came after it.")
    if done.columns_restored:
        say(
            f"Again as they were: {', '.join(done.columns_restored)}. Bring the contract back to what it "
            "asked for then: under another type, the next run replaces them again.",
            style="yellow",
        )
    if done.rebuild_undone and layer is MergedLayer.CURATED:
        say(
            "Semantic may have taken rows of the undone rebuild over: after the next run, "
            f"`lean-ops rebuild --layer semantic --topic {topic}` compares and makes it anew.",
            style="yellow",
        )
    if hold:
        say(
            f"The topic is on hold. Mend what made the rows wrong, then `lean-ops resume --topic {topic}`.",
            style="yellow",
        )


def _history(target: Target, topic: str, layer: MergedLayer) -> Answer:
    states, table = operation.history(target, topic, layer), target.settings.table(layer, topic)
    columns = ["snapshot", "committed (UTC)", "operation", "rows", "merge", "read up to", "run", ""]
    rows = [
        [
            s.snapshot_id,
            f"{s.committed:%Y-%m-%d %H:%M:%S}",
            s.operation,
            s.rows,
            s.merge_seq,
            s.checkpoint,
            s.run_id,
            "current" if s.current else "",
        ]
        for s in states
    ]
    return Answer(
        [asdict(state) for state in states],
        lambda: (
            show_table(f"Snapshots of {table}", columns, rows)
            if rows
            else say(f"{table} has no snapshot yet.")
        ),
    )
