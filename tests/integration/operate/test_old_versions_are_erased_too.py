"""In a versioned bucket nothing is left of what an erasure removes or overwrites, and all else stays."""

import base64
import json
from datetime import UTC, datetime
from uuid import uuid4

import pyarrow as pa
import pytest

from common.layers.erased import NOTHING_ERASED
from lean_ops.local.target import LocalTarget
from lean_ops.operate.erase.certificate import wanted
from lean_ops.operate.erase.letters import PLACES, Meant, count_in_objects, erase_from_objects
from lean_ops.operate.erase.objects import Objects
from lean_ops.operate.erase.search import search

UNTIL = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
MEANT = Meant("events", ("events", "weather"), frozenset({"person-4711"}), UNTIL, NOTHING_ERASED)


@pytest.fixture
def objects(target: LocalTarget) -> Objects:
    """A versioned bucket."""
    s3, bucket = target.client("s3"), f"versions-{uuid4()}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return Objects(s3, bucket)


def event(key: str, topic: str = "events", **changes: object) -> str:
    fields = {
        "message_id": "m",
        "idempotency_key": key,
        "topic_name": topic,
        "publish_time": "2026-01-01T00:00:00Z",
    }
    return json.dumps({**fields, "payload": {"n": 1}, **changes})


def archived(*bodies: str) -> bytes:
    lines = (
        {"message_id": "m", "sent_ms": 1, "receive_count": 1, "attributes": {}, "body": b} for b in bodies
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def failed(*records: str) -> bytes:
    lines = ({"errorCode": "x", "rawData": base64.b64encode(record.encode()).decode()} for record in records)
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def contents(objects: Objects) -> dict[str, list[bytes | None]]:
    found: dict[str, list[bytes | None]] = {}
    for one in objects.versions():
        found.setdefault(one.key, []).append(None if one.marker else objects.read(one))
    return found


def test_lines_go_with_every_version_that_had_them(objects: Objects) -> None:
    other = event("person-47112")
    mine, broken = event("person-4711"), event("person-4711")[:-30]
    objects.put("dead-letters/2026-01-01/a.ndjson", archived(mine))  # written over, and still there
    objects.put("dead-letters/2026-01-01/a.ndjson", archived(mine, other, broken))
    objects.put("dead-letters/2026-01-01/b.ndjson", archived(mine))
    objects.put("dead-letters/2026-01-01/c.ndjson", archived(other, event("person-4711", "weather")))
    objects.put("delivery-errors/events/x", failed(mine, other))
    objects.put("delivery-errors/_replayed/events/y", failed(mine) + b'cut off: "person-4711\n')
    untouched = contents(objects)["dead-letters/2026-01-01/c.ndjson"]
    counts = [count_in_objects(objects, MEANT, prefix) for prefix in PLACES.values()]
    assert counts == [3, 3]
    told: list[int] = []
    for prefix in PLACES.values():
        erase_from_objects(objects, MEANT, prefix, told.append)
    assert sum(told) == 6
    assert contents(objects) == {
        "dead-letters/2026-01-01/a.ndjson": [archived(other)],
        "dead-letters/2026-01-01/c.ndjson": untouched,
        "delivery-errors/events/x": [failed(other)],
    }
    assert [count_in_objects(objects, MEANT, prefix) for prefix in PLACES.values()] == [0, 0]


def test_a_deleted_object_is_removed_with_its_versions(objects: Objects) -> None:
    for content in (b"1", b"2"):
        objects.put("raw_events/data/x", content)
    objects.put("raw_events/data/xy", b"another")
    objects.s3.delete_object(Bucket=objects.bucket, Key="raw_events/data/x")
    assert objects.remove_whole(["raw_events/data/x"]) == 3
    assert contents(objects) == {"raw_events/data/xy": [b"another"]}


def test_the_search_looks_into_versions_and_tells_other_rows_apart(objects: Objects) -> None:
    moment: pa.DataType = pa.timestamp("us", "UTC")
    kinds = {"idempotency_key": pa.string(), "publish_time": moment, "note": pa.string()}
    schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()])

    def parquet(*rows: tuple[str, str]) -> bytes:
        table = pa.Table.from_pylist(
            [
                {"idempotency_key": k, "publish_time": datetime(2026, 1, 1, tzinfo=UTC), "note": n}
                for k, n in rows
            ],
            schema=schema,
        )
        stream = pa.BufferOutputStream()
        pa.parquet.write_table(table, stream)
        return stream.getvalue().to_pybytes()

    objects.put("raw_events/data/old.parquet", parquet(("person-4711", "Elm Street 12")))
    objects.s3.delete_object(Bucket=objects.bucket, Key="raw_events/data/old.parquet")
    objects.put(
        "raw_events/data/new.parquet", parquet(("k", "a shared value"), ("k2", '{"parent":"person-4711"}'))
    )
    objects.put("raw_weather/data/other.parquet", parquet(("person-4711", "a note of weather")))
    objects.put("raw_events/data/cut.parquet", parquet(("k", "Elm Street 12"))[:-9])
    objects.put("elsewhere/copy.txt", b"a shared value, and a note: Elm Street 12")
    found = search(objects, wanted(MEANT, ["Elm Street 12", "a shared value"]), objects.versions())
    assert {(one.key, one.what) for one in found.found} == {
        ("raw_events/data/old.parquet", "key"),
        ("raw_events/data/old.parquet", "value"),
        ("elsewhere/copy.txt", "value"),
        # What cannot be decoded may be anybody's.
        ("raw_events/data/cut.parquet", "value"),
    }
    assert found.unread == ["raw_events/data/cut.parquet"]
    assert (found.shared, dict(found.mentioned), found.versions, found.objects) == (
        1,
        {"raw_events": 1, "raw_weather": 1},
        5,
        5,
    )
