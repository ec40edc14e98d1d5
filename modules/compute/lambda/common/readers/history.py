"""What the query history says: how long analysts' queries on Semantic took, and whether tables are refreshed.

``INFORMATION_SCHEMA.QUERY_HISTORY`` is up to date and reaches back seven days (Snowflake documentation); the
view in ``ACCOUNT_USAGE`` knows which tables a query read, but hours later. A query counts for Semantic when
its text names a Semantic table. Of more than ``LIMIT`` queries in one span the newest are returned: a sample
then, which is what a percentile needs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from common.readers.sql_api import SnowflakeRefused, SnowflakeUnreachable, SqlApi

# The most that the table function returns.
LIMIT: Final = 10_000

_QUERIES: Final = f"""
SELECT TOTAL_ELAPSED_TIME AS MILLISECONDS
FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY(
       END_TIME_RANGE_START => TO_TIMESTAMP_LTZ(?), END_TIME_RANGE_END => TO_TIMESTAMP_LTZ(?),
       RESULT_LIMIT => {LIMIT}))
WHERE QUERY_TYPE = 'SELECT' AND EXECUTION_STATUS = 'SUCCESS'
  AND COALESCE(QUERY_TAG, '') <> 'lean-ops' AND CONTAINS(LOWER(QUERY_TEXT), 'semantic_')"""  # noqa: S608  # nosec B608 # a constant


def latencies(api: SqlApi, since: datetime, until: datetime) -> list[float]:
    """Milliseconds that each query took which ended from ``since`` to ``until``."""
    rows = api.run(_QUERIES, {"1": since.isoformat(), "2": until.isoformat()})
    return [_milliseconds(row) for row in rows]


@dataclass(frozen=True)
class Refreshing:
    """Tables that Snowflake does not refresh by itself, and those of which nobody knows, with why."""

    stalled: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


def refreshing(api: SqlApi, tables: Sequence[str]) -> Refreshing:
    """Which tables stand still: SYSTEM$AUTO_REFRESH_STATUS is not RUNNING.

    A table that Snowflake does not know hides no other. Raises SnowflakeUnreachable.
    """
    found = Refreshing()
    for table in tables:
        try:
            rows = api.run("SELECT SYSTEM$AUTO_REFRESH_STATUS(?) AS STATUS", {"1": table})
        except SnowflakeRefused as error:
            found.unknown[table] = str(error)
            continue
        state = _execution_state(rows)
        if state is None:
            found.unknown[table] = "expected a status with an executionState, found something else"
        elif state != "RUNNING":
            found.stalled.append(table)
    return found


def _milliseconds(row: Mapping[str, str | None]) -> float:
    try:
        took = float(row["milliseconds"] or 0)
    except (KeyError, ValueError):
        took = math.nan
    if not 0 <= took < math.inf:
        raise SnowflakeUnreachable(
            "Snowflake: expected the milliseconds of a query, found something else; "
            "the next schedule tries again"
        )
    return took


def _execution_state(rows: Sequence[Mapping[str, str | None]]) -> str | None:
    """None where the answer is not one row with a status."""
    if len(rows) != 1:
        return None
    try:
        status = json.loads(rows[0].get("status") or "{}")
    except (ValueError, RecursionError):
        return None
    return str(status.get("executionState", "")) if isinstance(status, dict) else None
