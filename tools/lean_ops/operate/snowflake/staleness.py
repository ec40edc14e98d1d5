"""Each Semantic table beside what Snowflake has read of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from common.lake.specifications import open_table
from common.readers.sql_api import SnowflakeRefused, SnowflakeUnreachable, SqlApi
from common.readers.staleness import Behind, behind, seen_by, standings
from common.runtime.errors import TableMissing
from lean_ops.environment.target import Target


@dataclass(frozen=True)
class Seen:
    """One table. ``behind`` is None where nobody knows, for the reason that ``unknown`` says."""

    topic: str
    behind: Behind | None
    unknown: str = ""

    def minutes(self, now: datetime) -> float | None:
        """For how long Snowflake has given other rows than the table's; None where nobody knows."""
        if self.behind is None:
            return None
        return 0.0 if self.behind.since is None else (now - self.behind.since).total_seconds() / 60


def compare(target: Target, api: SqlApi, schema: str) -> Iterator[Seen]:
    """Every topic with a Semantic table; Snowflake has them in ``schema`` (``database.schema``)."""
    catalog, known = target.catalog(), standings(api)
    for topic in target.topics:
        try:
            table = open_table(catalog, target.settings.table("semantic", topic))
        except TableMissing:
            continue  # a topic without contract
        standing = known.get(f"semantic_{topic}")
        try:
            seen = (standing.seen if standing else "") or seen_by(api, f"{schema}.semantic_{topic}")
        except (SnowflakeRefused, SnowflakeUnreachable) as error:
            yield Seen(topic, None, str(error))
            continue
        metadata = table.metadata.model_dump(mode="json", by_alias=True)
        yield Seen(topic, behind(table.metadata_location, metadata, seen))
