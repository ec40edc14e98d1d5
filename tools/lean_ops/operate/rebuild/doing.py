"""A rebuild from its beginning, or from where it was interrupted, to the swap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from common.lake.specifications import open_table
from common.layers.semantic import align_columns
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.holds import Held
from lean_ops.operate.rebuild.beside import Rebuild, Under, discard
from lean_ops.operate.rebuild.comparison import Comparison, compare
from lean_ops.operate.rebuild.filling import HERE, Filled, Workplace, fill, in_place
from lean_ops.operate.rebuild.swapping import Swapped, earlier_swap, swap


@dataclass(frozen=True)
class Prepared:
    """A rebuild that is filled: what is left is to swap it in, or to give it up.

    ``comparison``: None where an earlier one was swapped in, and only its removal is left.
    """

    rebuild: Rebuild
    comparison: Comparison | None


def rebuild_layer(
    target: Target,
    topic: str,
    layer: MergedLayer,
    entry: audit.Entry,
    held: Held,
    *,
    first_day: date | None = None,
    agreed: Callable[[Comparison], bool] = lambda _found: True,
    told: Callable[[Filled], None] = lambda _portion: None,
    replaced: Callable[[Sequence[str]], None] = lambda _columns: None,
    place: Workplace = HERE,
) -> tuple[Comparison | None, Swapped | None]:
    """Fill, compare, and swap where that is agreed to; nothing to compare where only the removal was left.

    Semantic is rebuilt under the contract in place. ``held``: the place of the layer's rebuild. ``told``
    hears of every portion, ``replaced`` of columns that the contract replaces
    (``common.layers.semantic.align_columns``). Counts rows in ``entry``. The work is done at ``place``.
    """
    under = None
    if layer is MergedLayer.SEMANTIC:
        under = in_place(target, topic)
        # Runs would do so at any moment, and both must give out the same field ids.
        align_columns(
            open_table(target.catalog(), target.settings.table(layer, topic)), under.contract, replaced
        )
    ready = prepare(target, topic, layer, entry, first_day=first_day, under=under, told=told, place=place)
    swapped = None
    if ready.comparison is None or agreed(ready.comparison):
        held.changing()
        swapped = finish(target, ready, entry, told=told, place=place)
    entry.counts["swapped"] = int(swapped is not None)
    return ready.comparison, swapped


def prepare(
    target: Target,
    topic: str,
    layer: MergedLayer,
    entry: audit.Entry,
    *,
    first_day: date | None = None,
    under: Under | None = None,
    told: Callable[[Filled], None] = lambda _portion: None,
    place: Workplace = HERE,
) -> Prepared:
    """Fill the table beside up to the end of its source, and compare; the live table stays as it is."""
    begun = Rebuild.open(target, topic, layer, first_day=first_day, under=under)
    if begun.swapped_in:
        return Prepared(begun, None)
    for portion in fill(target, begun, _run_id(entry), place):
        _count(entry, portion, told)
    found = compare(target, begun)
    entry.counts["rows_rebuilt"] = found.rebuilt_rows
    return Prepared(begun, found)


def finish(
    target: Target,
    ready: Prepared,
    entry: audit.Entry,
    *,
    told: Callable[[Filled], None] = lambda _portion: None,
    place: Workplace = HERE,
) -> Swapped:
    """Catch up, swap it in by one commit, and remove what is left beside."""
    begun = ready.rebuild
    swapped = (
        earlier_swap(target, begun)
        if begun.swapped_in
        else swap(target, begun, _run_id(entry), lambda portion: _count(entry, portion, told), place)
    )
    discard(target, begun.topic, begun.layer)
    return swapped


def _count(entry: audit.Entry, portion: Filled, told: Callable[[Filled], None]) -> None:
    entry.counts["rows_read"] += portion.rows_read
    entry.heartbeat()
    told(portion)


def _run_id(entry: audit.Entry) -> str:
    return f"rebuild-{entry.operation_id}"
