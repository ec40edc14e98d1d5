"""Checkpoints: how far a layer has read its source, and which record of it is right.

Every merge commit carries its own checkpoint in the snapshot summary of the table it wrote. The DynamoDB
checkpoints table is the fast look-up; when the two differ, the one that is further along counts, unless
the DynamoDB entry speaks of a merge that the table no longer has (after a rollback).
"""

from dataclasses import dataclass

# Keys of the snapshot summary of every merge commit. Values are text: a snapshot id has 64 bits, and JSON
# readers that turn numbers into doubles would round it.
SOURCE_SNAPSHOT_ID = "lean-ops.source-snapshot-id"
SOURCE_TOKEN = "lean-ops.source-token"  # noqa: S105 - a place in a table, not a credential
SOURCE_POSITION = "lean-ops.source-position"
RUN_ID = "lean-ops.run-id"
MERGE_SEQ = "lean-ops.merge-seq"

_WHOLE = 999_999


@dataclass(frozen=True)
class SourceCheckpoint:
    """How far a layer has read its source table.

    ``snapshot_id``: the source snapshot read last. ``sequence``: a number that grows with every change of
    the source (RAW: the snapshot's Iceberg sequence number; Curated: the merge sequence). ``files`` and
    ``full_scan`` say what of that snapshot is read:

    - ``files is None``: all of it, and everything before it;
    - ``files = k``: everything before it, and the first ``k`` of the data files it added;
    - ``files = k, full_scan``: the first ``k`` of all its live data files (a checkpoint expired, so the
      table is being read again from the start).
    """

    snapshot_id: int
    sequence: int
    files: int | None = None
    full_scan: bool = False

    @property
    def token(self) -> str:
        """The text that travels through JSON: ``<id>``, ``<id>+<k>`` or ``<id>*<k>``."""
        if self.files is None:
            return str(self.snapshot_id)
        return f"{self.snapshot_id}{'*' if self.full_scan else '+'}{self.files}"

    @property
    def position(self) -> str:
        """Text that sorts the way reading progresses: a checkpoint never moves to a smaller position."""
        return f"{self.sequence:015d}.{_WHOLE if self.files is None else self.files:06d}"

    def summary(self) -> dict[str, str]:
        """The entries for the snapshot summary of the commit that consumed this much."""
        return {
            SOURCE_SNAPSHOT_ID: str(self.snapshot_id),
            SOURCE_TOKEN: self.token,
            SOURCE_POSITION: self.position,
        }
