"""What the query history says: how long analysts' queries on Semantic took, and whether tables are refreshed.

``INFORMATION_SCHEMA.QUERY_HISTORY`` is up to date and reaches back seven days (Snowflake documentation); the
view in ``ACCOUNT_USAGE`` knows which tables a query read, but hours later. A query counts for Semantic when
its text names a Semantic table. Of more than ``LIMIT`` queries in one span the newest are returned: a sample
then, which is what a percentile needs.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from snowflake_latency.sql_api import SqlApi

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
    return [float(row["milliseconds"] or 0) for row in rows]


def stalled(api: SqlApi, tables: Sequence[str]) -> list[str]:
    """The tables that Snowflake does not refresh by itself: SYSTEM$AUTO_REFRESH_STATUS is not RUNNING."""
    found = []
    for table in tables:
        (row,) = api.run("SELECT SYSTEM$AUTO_REFRESH_STATUS(?) AS STATUS", {"1": table})
        if json.loads(row["status"] or "{}").get("executionState") != "RUNNING":
            found.append(table)
    return found
