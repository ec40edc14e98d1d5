"""Whatever keeps readings from arriving, doctor is not well, says it in one sentence, and what to do."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec
import pytest
from click.testing import Result
from pyiceberg.types import StringType

from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from lean_ops.accounts import observation
from lean_ops.accounts.messages import Message
from lean_ops.environment.target import Target
from lean_ops.local import admin
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline

from ..support import weather

LeanOps = Callable[..., Result]
Send = Callable[[Iterator[Message]], None]


@pytest.fixture(scope="module")
def readings() -> Iterator[Message]:
    """Readings of which each test sends some."""
    return weather.readings(1, 2, every_days=10)


@pytest.fixture(scope="module", autouse=True)
def history(lean_ops: LeanOps, send: Send, readings: Iterator[Message]) -> None:
    """One delivery of weather that was run: all is well."""
    send(islice(readings, 20))
    assert lean_ops("run", "--topic", "weather").exit_code == 0
    said = lean_ops("doctor")
    assert said.exit_code == 0, said.output
    assert "All is well." in said.output


def problems(lean_ops: LeanOps) -> dict[str, str]:
    """What is found and advised by check; each has both, and the exit code is the one of the help."""
    said = lean_ops("doctor", "--json")
    assert said.exit_code == 1, said.output
    document = json.loads(said.output)
    assert document["healthy"] is False
    found = {
        one["check"]: [f for f in one["findings"] if f["severity"] == "problem"] for one in document["checks"]
    }
    assert all(f["found"] and f["advice"] and "\n" not in f["found"] for fs in found.values() for f in fs)
    return {
        check: " / ".join(f"{f['subject']}: {f['found']} → {f['advice']}" for f in fs)
        for check, fs in found.items()
        if fs
    }


@contextmanager
def emptied(target: Target, path: str) -> Iterator[str]:
    """An object of the lake without its content; gives its key."""
    s3 = target.client("s3")
    bucket, key = path.removeprefix("s3://").split("/", 1)
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    try:
        yield key
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=whole)


def test_runs_that_fail_over_an_emptied_manifest(
    target: Target, lean_ops: LeanOps, send: Send, readings: Iterator[Message]
) -> None:
    send(islice(readings, 20))
    table = target.catalog().load_table(target.settings.table("raw", "weather"))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    with emptied(target, snapshot.manifests(table.io)[0].manifest_path) as key:
        assert not ended_well(target)
        found = problems(lean_ops)
        assert key in found["tables"]
        assert "topic weather: its last run ended FAILED" in found["runs"]
        assert "`lean-ops run --topic weather`" in found["runs"]
    # The table is whole again, and still the last run had failed.
    assert set(problems(lean_ops)) == {"runs"}
    assert ended_well(target)
    assert lean_ops("doctor").exit_code == 0


def test_a_manifest_that_is_gone(target: Target, lean_ops: LeanOps) -> None:
    table = target.catalog().load_table(target.settings.table("semantic", "weather"))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    with emptied(target, snapshot.manifests(table.io)[0].manifest_path) as key:
        target.client("s3").delete_object(Bucket=target.lake_bucket, Key=key)
        found = problems(lean_ops)["tables"]
        assert key in found
        assert "restore that object from its last version" in found
    assert lean_ops("doctor").exit_code == 0


def test_runs_that_fail_before_they_have_the_lease(target: Target, lean_ops: LeanOps) -> None:
    s3, place = target.client("s3"), dict[str, Any](Bucket=target.lake_bucket, Key=REGISTRY_KEY)
    registry = s3.get_object(**place)["Body"].read()
    s3.put_object(**place, Body=registry_of({"others": Topic()}).written())
    try:
        assert not ended_well(target)
        both = problems(lean_ops)
        assert "expected events, weather in the registry, found others" in both["topics"]
        found = both["runs"]
        assert (
            "topic weather: its last run ended FAILED before it had the lease: InvalidInput: topic" in found
        )
        assert "`lean-ops run --topic weather`" in found
    finally:
        s3.put_object(**place, Body=registry)
    assert set(problems(lean_ops)) == {"runs"}  # it had failed, whatever is mended since
    assert ended_well(target)
    assert lean_ops("doctor").exit_code == 0


def test_a_table_of_a_stream_that_is_gone(
    target: Target, lean_ops: LeanOps, send: Send, readings: Iterator[Message]
) -> None:
    catalog, name = target.catalog(), target.settings.table("raw", "weather")
    whole = catalog.load_table(name).metadata_location
    catalog.drop_table(name)
    send(islice(readings, 20))
    found = problems(lean_ops)
    assert f"{name}: expected the table, found none → run `lean-ops up`" in found["tables"]
    assert (
        "1 objects of failed deliveries → `lean-ops replay delivery` puts their records back"
        in found["waiting"]
    )
    catalog.register_table(name, whole)
    assert set(problems(lean_ops)) == {"waiting"}
    assert lean_ops("replay", "delivery").exit_code == 0
    assert ended_well(target)
    assert lean_ops("doctor").exit_code == 0


def test_records_that_were_accepted_and_stay_where_they_are(
    target: LocalTarget, lean_ops: LeanOps, readings: Iterator[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that buffers for long; then one that should have delivered, and tells of no failure."""
    source = target.queue_url(target.source_queue)
    with buffers_for_long(target, "weather") as stream:
        target.client("sqs").send_message(QueueUrl=source, MessageBody=next(readings).body)
        held = wait_for_backlog(target, stream)
        said = lean_ops("doctor")
        assert said.exit_code == 0, said.output
        assert f"{held.backlog_bytes:,} bytes of accepted records are on their way to RAW" in said.output
        late = msgspec.structs.replace(held, overdue_s=300.0)
        with monkeypatch.context() as patch:
            patch.setattr(admin, "streams", lambda _endpoint: {stream: late})
            found = problems(lean_ops)["delivery"]
        assert f"found {held.backlog_bytes:,} bytes that wait 300 s longer" in found
        assert "`lean-ops down` and `lean-ops up` start it anew, which loses nothing" in found
        admin.flush(target.endpoints["firehose"])
    assert ended_well(target)
    assert lean_ops("doctor").exit_code == 0


def test_records_that_were_accepted_and_are_gone(target: LocalTarget, lean_ops: LeanOps) -> None:
    """What a stream had not delivered when somebody deleted it."""
    with buffers_for_long(target, "events") as stream:
        assert lean_ops("send", "--events", "30", "--seed", "77").exit_code == 0
        wait_for_backlog(target, stream)
    found = problems(lean_ops)["delivery"]
    assert "different good messages were accepted and are not in RAW or on the way" in found
    assert "send them again with `lean-ops send --resume`" in found
    assert lean_ops("send", "--resume", "--wait").exit_code == 0
    assert lean_ops("doctor").exit_code == 0


@contextmanager
def buffers_for_long(target: LocalTarget, topic: str) -> Iterator[str]:
    """The topic's stream, made anew so that it delivers after a quarter of an hour; as before afterwards."""
    client, name = target.client("firehose"), target.settings.delivery_stream(topic)
    assert target.folder is not None
    created = json.loads((target.folder / "firehose" / name / "definition.json").read_text())
    usual = created["IcebergDestinationConfiguration"]

    def make(destination: dict[str, Any]) -> None:
        client.delete_delivery_stream(DeliveryStreamName=name)
        client.create_delivery_stream(**created | {"IcebergDestinationConfiguration": destination})

    make(usual | {"BufferingHints": {"SizeInMBs": 128, "IntervalInSeconds": 900}})
    yield name
    make(usual)


def wait_for_backlog(target: LocalTarget, stream: str) -> admin.StreamState:
    """The stream once it has taken everything that was in the queue."""
    while True:
        state = admin.streams(target.endpoints["firehose"])[stream]
        if state.backlog_bytes and not observation.in_flight(target):
            return state
        time.sleep(0.05)


def test_a_contract_that_refuses_every_row(
    target: Target, lean_ops: LeanOps, send: Send, readings: Iterator[Message]
) -> None:
    s3 = target.client("s3")
    place: dict[str, Any] = {"Bucket": target.lake_bucket, "Key": "contracts/weather.yaml"}
    whole = s3.get_object(**place)["Body"].read()
    wrong = whole.replace(b"maxLength: 128", b"maxLength: 1")
    assert wrong != whole
    ended_well(target)
    s3.put_object(**place, Body=wrong)
    try:
        send(islice(readings, 20))
        assert ended_well(target)  # the run did its work: that is what hid it
        found = problems(lean_ops)["refused rows"]
        assert "the last run that reached Semantic refused 20 of 20 rows, by rule: station_id:" in found
        assert "`lean-ops replay quarantine --topic weather`" in found
    finally:
        s3.put_object(**place, Body=whole)
    send(islice(readings, 20))
    assert ended_well(target)
    assert lean_ops("doctor").exit_code == 0


def test_a_column_of_another_type_than_the_contract_says(target: Target, lean_ops: LeanOps) -> None:
    catalog, name = target.catalog(), target.settings.table("semantic", "weather")
    whole = catalog.load_table(name).metadata_location
    with catalog.load_table(name).update_schema(allow_incompatible_changes=True) as change:
        change.delete_column("temperature_f")
    with catalog.load_table(name).update_schema() as change:
        change.add_column("temperature_f", StringType())
    found = problems(lean_ops)["tables"]
    assert "expected column temperature_f of the contract's type decimal(5, 1), found string" in found
    assert "`lean-ops rebuild --layer semantic --topic weather`" in found
    catalog.drop_table(name)
    catalog.register_table(name, whole)
    assert lean_ops("doctor").exit_code == 0


def test_rows_of_raw_that_an_older_state_of_the_emulator_took_back(target: Target, lean_ops: LeanOps) -> None:
    catalog, name = target.catalog(), target.settings.table("raw", "events")
    before = catalog.load_table(name).metadata_location
    assert lean_ops("send", "--events", "40", "--wait").exit_code == 0
    assert lean_ops("doctor").exit_code == 0
    after = catalog.load_table(name).metadata_location
    catalog.drop_table(name)
    catalog.register_table(name, before)
    found = problems(lean_ops)["delivery"]
    assert "different good messages were accepted and are not in RAW or on the way" in found
    assert "send them again" in found
    catalog.drop_table(name)
    catalog.register_table(name, after)
    assert lean_ops("doctor").exit_code == 0


def ended_well(target: Target) -> bool:
    """Whether a run of weather that is begun now does its work."""
    arn = pipeline.start(target, "weather")
    for _ in pipeline.follow(target, arn):
        pass
    return pipeline.outcome(target, arn).succeeded
