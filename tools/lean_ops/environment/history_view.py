"""The history of all keys of a topic in SQL: every version, since when and until when it counted, and why.

A slowly changing dimension of type 2, computed from RAW and Curated and not stored (docs/adr/0018). The text
keeps to what DuckDB and Athena (Trino) both read: ``lean-ops query`` makes a view ``history_<topic>`` of it,
and in Athena it is the body of a ``CREATE VIEW``. It reads the columns of the envelope alone, so that a
column that Curated gains changes nothing for whoever has the view.
"""

from typing import Final

PREFIX: Final = "history_"
"""Begins the name of a topic's view."""

COLUMNS: Final = (
    "idempotency_key",
    "message_id",
    "what",
    "valid_from",
    "valid_to",
    "received",
    "copies",
    "superseded_by",
    "superseded_since",
    "stands_in_curated",
    "json_payload",
)
"""Of the view. ``valid_to``: when the next newer version was published, null for the newest; a delete is a
version, whose ``what`` says so. ``superseded_since``: what made the next one newer. ``stands_in_curated``:
false for the newest of a key that was not merged yet, was set aside, or is past there."""


def select(topic: str) -> str:
    """The SELECT that the view is; ``raw_<topic>`` needs the column ``operation``."""
    of_key = "OVER (PARTITION BY idempotency_key ORDER BY publish_time, ingestion_ts, message_id)"
    return f"""\
WITH versions AS (
    SELECT idempotency_key, message_id, publish_time,
           min(ingestion_ts) AS ingestion_ts, count(*) AS copies, min(json_payload) AS json_payload,
           CASE WHEN min(operation) = 'delete' OR (min(operation) IS NULL AND min(json_payload) IS NULL)
                THEN 'delete' ELSE 'upsert' END AS what
    FROM raw_{topic}
    GROUP BY idempotency_key, message_id, publish_time),
ordered AS (
    SELECT versions.*,
           lead(publish_time) {of_key} AS next_published,
           lead(ingestion_ts) {of_key} AS next_received,
           lead(message_id) {of_key} AS next_message
    FROM versions)
SELECT o.idempotency_key, o.message_id, o.what, o.publish_time AS valid_from, o.next_published AS valid_to,
       o.ingestion_ts AS received, o.copies, o.next_message AS superseded_by,
       CASE WHEN o.next_published IS NULL THEN NULL
            WHEN o.next_published > o.publish_time THEN 'it was published later'
            WHEN o.next_received > o.ingestion_ts THEN 'it was received later'
            ELSE 'its message id is greater' END AS superseded_since,
       c.idempotency_key IS NOT NULL AS stands_in_curated,
       o.json_payload
FROM ordered o
LEFT JOIN curated_{topic} c
    ON c.idempotency_key = o.idempotency_key AND c.message_id = o.message_id
    AND c.publish_time = o.publish_time"""  # noqa: S608 - names of the catalog


def for_athena(topic: str) -> str:
    """The statement that makes the view in Athena, in the database of the environment."""
    return f"CREATE OR REPLACE VIEW {PREFIX}{topic} AS\n{select(topic)}\n"
