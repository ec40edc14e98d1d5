"""A record that cannot be written goes to the error prefix, its neighbours into the table, in one commit."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pyiceberg.io.pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog

from common.lake.rule import EVENT_RULE
from common.lake.specifications import TableSpec
from common.lake.upkeep import CompactionPolicy, compact
from lean_ops.local.delivery import DeliveryStream, Services, StreamDefinition
from lean_ops.local.firehose import Firehose

from ...support.catalog import LocalCatalog
from ...support.generated import cases

SPECIFICATIONS = Path(__file__).parents[3] / "modules/storage/tables"
TABLE = "lake.raw_events"
CONFIGURATION = {
    "DestinationTableConfigurationList": [
        {"DestinationDatabaseName": "lake", "DestinationTableName": "raw_events"}
    ],
    "S3Configuration": {"BucketARN": "arn:aws:s3:::lake", "ErrorOutputPrefix": "errors/"},
}
# As long as Iceberg's default bounds, so that the next character is cut; what a key may begin with.
EDGES = [
    *("a" * 16, "a" * 15 + "\ud7ff", "a" * 15 + "\U0010ffff", "\U0010ffff" * 16, "\ud7ff" * 16, "\uffff" * 16)
]


class Bucket:
    """Keeps what is put."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        self.objects[f"{Bucket}/{Key}"] = Body

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.objects.values() for line in body.splitlines()]


def record(key: str, **changes: Any) -> bytes:
    row = {
        "message_id": key,
        "idempotency_key": key,
        "topic_name": "events",
        "period_reference": "2026-01",
        "correlation_id": None,
        "publish_time": 1_767_225_600_000_000,
        "ingestion_ts": 1_767_225_600_000_000,
        "json_payload": "{}",
        "operation": None,
        "source": None,
    }
    return json.dumps(row | changes).encode()


class Lake:
    """RAW behind a SQL catalog, with the metrics that ``properties`` say, and a stream into it."""

    def __init__(self, root: Path, **properties: str) -> None:
        self.catalog: Catalog = LocalCatalog(root)
        self.catalog.create_namespace("lake")
        table = TableSpec.load(SPECIFICATIONS, "raw").create(self.catalog, TABLE)
        with table.transaction() as change:
            change.set_properties({"write.metadata.metrics.default": "truncate(16)", **properties})
        self.bucket = Bucket()
        nothing: Any = None  # no stream here has a function
        self.services = Services(self.catalog, cast("Any", self.bucket), nothing)
        self.stream = DeliveryStream(StreamDefinition("s", "arn:x", CONFIGURATION), root / "s", self.services)

    @property
    def keys(self) -> list[str]:
        rows = self.catalog.load_table(TABLE).scan().to_arrow()
        keys: list[Any] = rows["idempotency_key"].to_pylist()
        return sorted(keys)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def lake_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lake]:
    return lambda **properties: Lake(tmp_path_factory.mktemp("lake"), **properties)


@settings(
    max_examples=cases(6),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    keys=st.lists(
        st.builds(str.__add__, st.sampled_from(EDGES), st.sampled_from(["", "x", "\ud7ff", "\0"])),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    metrics=st.sampled_from(["truncate(16)", "truncate(1)", "full"]),
)
def test_a_key_of_any_characters_is_delivered_and_compacted(
    lake_factory: Callable[..., Lake], keys: list[str], metrics: str
) -> None:
    lake = lake_factory(**{"write.metadata.metrics.default": metrics})
    for key in keys:
        lake.stream.accept([record(key)])
        lake.stream.flush()
    compact(lake.catalog, TABLE, EVENT_RULE, run_id="tidy", policy=CompactionPolicy(files=1))
    assert (lake.keys, lake.bucket.lines) == (sorted(keys), [])
    for key in keys:
        found = lake.catalog.load_table(TABLE).scan(row_filter=f"idempotency_key = '{key}'").to_arrow()
        assert found.num_rows == 1


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, {0, 5, 11}, set(range(12))])
def test_records_that_cannot_be_written_are_found_and_the_others_are_one_commit(
    lake: Lake, bad: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def falls_over(text: str, length: int | None) -> str | None:
        if "worse" in text:
            raise OverflowError("this record")
        return text[:length] + "~"

    monkeypatch.setattr(pyiceberg.io.pyarrow, "truncate_upper_bound_text_string", falls_over)
    lake.stream.accept([record(f"{'worse' if n in bad else 'good'}-{n:02d}") for n in range(12)])
    lake.stream.flush()
    assert lake.keys == [f"good-{n:02d}" for n in range(12) if n not in bad]
    assert len(lake.catalog.load_table(TABLE).snapshots()) == (len(bad) < 12)
    assert {line["errorCode"] for line in lake.bucket.lines} == {"Iceberg.InvalidRecord"}
    assert len(lake.bucket.lines) == len(bad)
    assert all("OverflowError" in line["errorMessage"] for line in lake.bucket.lines)
    assert lake.stream.backlog_bytes == 0


def test_a_table_that_takes_no_row_at_all_keeps_its_records_waiting(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_arguments: Any, **_named: Any) -> None:
        raise ValueError("no manifest list")

    lake.stream.accept([record("a"), record("b")])
    with monkeypatch.context() as fault:
        fault.setattr("pyiceberg.table.Transaction.append", damaged)
        with pytest.raises(ValueError, match="no manifest list"):
            lake.stream.flush()
    assert (lake.bucket.lines, lake.stream.backlog_bytes > 0) == ([], True)
    lake.stream.flush()
    assert lake.keys == ["a", "b"]


def test_a_record_nested_deeper_than_the_reader_goes_is_refused_alone(lake: Lake) -> None:
    deep = record("deep")[:-1] + b',"more":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    lake.stream.accept([record("a"), deep, record("b")])
    lake.stream.flush()
    assert (lake.keys, len(lake.bucket.lines)) == (["a", "b"], 1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"DeliveryStreamName": 7}']
)
def test_a_damaged_definition_keeps_no_other_stream_from_being_there_and_its_records_are_delivered_later(
    tmp_path: Path, content: bytes
) -> None:
    lake = Lake(tmp_path)
    folder = tmp_path / "streams"
    request = {"IcebergDestinationConfiguration": CONFIGURATION}
    first = Firehose(folder, lake.services, "eu-west-1", "0")
    for name in ("a", "b"):
        first.create_delivery_stream(json.dumps({**request, "DeliveryStreamName": name}).encode())
        data = base64.b64encode(record(f"of {name}")).decode()
        first.put_record(json.dumps({"DeliveryStreamName": name, "Record": {"Data": data}}).encode())
    first.close()
    (folder / "a" / "definition.json").write_bytes(content)
    (folder / "b" / "journal" / "notes.wal").write_bytes(b"none of ours")
    second = Firehose(folder, lake.services, "eu-west-1", "0")
    assert (second.flush(), lake.keys) == ({}, ["of b"])
    assert list(second.health()["damaged"]) == ["a"]
    second.create_delivery_stream(json.dumps({**request, "DeliveryStreamName": "a"}).encode())
    assert (second.flush(), lake.keys, second.health()["damaged"]) == ({}, ["of a", "of b"], {})
