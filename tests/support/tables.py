"""Rows of tables on a stack."""

import pyarrow as pa
from pyiceberg.table import Table

_ROWS: dict[tuple[str, int, int], pa.Table] = {}


def read(table: Table) -> pa.Table:
    """All rows with every column, sorted by key."""
    return table.scan().to_arrow().sort_by("idempotency_key")


def rows(table: Table) -> pa.Table:
    """As ``read``, each snapshot once: what it holds never changes, and dozens of small files take a second.

    Not for tests of what removes files: they have to see that none is missing.
    """
    snapshot = table.current_snapshot()
    if snapshot is None:
        return read(table)
    seen = (str(table.metadata.table_uuid), snapshot.snapshot_id, table.schema().schema_id)
    if seen not in _ROWS:
        _ROWS[seen] = read(table)
    return _ROWS[seen]
