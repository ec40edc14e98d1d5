"""What a merge reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MergeOutcome:
    """What a merge did.

    - ``snapshot_id``: the table's current snapshot afterwards, None in an empty table.
    - ``merge_seq``: the number of this merge, or of the last one where nothing changed.
    - ``rows_read``: rows of the source. ``duplicate_messages`` and ``superseded`` of them lost inside the
      batch, in the first and in the second stage; what became of the rest against the stored rows say
      ``inserted``, ``updated`` and ``unchanged``.
    - ``data_files``, ``delete_files``, ``bytes_written``: what the commit added; ``rewritten_files``: files
      that it replaced.
    - ``attempts``: how often the merge was planned.
    """

    committed: bool
    snapshot_id: int | None
    merge_seq: int
    rows_read: int
    duplicate_messages: int = 0
    superseded: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    new_columns: tuple[str, ...] = ()
    data_files: int = 0
    delete_files: int = 0
    rewritten_files: int = 0
    bytes_written: int = 0
    attempts: int = 1
