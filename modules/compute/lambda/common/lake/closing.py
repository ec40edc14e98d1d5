"""Up to when a table is closed: rows that were published before that were dropped and are taken in no more.

Retention drops days of a table (``common.lake.upkeep.row_retention``). A row of a dropped day that is merged
after that, because it comes late or is read again, would be wrong twice: it is past, and it may be an older
version of a key whose newest was dropped with its day. So the commit that drops a day says so in a property
of the table, and whoever plans a merge into it leaves such rows out. Versions of a key are ordered by their
``publish_time``: where the newest is left out, all of them are, whatever order they come in.

The property never goes back but with a rebuild, which reads everything again. So a longer retention brings no
older version to light while the newer ones are dropped.
"""

from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from common.runtime.errors import TableMismatch

CLOSED_BEFORE: Final = "lean-ops.closed-before"
"""Table property: RFC 3339. Absent where nothing was ever dropped."""

OPEN: Final = datetime(1, 1, 1, tzinfo=UTC)
"""The value of a table that takes rows of any time."""

PUBLISHED: Final = "publish_time"
"""The column that a row's age is told by."""


def closed_before(table: Table) -> datetime | None:
    """Since when a table takes rows; None for any time. Raises TableMismatch for a damaged property."""
    text = table.properties.get(CLOSED_BEFORE)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise TableMismatch(
            f"table {'.'.join(table.name())}, property {CLOSED_BEFORE}: expected a time with offset "
            f"(RFC 3339), found {text[:80]!r}; set it to the first day that the table has (ALTER TABLE ... "
            "SET TBLPROPERTIES)"
        )
    return None if moment == OPEN else moment


def still_taken(rows: pa.Table, since: datetime | None) -> pa.Table:
    """The rows that were published at ``since`` or later; all of them where it is None."""
    if since is None or PUBLISHED not in rows.column_names:
        return rows
    mask: Any = pc.greater_equal(rows[PUBLISHED], pa.scalar(since, rows[PUBLISHED].type))
    return rows.filter(mask.fill_null(pa.scalar(True)))  # noqa: FBT003
