"""Rebuilding Curated from RAW, or Semantic from Curated, beside the live table (docs/adr/0009).

    beside      the table in which the layer is rebuilt; columns and their ids as in the live one
    admission   which leaves have columns in a rebuilt Curated, by their use in all of RAW
    filling     the very jobs of the pipeline, portion by portion, into that table
    comparison  the two tables row by row, before anything changes
    swapping    one commit on the live table that replaces all of its files
    doing       all of these, one after the other

Semantic is rebuilt under the contract in place, or under one that a publication puts there at the swap.

The scheduled pipeline goes on meanwhile. Whatever interrupts a rebuild, the live table has its rows; the same
command goes on where it ended, as the table beside carries its own checkpoint.
"""

from lean_ops.operate.rebuild.beside import Rebuild, Under, columns_to_go, discard, fits, was_swapped_in
from lean_ops.operate.rebuild.comparison import Comparison, compare
from lean_ops.operate.rebuild.doing import Prepared, finish, prepare, rebuild_layer
from lean_ops.operate.rebuild.filling import HERE, Filled, Workplace, fill, hashing_secret, in_place
from lean_ops.operate.rebuild.swapping import Swapped, earlier_swap, swap

__all__ = [
    "HERE",
    "Comparison",
    "Filled",
    "Prepared",
    "Rebuild",
    "Swapped",
    "Under",
    "Workplace",
    "columns_to_go",
    "compare",
    "discard",
    "earlier_swap",
    "fill",
    "finish",
    "fits",
    "hashing_secret",
    "in_place",
    "prepare",
    "rebuild_layer",
    "swap",
    "was_swapped_in",
]
