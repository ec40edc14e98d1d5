"""What Firehose could not deliver goes to its stream again; lines leave their object once it was accepted."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from pyiceberg.table import Table

from common.intake.events import RawRecord
from common.lake.merge.streams import open_output
from common.lake.rule import EVENT_RULE
from common.lake.upkeep import CompactionPolicy, compact
from common.runtime.errors import TransientError
from common.runtime.retrying import RetryPolicy
from lean_ops.environment import audit
from lean_ops.local import admin
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate.doctor import intake
from lean_ops.operate.replay import deliveries
from lean_ops.operate.replay.deliveries import FailedDeliveries
from lean_ops.operate.replay.error_objects import REPLAYED_PREFIX
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.selection import Selection

NOON_US = int(datetime(2026, 2, 28, 12, tzinfo=UTC).timestamp()) * 1_000_000
KEY = "delivery-errors/events/iceberg-failed/2026/02/28/12/stream-000001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    stack = Stack(tmp_path_factory.mktemp("stack"), tied_to_parent=True)
    stack.up()
    provision(LocalTarget.running(stack.folder), Tuning(buffer_interval_s=60))
    yield stack.folder
    stack.down(wipe=True)


@pytest.fixture
def target(folder: Path) -> Iterator[LocalTarget]:
    target = LocalTarget.running(folder)
    yield target
    for key in keys(target):
        target.client("s3").delete_object(Bucket=target.lake_bucket, Key=key)
    if delivered(target):
        raw(target).delete()


def record(name: str, topic: str = "events") -> bytes:
    text = f'{{"n": 1.10, "käse": "{name}"}}'
    return msgspec.json.encode(RawRecord(name, "k", topic, "2026-02", None, NOON_US, NOON_US + 7, text))


def failed(data: bytes, code: str = "Iceberg.X") -> bytes:
    raw_data = base64.b64encode(data).decode()
    return json.dumps({"errorCode": code, "arrivalTimestamp": 1_000, "rawData": raw_data}).encode()


def put(target: LocalTarget, *lines: bytes, key: str = KEY) -> None:
    target.client("s3").put_object(Bucket=target.lake_bucket, Key=key, Body=b"\n".join(lines))


def keys(target: LocalTarget, prefix: str = "delivery-errors/") -> list[str]:
    answer = target.client("s3").list_objects_v2(Bucket=target.lake_bucket, Prefix=prefix)
    return [entry["Key"] for entry in answer.get("Contents", [])]


def content(target: LocalTarget, key: str) -> bytes:
    return target.client("s3").get_object(Bucket=target.lake_bucket, Key=key)["Body"].read()


def raw(target: LocalTarget) -> Table:
    return target.catalog().load_table(target.settings.table("raw", "events"))


def delivered(target: LocalTarget) -> list[dict[str, Any]]:
    admin.flush(target.endpoints["firehose"])
    return raw(target).scan().to_arrow().sort_by("message_id").to_pylist()


def replay(
    target: LocalTarget, selection: Selection | None = None, **options: Any
) -> tuple[audit.Entry, FailedDeliveries]:
    chosen = selection or Selection()
    with audit.operation(target, "replay.delivery") as entry:
        objects = deliveries.error_objects(target, chosen)
        done = deliveries.replay(target, objects, chosen, entry, pace=Pace(), **options)
    return entry, done


def test_records_are_delivered_as_they_were_with_their_first_ingestion_time(target: LocalTarget) -> None:
    put(target, *(failed(record(f"m-{i:04}")) for i in range(1200)))
    entry, done = replay(target)
    rows = delivered(target)
    assert [row["message_id"] for row in rows] == [f"m-{i:04}" for i in range(1200)]
    assert {row["ingestion_ts"] for row in rows} == {datetime(2026, 2, 28, 12, 0, 0, 7, tzinfo=UTC)}
    assert rows[0]["json_payload"] == '{"n": 1.10, "käse": "m-0000"}'
    assert (entry.counts["sent"], entry.counts["objects"], done.stuck) == (1200, 1, {})


def test_an_object_that_is_done_is_kept_beside_and_not_replayed_again(target: LocalTarget) -> None:
    put(target, failed(record("m-1")))
    entry, _ = replay(target)
    assert keys(target) == [
        f"{REPLAYED_PREFIX}events/iceberg-failed/2026/02/28/12/stream-000001-{entry.operation_id}"
    ]
    again, _ = replay(target)
    assert again.counts["sent"] == 0
    assert len(delivered(target)) == 1


def test_lines_that_are_not_meant_or_malformed_stay_in_their_object(target: LocalTarget) -> None:
    lines = [
        failed(record("m-1"), "Iceberg.A"),
        failed(record("m-2"), "Iceberg.B"),
        b"{broken",
        failed(b'{"message_id": "m-3"}', "Iceberg.A"),
    ]
    put(target, *lines)
    _, done = replay(target, Selection(reasons=frozenset({"Iceberg.A"})))
    assert [row["message_id"] for row in delivered(target)] == ["m-1"]
    assert content(target, KEY).splitlines() == lines[1:]
    assert done.stuck.keys() == {f"{KEY}, line 3", f"{KEY}, line 4"}
    assert "every column of RAW" in done.stuck[f"{KEY}, line 4"]


def test_topics_and_times_prune_the_objects_that_are_read(target: LocalTarget) -> None:
    put(target, failed(record("m-1")))
    put(target, failed(record("w-1", "weather")), key=KEY.replace("events", "weather"))
    chosen = deliveries.error_objects(target, Selection(topic="weather"))
    assert [entry.key for entry in chosen] == [KEY.replace("events", "weather")]
    assert deliveries.error_objects(target, Selection(since=datetime(2100, 1, 1, tzinfo=UTC))) == []
    assert len(deliveries.error_objects(target, Selection(since=datetime(2000, 1, 1, tzinfo=UTC)))) == 2


def test_a_look_counts_and_moves_nothing(target: LocalTarget) -> None:
    put(target, failed(record("m-1")), failed(record("m-2")), b"{")
    chosen = Selection(ids=frozenset({"m-2"}))
    found = deliveries.look(target, deliveries.error_objects(target, Selection()), chosen)
    assert (found.tally.total, found.others, list(found.stuck)) == (1, 1, [f"{KEY}, line 3"])
    assert keys(target) == [KEY]


def uncommitted_file(target: LocalTarget, *names: str, file: str = "a.parquet") -> str:
    """A data file as Firehose writes one, that no snapshot names."""
    table = raw(target)
    rows = [msgspec.json.decode(record(name)) for name in names]
    for row in rows:
        for column in ("publish_time", "ingestion_ts"):
            row[column] = datetime.fromtimestamp(row[column] / 1e6, UTC)
    path = f"{table.location()}/data/publish_day=2026-02-28/{file}"
    with open_output(table.io, path) as stream:
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()), stream)
    return path


def test_rows_of_files_that_were_never_committed_are_sent(target: LocalTarget) -> None:
    path = uncommitted_file(target, "m-1", "m-2")
    put(target, json.dumps({"errorCode": "Iceberg.CommitFailed", "files": [path]}).encode())
    entry, _ = replay(target)
    rows = delivered(target)
    assert [row["message_id"] for row in rows] == ["m-1", "m-2"]
    assert rows[0]["ingestion_ts"] == datetime(2026, 2, 28, 12, 0, 0, 7, tzinfo=UTC)
    assert rows[0]["json_payload"] == '{"n": 1.10, "käse": "m-1"}'
    assert (entry.counts["sent"], entry.counts["files"], entry.counts["committed"]) == (2, 1, 0)
    assert KEY not in keys(target)


def test_a_file_that_the_table_has_after_all_is_not_sent_again(target: LocalTarget) -> None:
    table = raw(target)
    table.append(
        pa.Table.from_pylist(
            [
                {"message_id": "m-1", "publish_time": datetime(2026, 2, 28, 12, tzinfo=UTC)},
            ],
            schema=table.schema().as_arrow(),
        )
    )
    (task,) = table.scan().plan_files()
    put(target, json.dumps({"files": [task.file.file_path]}).encode())
    entry, _ = replay(target)
    assert (entry.counts["sent"], entry.counts["committed"]) == (0, 1)
    assert len(delivered(target)) == 1
    assert KEY not in keys(target)


def test_a_file_that_was_committed_and_compacted_since_is_not_sent_again(target: LocalTarget) -> None:
    table = raw(target)
    for name in ("m-1", "m-2"):
        row = {
            "message_id": name,
            "idempotency_key": "k",
            "publish_time": datetime(2026, 2, 28, 12, tzinfo=UTC),
        }
        table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
    paths = [task.file.file_path for task in table.scan().plan_files()]
    identifier = ".".join(table.name())
    compact(target.catalog(), identifier, EVENT_RULE, run_id="t", policy=CompactionPolicy(files=1))
    table.refresh()
    table.maintenance.expire_snapshots().older_than(datetime.now(UTC) + timedelta(days=1)).commit()
    assert len(table.snapshots()) == 1
    put(target, json.dumps({"files": paths}).encode())
    entry, _ = replay(target)
    assert (entry.counts["sent"], entry.counts["committed"]) == (0, 2)
    assert KEY not in keys(target)


def test_a_file_of_which_the_table_has_only_some_events_is_sent(target: LocalTarget) -> None:
    table = raw(target)
    path = uncommitted_file(target, "m-1", "m-2")
    row = msgspec.json.decode(record("m-1"))
    moments = {c: datetime.fromtimestamp(row[c] / 1e6, UTC) for c in ("publish_time", "ingestion_ts")}
    table.append(pa.Table.from_pylist([row | moments], schema=table.schema().as_arrow()))
    put(target, json.dumps({"files": [path]}).encode())
    entry, _ = replay(target)
    assert (entry.counts["sent"], entry.counts["committed"]) == (2, 0)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("s3://lean-ops-local-lake/raw_events/data/gone.parquet", "found none: orphan removal has taken it"),
        ("s3://lean-ops-local-lake/semantic_events/data/a.parquet", "expected files under s3://"),
    ],
)
def test_a_file_that_is_gone_or_of_another_table_is_named_and_its_line_stays(
    target: LocalTarget, path: str, why: str
) -> None:
    put(target, json.dumps({"files": [path]}).encode(), failed(record("m-1")))
    _, done = replay(target)
    assert why in done.stuck[f"{KEY}: {path}"]
    assert [row["message_id"] for row in delivered(target)] == ["m-1"]
    assert json.loads(content(target, KEY)) == {"files": [path]}


def test_a_stream_that_keeps_refusing_ends_the_replay_with_nothing_lost(
    target: LocalTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(target, *(failed(record(f"m-{i:04}")) for i in range(700)))
    put(target, failed(record("m-9")), key=f"{KEY}-2")
    calls = 0

    class Slow:
        """Accepts the first call and no other."""

        def __init__(self, client: Any) -> None:
            self._client = client

        def put_record_batch(self, **request: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise ClientError({"Error": {"Code": "ServiceUnavailableException"}}, "PutRecordBatch")
            return self._client.put_record_batch(**request)

    client = LocalTarget.client
    with monkeypatch.context() as patch:
        patch.setattr(
            LocalTarget,
            "client",
            lambda self, s: Slow(client(self, s)) if s == "firehose" else client(self, s),
        )
        with pytest.raises(TransientError, match=r"ServiceUnavailableException; they stay in"):
            replay(target, retry=RetryPolicy(attempts=2, sleep=lambda _s: None))
    assert sorted(keys(target)) == [KEY, f"{KEY}-2"]
    stopped = audit.entries(target, operation="replay.delivery", limit=1)[0]
    assert (stopped.outcome, stopped.counts["sent"]) == (audit.Outcome.FAILED, 500)
    replay(target)
    assert {row["message_id"] for row in delivered(target)} == {f"m-{i:04}" for i in range(700)} | {"m-9"}
    assert not [key for key in keys(target) if not key.startswith(REPLAYED_PREFIX)]


def cut(target: LocalTarget, path: str) -> None:
    """Leave half of a data file."""
    bucket, _, key = path.removeprefix("s3://").partition("/")
    s3 = target.client("s3")
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=body[: len(body) // 2])


def test_whatever_is_damaged_or_odd_is_named_and_stays_and_everything_else_is_delivered(
    target: LocalTarget,
) -> None:
    path = uncommitted_file(target, "m-9", file="cut.parquet")
    cut(target, path)
    gone = "delivery-errors/removed/iceberg-failed/2026/02/28/12/stream-1"
    odd = [
        json.dumps({"rawData": "käse"}).encode(),
        b"[" * 5_000,
        failed(b'{"message_id":' + b"[" * 5_000),
        json.dumps({"files": [path]}).encode(),
        b"\xff\xfe",
    ]
    timeless = json.loads(failed(record("m-2")))
    put(target, failed(record("m-0", "removed")), key=gone)
    put(target, failed(record("m-1")), *odd, json.dumps({**timeless, "arrivalTimestamp": 10**18}).encode())
    put(target, failed(record("m-3")), key=f"{KEY}-2")
    put(target, b"", key=f"{KEY}-empty")
    put(target, b"", b" ", key=f"{KEY}-blank")
    entry, done = replay(target)
    assert [row["message_id"] for row in delivered(target)] == ["m-1", "m-2", "m-3"]
    assert content(target, KEY).splitlines() == odd
    assert done.stuck.keys() == {
        gone,
        f"{KEY}: {path}",
        *(f"{KEY}, line {number}" for number in (2, 3, 4, 6)),
    }
    assert "was topic removed removed?" in done.stuck[gone]
    assert "ArrowInvalid" in done.stuck[f"{KEY}: {path}"]
    assert (entry.counts["sent"], entry.counts["empty"], done.tally.total) == (3, 2, 3)
    (shown,) = intake.dead_letters(target)
    assert shown.found.startswith("2 objects of failed deliveries; 4 of their lines cannot be replayed")
    assert sorted(k for k in keys(target) if not k.startswith(REPLAYED_PREFIX)) == sorted([gone, KEY])


def test_an_empty_error_object_is_nothing_that_waits(target: LocalTarget) -> None:
    put(target, b"")
    assert list(intake.dead_letters(target)) == []


def test_a_stream_that_refuses_keeps_no_other_topic_from_going_on(
    target: LocalTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather = KEY.replace("events", "weather")
    put(target, failed(record("m-1")))
    put(target, failed(record("w-1", "weather")), key=weather)

    class Refusing:
        def __init__(self, client: Any) -> None:
            self._client = client

        def put_record_batch(self, *, DeliveryStreamName: str, Records: Any) -> Any:
            if DeliveryStreamName.endswith("events"):
                raise ClientError({"Error": {"Code": "ServiceUnavailableException"}}, "PutRecordBatch")
            return self._client.put_record_batch(DeliveryStreamName=DeliveryStreamName, Records=Records)

    client = LocalTarget.client
    with monkeypatch.context() as patch:
        patch.setattr(
            LocalTarget,
            "client",
            lambda self, s: Refusing(client(self, s)) if s == "firehose" else client(self, s),
        )
        with pytest.raises(TransientError, match="they stay in their error object"):
            replay(target, retry=RetryPolicy(attempts=1))
    assert [key for key in keys(target) if not key.startswith(REPLAYED_PREFIX)] == [KEY]


def test_two_replays_at_once_deliver_everything_and_neither_ends_over_what_the_other_took(
    target: LocalTarget,
) -> None:
    put(target, failed(record("m-1"), "Iceberg.A"), failed(record("m-2"), "Iceberg.B"))
    put(target, failed(record("m-3")), key=f"{KEY}-2")
    put(target, failed(record("m-4")), key=f"{KEY}-3")
    second: list[FailedDeliveries] = []

    def meanwhile(done: int) -> None:
        if done == 1:
            second.append(replay(target)[1])

    _, first = replay(target, on_progress=meanwhile)
    assert (first.tally.total, second[0].tally.total) == (2, 2)
    assert first.stuck == second[0].stuck == {}
    assert [row["message_id"] for row in delivered(target)] == ["m-1", "m-2", "m-3", "m-4"]
    assert not [key for key in keys(target) if not key.startswith(REPLAYED_PREFIX)]
