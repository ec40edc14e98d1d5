"""``rebuild``: a layer anew from the one before it, beside the live table, compared, swapped in."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from common.lake.history import said_by
from common.lake.specifications import open_table
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import err, harmless, say
from lean_ops.environment.repository import spark_entry, spark_from_rows
from lean_ops.local import spark
from lean_ops.operate import rebuild as rebuilding
from lean_ops.operate import views
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.holds import Place
from lean_ops.operate.pipeline import Engine
from lean_ops.operate.rebuild import Comparison, Filled, Swapped, Workplace


@on_target(topic=True, reason=True)
def rebuild(
    call: Call,
    layer: Annotated[MergedLayer, typer.Option("--layer", help="The layer to rebuild from the one before.")],
    first_day: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="Keep rows published before this day (UTC)."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Swap without asking.")] = False,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Who does the work on this machine: this process as a function would, Spark on all "
            "cores, or by the size of the source where Spark is at hand."
        ),
    ] = Engine.AUTO,
    discard: Annotated[
        bool, typer.Option("--discard", help="Remove a rebuild that was begun; the live table stays.")
    ] = False,
) -> Answer:
    """Rebuild Curated from RAW or Semantic from Curated beside the live table, compare, then swap it in.

    Scheduled runs go on meanwhile. Interrupted, it goes on where it was; the live table changes only in the
    last step, one commit that `lean-ops rollback` undoes.
    """
    target, topic = call.target, call.topic
    selection = {"layer": layer.value, **({"from": f"{first_day:%Y-%m-%d}"} if first_day else {})}
    place = Place(target, topic, "rebuild-curated" if layer is MergedLayer.CURATED else "rebuild-semantic")
    if discard:
        with (
            call.operation("rebuild.discard", **selection) as entry,
            place.worked_on(entry, f"rebuild of {layer}", wait_s=0),
        ):
            files = entry.counts["files_removed"] = rebuilding.discard(target, topic, layer)
        done = f"The rebuild is removed, {files} files." if files else "There was no rebuild to remove."
        return Answer({"files_removed": files}, lambda: say(done))

    def agreed(found: Comparison) -> bool:
        if not call.json:
            _show(found)
        return yes or (not call.json and _agreed())

    with call.operation("rebuild", **selection) as entry:
        with (
            place.worked_on(entry, f"rebuild of {layer}", wait_s=0) as held,
            _workplace(call, layer, engine) as workplace,
        ):
            found, swapped = rebuilding.rebuild_layer(
                target,
                topic,
                layer,
                entry,
                held,
                first_day=first_day.replace(tzinfo=UTC).date() if first_day else None,
                agreed=agreed,
                told=(lambda _portion: None) if call.json else _told,
                replaced=_say_replaced,
                place=workplace,
            )
        # Also without a swap: the contract may have replaced columns of the live table.
        left = views.follow_table(target, topic, layer)
    documents = {"comparison": found, "swapped": swapped}
    return Answer(
        {name: asdict(document) if document else None for name, document in documents.items()},
        lambda: _tell(topic, layer, found, swapped),
        left,
    )


@contextmanager
def _workplace(call: Call, layer: MergedLayer, engine: Engine) -> Iterator[Workplace]:
    """Where the work is done; Spark is started for it, and ended afterwards."""
    if engine is Engine.AUTO:
        # Asking for Java starts one: only where there is something for it to do.
        engine = Engine.SPARK if _is_large(call, layer) and spark.at_hand() else Engine.LAMBDA
    if engine is not Engine.SPARK:
        yield rebuilding.HERE
        return
    if not call.json:
        say("Spark does the work, on the cores of this machine.", "dim")
    with spark.cluster(f"{call.topic} rebuild of {layer}") as cluster:
        yield Workplace(cluster.flatten, cluster.judge, spark_entry().environment)


def _is_large(call: Call, layer: MergedLayer) -> bool:
    """Whether a run would take the whole source to Spark."""
    source = "raw" if layer is MergedLayer.CURATED else "curated"
    table = open_table(call.target.catalog(), call.target.settings.table(source, call.topic))
    current = table.current_snapshot()
    rows = int(said_by(current).get("total-records", 0)) if current is not None else 0
    return rows >= spark_from_rows()


def _tell(topic: str, layer: MergedLayer, found: Comparison | None, swapped: Swapped | None) -> None:
    if swapped is None:
        say("Nothing was swapped. The same command with --yes catches up and swaps; --discard removes it.")
    else:
        if found is None:
            say("It was swapped in before; what an interrupted command had left beside is removed.")
        say(
            f"{swapped.table}: {swapped.files_removed} files replaced by {swapped.files_added} in snapshot "
            f"{swapped.snapshot_id}; `lean-ops rollback {layer}` can undo it."
        )
        if layer is MergedLayer.CURATED:
            say(f"Every row is new to Semantic, which takes them over with the next runs of {topic}.")


def _told(portion: Filled) -> None:
    if portion.rows_read:
        say(f"{portion.rows_read:,} rows read, {portion.backlog_rows:,} to go")


def _say_replaced(columns: Sequence[str]) -> None:
    err.print(
        harmless(f"{', '.join(columns)}: new type, null in the live table until the swap"), style="yellow"
    )


def _show(found: Comparison) -> None:
    say(f"rebuilt: {found.rebuilt_rows:,} rows")
    if found.to_go:
        say(
            f"The swap drops {len(found.to_go)} columns of leaves that are used less than those admitted: "
            f"{', '.join(found.to_go)}; their values are in _rescued. To keep one, name it in the contract, "
            "then --discard and rebuild again.",
            "yellow",
        )
    if found.unreadable:
        say(f"The live table cannot be read, so that nothing can be compared: {found.unreadable}", "yellow")
        return
    say(f"live:    {found.live_rows:,} rows")
    say(
        f"The swap takes {found.only_live:,} rows away, adds {found.only_rebuilt:,} and changes "
        f"{found.different:,}" + (f" (in {', '.join(found.columns)})" if found.columns else "") + "."
    )
    if found.samples:
        say(f"Keys concerned, the first of them: {', '.join(found.samples)}")


def _agreed() -> bool:
    """Ask, where somebody can answer."""
    return sys.stdin.isatty() and typer.confirm("Swap it in?")
