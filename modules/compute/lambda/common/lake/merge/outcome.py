"""What a merge reports."""

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Counts:
    """What became of rows of a source.

    Of ``rows_read``, ``past`` were published before the table takes rows (``common.lake.closing``), and
    ``duplicate_messages`` and ``superseded`` lost inside the batch, in the first and in the second stage;
    what became of the rest against the stored rows say ``inserted``, ``updated``, ``removed`` and
    ``unchanged``.
    """

    rows_read: int = 0
    duplicate_messages: int = 0
    superseded: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    past: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def summary(self) -> dict[str, str]:
        """The entries for the snapshot summary."""
        return {f"lean-ops.{name.replace('_', '-')}": str(count) for name, count in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class MergeOutcome(Counts):
    """What a merge did, beside the counts of its rows.

    - ``snapshot_id``: the table's current snapshot afterwards, None in an empty table.
    - ``merge_seq``: the number of this merge, or of the last one where nothing changed.
    - ``data_files``, ``delete_files``, ``bytes_written``: what the commit added; ``rewritten_files``: files
      that it replaced.
    - ``attempts``: how often the merge was planned.
    - ``beside``: the counts of the rows of the source beside the first one.
    """

    committed: bool
    snapshot_id: int | None
    merge_seq: int
    new_columns: tuple[str, ...] = ()
    data_files: int = 0
    delete_files: int = 0
    rewritten_files: int = 0
    bytes_written: int = 0
    attempts: int = 1
    beside: Counts = Counts()
