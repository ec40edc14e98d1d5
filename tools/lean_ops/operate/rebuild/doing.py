"""A rebuild from its beginning, or from where it was interrupted, to the swap."""

from collections.abc import Callable, Sequence
from datetime import date

from pyiceberg.types import NestedField

from common.lake.specifications import open_table
from common.layers.semantic import align_columns
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.holds import Held
from lean_ops.operate.rebuild.beside import Rebuild, discard
from lean_ops.operate.rebuild.comparison import Comparison, compare
from lean_ops.operate.rebuild.filling import HERE, Filled, Workplace, contract_of, fill
from lean_ops.operate.rebuild.swapping import Swapped, earlier_swap, swap


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

    ``held``: the place of the layer's rebuild. ``told`` hears of every portion, ``replaced`` of columns that
    the contract replaces (``common.layers.semantic.align_columns``). Counts rows in ``entry``. The work is
    done at ``place``.
    """
    run_id = f"rebuild-{entry.operation_id}"
    begun = _open(target, topic, layer, first_day, replaced)
    if begun.swapped_in:
        entry.counts["swapped"] = 1
        earlier = earlier_swap(target, begun)
        discard(target, topic, layer)
        return None, earlier

    def counted(portion: Filled) -> None:
        entry.counts["rows_read"] += portion.rows_read
        entry.heartbeat()
        told(portion)

    for portion in fill(target, begun, run_id, place):
        counted(portion)
    found = compare(target, begun)
    entry.counts["rows_rebuilt"] = found.rebuilt_rows
    swapped = None
    if agreed(found):
        held.changing()
        swapped = swap(target, begun, run_id, counted, place)
        discard(target, topic, layer)
    entry.counts["swapped"] = int(swapped is not None)
    return found, swapped


def _open(
    target: Target,
    topic: str,
    layer: MergedLayer,
    first_day: date | None,
    replaced: Callable[[Sequence[str]], None],
) -> Rebuild:
    version, columns = "", list[NestedField]()
    if layer is MergedLayer.SEMANTIC:
        contract = contract_of(target, topic)
        version, columns = contract.version, contract.semantic_columns()
        live = open_table(target.catalog(), target.settings.table(layer, topic))
        align_columns(live, contract, replaced)
    return Rebuild.open(target, topic, layer, first_day=first_day, contract_version=version, columns=columns)
