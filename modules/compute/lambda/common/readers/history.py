"""What the query history says: how long analysts' queries on Semantic took.

``INFORMATION_SCHEMA.QUERY_HISTORY`` is up to date and reaches back seven days (Snowflake documentation); the
view in ``ACCOUNT_USAGE`` knows which tables a query read, but hours later. A query counts for Semantic when
its text names a Semantic table. Of more than ``LIMIT`` queries in one span the newest are returned: a sample
then, which is what a percentile needs.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from common.readers.sql_api import SnowflakeUnreachable, SqlApi

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
