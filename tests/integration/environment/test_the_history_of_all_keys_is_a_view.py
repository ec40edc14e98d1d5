"""``history_<topic>`` says of every key what one pass over its events says."""

import random
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from common.lake import views
from common.lake.reading import read_rows

from ...support.oracle import every_version, single_pass
from ...support.topic import DELETE, TopicLake, event


def test_the_view_has_every_version_of_every_key_and_says_why_it_was_superseded(tmp_path: Path) -> None:
    draw = random.Random(1)
    events = [
        # The payload goes with the message and its time: copies are the same.
        event(f"k{key}", f"m{message}", minute, DELETE if (message + minute) % 5 == 0 else minute, second)
        for second, (key, message, minute) in enumerate(
            (draw.randint(0, 9), draw.randint(0, 3), draw.choice([0, 60, 61])) for _ in range(90)
        )
    ]
    lake = TopicLake(tmp_path)
    lake.run(*draw.sample(events, len(events)))
    with duckdb.connect() as connection:
        for layer in ("raw", "curated"):
            connection.register(f"{layer}_t", read_rows(lake.table(layer)).read_all())
        found = connection.execute(views.history("t").sql).to_arrow_table()
    lake.close()
    assert found.column_names == [column.name for column in views.history("t").columns]
    rows = sorted(
        found.to_pylist(),
        key=lambda row: (row["idempotency_key"], row["valid_from"], row["received"], row["message_id"]),
    )
    expected = [
        (
            key,
            version["message_id"],
            "delete" if version["json_payload"] is None else "upsert",
            _utc(version["publish_time"]),
            _utc(until),
            _utc(version["ingestion_ts"]),
            version["json_payload"],
        )
        for key, versions in sorted(every_version(events).items())
        for version, until in versions
    ]
    names = ("idempotency_key", "message_id", "what", "valid_from", "valid_to", "received", "json_payload")
    assert [tuple(row[name] for name in names) for row in rows] == expected
    assert sum(row["copies"] for row in rows) == len(events)
    standing = {row["idempotency_key"]: row["message_id"] for row in rows if row["stands_in_curated"]}
    assert standing == {key: e["message_id"] for key, e in single_pass(events).items()}
    assert {row["superseded_since"] for row in rows if row["valid_to"] is None} == {None}
    for row in rows:
        if row["valid_to"] is not None:
            later = row["valid_to"] > row["valid_from"]
            assert (row["superseded_since"] == "it was published later") == later


def _utc(moment: datetime | None) -> datetime | None:
    """As views give it: in UTC, without a zone."""
    return moment and moment.astimezone(UTC).replace(tzinfo=None)


def test_the_statement_for_athena_is_the_view() -> None:
    statement = views.history("meters").create()
    assert statement.startswith("CREATE OR REPLACE VIEW history_meters AS\nWITH versions")
    assert "raw_meters" in statement
    assert "curated_meters" in statement
