"""Since when Snowflake has not seen what a table says: its metadata file beside the table's own.

``SHOW ICEBERG TABLES`` says of all tables at once what ``SYSTEM$AUTO_REFRESH_STATUS`` says of one (Snowflake
documentation, ``auto_refresh_status``): whether the mechanism runs, and the metadata file that it has read.
That the mechanism runs does not say that rows come: a refresh that has stopped answers queries with the old
rows. Where that file is not said, ``SYSTEM$GET_ICEBERG_TABLE_INFORMATION`` gives it, a table a call. The
newest metadata file of a table lists the files before it and its snapshots, each with a time (Iceberg table
spec, "Table Metadata": ``metadata-log``, ``snapshot-log``): from these it follows what Snowflake lacks.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from common.readers.sql_api import SnowflakeRefused, SnowflakeUnreachable, SqlApi

LONGEST: Final = timedelta(hours=1)
"""A table that Snowflake is behind for longer is late: it refreshes every minute."""
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True)
class Behind:
    """How far Snowflake is behind a table.

    ``snapshots``: those that it lacks. ``since``: when the first of them was committed, None for none.
    ``at_least``: Snowflake's file is older than all that the table remembers: it is behind for longer.
    """

    snapshots: int
    since: datetime | None
    at_least: bool = False


@dataclass(frozen=True)
class Late:
    """Tables that are not refreshed or are behind for too long, and those of which nobody knows, with why."""

    tables: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """What Snowflake says of a table. ``refresh``: of its automatic refresh, empty for nothing.

    ``seen``: the metadata file that it has read; empty where it does not say.
    """

    refresh: str = ""
    seen: str = ""


def standings(api: SqlApi) -> dict[str, Standing]:
    """What Snowflake says of the tables of the schema that ``api`` works in, by their names in lower case.

    One statement, whose answer has up to 10,000 tables. Raises SnowflakeRefused and SnowflakeUnreachable.
    """
    found = {}
    for row in api.run("SHOW ICEBERG TABLES IN SCHEMA"):
        try:
            status = json.loads(row.get("auto_refresh_status") or "{}")
        except (ValueError, RecursionError):
            status = None
        said = status if isinstance(status, dict) else {}
        state, file = said.get("executionState"), said.get("currentMetadataFile")
        found[str(row.get("name") or "").lower()] = Standing(str(state or ""), str(file or ""))
    return found


def late(
    api: SqlApi,
    tables: Mapping[str, str],
    read: Callable[[str], bytes],
    now: datetime,
    *,
    longest: timedelta = LONGEST,
    go_on: Callable[[], bool] = lambda: True,
) -> Late:
    """Which tables Snowflake does not refresh, or is behind for longer than ``longest``.

    ``tables``: the metadata file that the catalog has, by the table's name; ``read`` gives the content of
    one, and is asked for tables alone that Snowflake has not read to the end. A table that Snowflake does not
    know hides no other. ``go_on`` is asked before each call that is about one table; when it says no, nobody
    knows of those that are left. Raises SnowflakeRefused, and SnowflakeUnreachable where it does not answer.
    """
    found, known = Late(), standings(api)
    for table, location in tables.items():
        standing = known.get(table.lower())
        if standing is None:
            found.unknown[table] = (
                "expected the table in Snowflake's schema, found none that its role may see"
            )
        elif standing.refresh and standing.refresh != "RUNNING":
            found.tables.append(table)
        elif not _same(location, standing.seen):
            if not go_on():
                found.unknown[table] = (
                    "expected time to look at the table, found none left; the next schedule does"
                )
                continue
            try:
                seen = standing.seen or seen_by(api, table)
            except SnowflakeRefused as error:
                found.unknown[table] = str(error)
                continue
            since = behind(location, _document(read(location)), seen).since
            if since is not None and now - since > longest:
                found.tables.append(table)
            elif not standing.refresh:
                found.unknown[table] = "expected a status with an executionState, found something else"
        elif not standing.refresh:
            found.unknown[table] = "expected a status with an executionState, found something else"
    return found


def _document(content: bytes) -> Mapping[str, Any]:
    """A metadata file, which may be compressed."""
    document: Mapping[str, Any] = json.loads(
        gzip.decompress(content) if content.startswith(_GZIP) else content
    )
    return document


def seen_by(api: SqlApi, table: str) -> str:
    """The metadata file that Snowflake has read of ``table``, which may have database and schema before it.

    Raises SnowflakeRefused, and SnowflakeUnreachable for an answer that is not such.
    """
    rows = api.run("SELECT SYSTEM$GET_ICEBERG_TABLE_INFORMATION(?) AS INFORMATION", {"1": table})
    try:
        (row,) = rows
        location = json.loads(row["information"] or "")["metadataLocation"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnowflakeUnreachable(
            f"Snowflake: expected the metadata file that it has of {table}, found something else; the next "
            "time tries again"
        ) from error
    return str(location)


def behind(location: str, metadata: Mapping[str, Any], seen: str) -> Behind:
    """What Snowflake lacks that has read ``seen``, of a table at ``location`` that says ``metadata``."""
    if _same(location, seen):
        return Behind(0, None)
    known = {entry["metadata-file"]: int(entry["timestamp-ms"]) for entry in metadata.get("metadata-log", ())}
    times = sorted(int(entry["timestamp-ms"]) for entry in metadata.get("snapshot-log", ()))
    if not times:  # nothing was committed yet, or everything was taken back: there are no rows
        return Behind(0, None)
    read = next((at for file, at in known.items() if _same(file, seen)), None)
    if read is None:
        oldest = min([*known.values(), *times])
        return Behind(len(times), _moment(oldest), at_least=True)
    lacking = [at for at in times if at > read]
    return Behind(len(lacking), _moment(lacking[0]) if lacking else None)


def _same(one: str, other: str) -> bool:
    """Snowflake may name S3 by another scheme than the table does."""
    return one.partition("://")[2] == other.partition("://")[2]


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
