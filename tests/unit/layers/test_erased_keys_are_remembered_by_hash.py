"""What is remembered of erased keys tells nobody which they were, and lets none of their rows back in."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from common.layers.erased import (
    Erased,
    Erasure,
    ErasuresUnreadable,
    Hasher,
    Kept,
    object_key,
    remember,
    remembered,
)

HASHER = Hasher(b"secret", "events")
MOMENT: pa.DataType = pa.timestamp("us", "UTC")
UNTIL = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Bucket:
    """Objects by key."""

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})

    def get_object(self, *, Key: str, **_request: Any) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": BytesIO(self.objects[Key])}

    def put_object(self, *, Key: str, Body: bytes, **_request: Any) -> None:
        self.objects[Key] = Body


def erasure(*keys: str, name: str = "e", until: datetime = UNTIL) -> Erasure:
    return Erasure(name, until, tuple(map(HASHER, keys)))


def load(bucket: Any, secret: bytes = b"secret") -> Erased:
    return Erased.load(bucket, "lake", "events", lambda: secret)


def rows(*events: tuple[str | None, datetime]) -> pa.RecordBatch:
    keys, times = zip(*events, strict=True)
    kinds: list[tuple[str, pa.DataType]] = [("idempotency_key", pa.string()), ("publish_time", MOMENT)]
    schema = pa.schema(kinds)
    return pa.RecordBatch.from_arrays([pa.array(keys), pa.array(times, MOMENT)], schema=schema)


def test_the_memory_has_no_key_in_clear_and_no_hash_of_another_topic_or_secret() -> None:
    bucket: Any = Bucket()
    remember(bucket, "lake", "events", HASHER, erasure("person-4711"))
    assert b"person" not in bucket.objects[object_key("events")]
    others = {
        Hasher(b"secret", "weather")("k"),
        Hasher(b"other", "events")("k"),
        Hasher(b"secret", "event")("sk"),
    }
    assert HASHER("k") not in others
    assert len(others) == 3


def test_a_topic_without_erasures_costs_one_request_and_no_secret() -> None:
    erased = Erased.load(Bucket(), "lake", "events", lambda: pytest.fail("asked"))  # type: ignore[arg-type]
    assert not erased
    assert list(erased.kept([rows(("k", UNTIL))])) == [rows(("k", UNTIL))]


def test_what_was_published_later_stays() -> None:
    bucket: Any = Bucket()
    remember(bucket, "lake", "events", HASHER, erasure("k"))
    batch = rows(("k", UNTIL), ("k", UNTIL + timedelta(microseconds=1)), ("other", UNTIL), (None, UNTIL))
    kept = Kept(load(bucket), lambda: [batch])
    assert [b.to_pylist() for b in kept()] == [batch.slice(1).to_pylist()]
    assert kept.left_out == 1
    assert list(Kept(load(bucket), lambda: [batch.slice(0, 1)])()) == []


def test_a_repeated_erasure_is_remembered_once_and_a_later_one_prolongs_it() -> None:
    bucket: Any = Bucket()
    for one in (erasure("k"), erasure("k"), erasure("k", name="f", until=UNTIL + timedelta(days=1))):
        remember(bucket, "lake", "events", HASHER, one)
    memory = remembered(bucket, "lake", "events")
    assert memory is not None
    assert [one.id for one in memory.erasures] == ["e", "f"]
    assert load(bucket).covers("k", int((UNTIL + timedelta(hours=1)).timestamp() * 1_000_000))


def test_another_secret_and_a_damaged_memory_stop_what_reads() -> None:
    bucket: Any = Bucket()
    remember(bucket, "lake", "events", HASHER, erasure("k"))
    with pytest.raises(ErasuresUnreadable, match="pii-key"):
        load(bucket, b"another")
    with pytest.raises(ErasuresUnreadable, match="pii-key"):
        remember(bucket, "lake", "events", Hasher(b"another", "events"), erasure("k"))
    bucket.objects[object_key("events")] = b"{"
    with pytest.raises(ErasuresUnreadable, match="restore the object"):
        load(bucket)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=4), st.integers(-5, 5)), min_size=1),
    st.sets(st.text(max_size=4)),
)
def test_rows_are_told_as_one_by_one(events: list[tuple[str, int]], keys: set[str]) -> None:
    erased = Erased(HASHER, [erasure(*keys)])
    batch = rows(*((key, UNTIL + timedelta(microseconds=after)) for key, after in events))
    assert erased.among(batch).tolist() == [key in keys and after <= 0 for key, after in events]
    assert erased.without_keys(keys).among(batch).tolist() == [False] * len(events)
