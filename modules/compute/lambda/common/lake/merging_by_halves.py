"""When a merge fails on a row that nobody foresaw: its neighbours are merged in parts, and the row is found.

A merge takes all its rows or none. So one that fails for no reason of the table's is done again in parts, by
halves (``common.lake.setting_aside``), each part in a commit of its own that moves no checkpoint: the order
in which rows are merged changes nothing, and a run that ends half-way is repeated whole. What no part can
take is set aside.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from common.lake.merge import MergeOutcome
from common.lake.setting_aside import SetAside, by_halves
from common.runtime.errors import InternalFault, InvalidInput

# Rows merged at once, by number and by bytes: each part is a commit, and is held in memory.
_PART_ROWS: Final = 65_536
_PART_BYTES: Final = 64 * 2**20
# Rows set aside of one part. Every row costs a failing merge for each halving, and a function has minutes.
_MOST: Final = 100
_COUNTS: Final = (
    "rows_read", "duplicate_messages", "superseded", "inserted", "updated", "unchanged", "data_files",
    "delete_files", "rewritten_files", "bytes_written", "attempts",
)  # fmt: skip


def merge_what_can_be_merged(
    merge_all: Callable[[], MergeOutcome],
    merge_part: Callable[[pa.Table], MergeOutcome | None],
    batches: Callable[[], Iterable[pa.RecordBatch]],
    doing: str,
    beside: Callable[[], None] = lambda: None,
) -> tuple[MergeOutcome | None, list[SetAside]]:
    """Merge all rows, or, where that fails on one, all that can be merged; gives also those that cannot.

    ``merge_part`` merges any part of the rows that ``batches`` reads, without a checkpoint; None where it
    holds nothing to merge. ``beside`` merges, before the parts, what ``merge_all`` would have merged besides.
    ``doing`` says for error messages what is done. Raises an error of the tree where no row is to blame, or
    too many are.
    """
    try:
        return merge_all(), []
    except (InternalFault, InvalidInput):
        beside()
        return _by_halves(batches(), merge_part, doing)


def _by_halves(
    batches: Iterable[pa.RecordBatch], merge_part: Callable[[pa.Table], MergeOutcome | None], doing: str
) -> tuple[MergeOutcome | None, list[SetAside]]:
    outcomes: list[MergeOutcome | None] = []
    aside: list[SetAside] = []
    for part in _parts(batches):
        done, failed = by_halves(part, merge_part, doing, _MOST)
        outcomes += done
        aside += failed
    return _together([outcome for outcome in outcomes if outcome is not None]), aside


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _PART_ROWS or size >= _PART_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _together(outcomes: list[MergeOutcome]) -> MergeOutcome | None:
    """What many merges did, as one: the last one's place in the table, and the counts of all."""
    if not outcomes:
        return None
    counts: dict[str, Any] = {name: sum(getattr(o, name) for o in outcomes) for name in _COUNTS}
    return replace(
        outcomes[-1],
        committed=any(outcome.committed for outcome in outcomes),
        new_columns=tuple(dict.fromkeys(name for outcome in outcomes for name in outcome.new_columns)),
        **counts,
    )
