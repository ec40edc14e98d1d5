"""Since when Snowflake has not seen what a table says: its metadata file beside the table's own.

``SYSTEM$GET_ICEBERG_TABLE_INFORMATION`` gives the metadata file that Snowflake has read of a table that
another catalog manages. A refresh that has stopped answers queries with the old rows and says nothing, and
the status of the refresh (``SYSTEM$AUTO_REFRESH_STATUS``) is the mechanism's, not the rows'. The newest
metadata file of a table lists the files before it and its snapshots, each with a time (Iceberg table spec,
"Table Metadata": ``metadata-log``, ``snapshot-log``): from these it follows what Snowflake lacks.
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
    """Tables that Snowflake is behind for too long, and those of which nobody knows, with why."""

    tables: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


def late(
    api: SqlApi,
    tables: Mapping[str, str],
    read: Callable[[str], bytes],
    now: datetime,
    longest: timedelta = LONGEST,
) -> Late:
    """Which tables Snowflake is behind for longer than ``longest``.

    ``tables``: the metadata file that the catalog has, by name in Snowflake; ``read`` gives the content of
    one, and is asked for tables alone that Snowflake has not read to the end. A table that Snowflake does not
    know hides no other. Raises SnowflakeUnreachable where it does not answer.
    """
    found = Late()
    for table, location in tables.items():
        try:
            seen = seen_by(api, table)
        except SnowflakeRefused as error:
            found.unknown[table] = str(error)
            continue
        if not _same(location, seen):
            since = behind(location, _document(read(location)), seen).since
            if since is not None and now - since > longest:
                found.tables.append(table)
    return found


def _document(content: bytes) -> Mapping[str, Any]:
    """A metadata file, which may be compressed."""
    document: Mapping[str, Any] = json.loads(
        gzip.decompress(content) if content.startswith(_GZIP) else content
    )
    return document


def seen_by(api: SqlApi, table: str) -> str:
    """The metadata file that Snowflake has read of ``table`` (``database.schema.table``).

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
