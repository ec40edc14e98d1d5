"""Which files of a partition a write takes with it, so that files and deletes do not pile up.

Counted in rows, much as in a binary counter: a write takes along, smallest first, the files that are not much
larger than what it writes by then. So the files of a partition grow with the logarithm of its merges, and so
does the number of times a row is rewritten: 96 merges of like size end with at most seven files, having
written each row 3.4 times more. Files in which most rows are deleted are taken too:
from then on every reader skips more rows than it keeps. Thresholds: docs/adr/0002-merge-on-read-engine.md.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

FILES_LEFT_ALONE = 4
"""A partition with fewer files is not tidied: reading it costs little, writing it again costs more."""

GROWTH = 1.5
"""How much larger than the write so far a file may be to go along. At 1 a partition has up to 20 files in a
day of 96 merges, whose rows are written 2.7 times more, at 2 six and 3.7 times, at 3 four and 5.1 times
(tests/benchmarks/merge/bench_thresholds.py)."""

DELETED_SHARE = 0.5
"""From this share of deleted rows on, a file is rewritten."""

LARGEST_REWRITE_BYTES = 32 * 2**20
"""Larger files are left to maintenance: a merge stays bounded in time and memory."""


@dataclass(frozen=True)
class FileState:
    """A live data file as it would be after the merge; ``deleted`` counts rows, new deletes included."""

    path: str
    size: int
    rows: int
    deleted: int

    @property
    def live(self) -> int:
        """Rows that are left."""
        return self.rows - self.deleted


def files_to_rewrite(
    files: Sequence[FileState], new_rows: int, most_rows: int = sys.maxsize
) -> frozenset[str]:
    """Paths of the files of one partition that a merge which adds ``new_rows`` to it rewrites.

    A file without any row left is always among them; it is dropped without being read. Of more than
    ``most_rows`` none is read: they would not fit into memory.
    """
    taken = {f.path for f in files if f.live == 0}
    small = [f for f in files if f.live > 0 and f.size <= LARGEST_REWRITE_BYTES and f.rows <= most_rows]
    worn = _fitting([f for f in small if f.deleted >= DELETED_SHARE * f.rows], most_rows)
    taken |= {f.path for f in worn}
    written = new_rows + sum(f.live for f in worn)
    remaining = sorted((f for f in small if f.path not in taken), key=lambda f: f.live)
    if written and len(files) - len(taken) >= FILES_LEFT_ALONE:
        for file in remaining:
            if file.live > GROWTH * written or written + file.live > most_rows:
                break
            taken.add(file.path)
            written += file.live
    return frozenset(taken)


def _fitting(files: Sequence[FileState], most_rows: int) -> list[FileState]:
    """The smallest files that together have at most so many rows."""
    ordered = sorted(files, key=lambda f: f.rows)
    return [
        f for f, rows in zip(ordered, accumulate(f.rows for f in ordered), strict=True) if rows <= most_rows
    ]
