"""After `lean-ops erase` no table, no time travel and no byte of the whole state folder knows the key."""

import base64
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from common.lake.reading import read_rows
from common.lake.specifications import LAYERS
from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Kind, Message
from lean_ops.environment.target import Target
from lean_ops.local.stack import Stack
from lean_ops.operate import pipeline

from ..support.pipeline import Send
from ..support.runbook import commands
from ..support.searching import files_with

KEY, DEVICE = "person-4711/reading", "device-of-jo-doe"
CLEAR = (KEY, DEVICE, "secret-message", "12 Elm Street")
PUBLISHED = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
LeanOps = Callable[..., Result]
PAGE = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
COMMANDS = commands(PAGE.partition("\n## Erasure\n")[2])


@pytest.fixture(scope="module")
def ledger(stack: Stack) -> Ledger:
    """What was sent into the stack, where its commands look."""
    return Ledger(stack.folder / "ledger")


def message(number: int, key: str, minute: int = 0, **changes: Any) -> Message:
    device = DEVICE if key == KEY else f"device-{number}"
    payload = {"device": {"id": device, "type": "pump"}, "reading": {"value": number, "unit": "bar"}}
    payload |= {"note": "12 Elm Street"} if key == KEY else {}
    name = f"secret-message-{number}" if key == KEY else f"m-{number}"
    published = PUBLISHED + timedelta(minutes=minute)
    event = {
        "message_id": name,
        "idempotency_key": key,
        "topic_name": "events",
        "publish_time": published.isoformat(),
        "payload": payload,
    }
    body = json.dumps(event | changes)
    return Message(
        body, "events", Kind.ORIGINAL, name, key, int(published.timestamp() * 1e6), violation="unjudged"
    )


def run(target: Target) -> None:
    arn = pipeline.start(target, "events")
    list(pipeline.follow(target, arn))
    assert pipeline.outcome(target, arn).succeeded


@pytest.fixture(scope="module", autouse=True)
def _sent(target: Target, send: Send, lean_ops: LeanOps) -> None:
    """The key in all places: tables, refused, corrected, dead letters, their archive, delivery errors.

    The bucket keeps versions, as on AWS: what runs and the erasure delete is still there as such.
    """
    target.client("s3").put_bucket_versioning(
        Bucket=target.lake_bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    send(iter([message(1, KEY), *(message(number, f"k{number}") for number in range(10, 16))]))
    run(target)
    send(
        iter([message(2, KEY, 1), message(3, KEY, 2, payload={"device": {"id": DEVICE}}), message(20, "k20")])
    )
    run(target)
    broken = Message(
        message(4, KEY, publish_time="today").body, "events", Kind.BROKEN, reject_code="MALFORMED_FIELD"
    )
    send(iter([broken]))
    assert lean_ops("dlq", "archive").exit_code == 0
    record = {**json.loads(message(5, KEY).body), "ingestion_ts": 1, "period_reference": "2026-01"}
    record |= {"correlation_id": None, "publish_time": 1, "json_payload": json.dumps(record.pop("payload"))}
    line = {"errorCode": "x", "rawData": base64.b64encode(json.dumps(record).encode()).decode()}
    target.client("s3").put_object(
        Bucket=target.lake_bucket, Key="delivery-errors/events/x", Body=json.dumps(line).encode() + b"\n"
    )
    for row in ("k20", KEY):  # results of queries: of another key, and of this one
        target.client("s3").put_object(
            Bucket=target.lake_bucket, Key=f"athena-results/{row}.csv", Body=f'"key"\n"{row}"\n'.encode()
        )


@pytest.fixture(scope="module")
def erased(lean_ops: LeanOps, _sent: None) -> dict[str, Any]:
    """What the command says, after a look that changes nothing."""
    seen = lean_ops("erase", "--where", f"device__id = '{DEVICE}'", "--json")
    assert seen.exit_code == 0, (seen.output, seen.exception)
    places = json.loads(seen.stdout)["places"]
    rows = {name: place["rows"] for name, place in places.items()}
    assert rows.pop("raw_events") >= 3  # RAW keeps what the queue hands out twice
    assert rows == {
        "quarantine_events": 1,
        "semantic_events": 1,
        "curated_events": 1,
        "dead-letter queue": 1,
        "dead-letter archive": 1,
        "delivery errors": 1,
    }
    done = lean_ops("erase", "--where", f"device__id = '{DEVICE}'", "--yes", "--json", "--reason", "INC-1")
    assert done.exit_code == 0, (done.output, done.exception)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_no_table_and_no_snapshot_shows_the_key(target: Target, erased: dict[str, Any]) -> None:
    for layer in LAYERS:
        table = target.catalog().load_table(target.settings.table(layer, "events"))
        for snapshot in table.snapshots():
            rows = read_rows(table, columns=["idempotency_key"], snapshot_id=snapshot.snapshot_id).read_all()
            assert KEY not in rows["idempotency_key"].to_pylist()
    (certificate,) = erased["certificates"]
    assert certificate["complete"]
    assert certificate["searched"]["versions"] > certificate["searched"]["objects"]
    assert erased["keys"] == 1
    left = target.client("s3").list_objects_v2(Bucket=target.lake_bucket, Prefix="athena-results/")
    assert [one["Key"] for one in left["Contents"]] == ["athena-results/k20.csv"]


def test_the_ledger_counts_erased_messages_as_erased(
    target: Target, ledger: Ledger, erased: dict[str, Any]
) -> None:
    assert erased
    assert ledger.sent().erased == 4
    assert ledger.reconcile(observation.observe(target)).differences == ()


def test_a_replay_a_late_event_and_a_checkpoint_set_back_bring_nothing_back(
    target: Target, send: Send, lean_ops: LeanOps, erased: dict[str, Any]
) -> None:
    assert erased
    send(iter([message(1, KEY), message(9, KEY, 3)]))
    ran = lean_ops("run", "--topic", "events")
    assert "nothing that was not read or erased before" in " ".join(ran.output.split())
    why = ("--reason", "a test")
    assert lean_ops("checkpoints", "reset", "curated", *why).exit_code == 0
    run(target)
    curated = target.catalog().load_table(target.settings.table("curated", "events"))
    assert KEY not in read_rows(curated).read_all()["idempotency_key"].to_pylist()
    late = lean_ops("erase", "--late", "--yes", "--json", *why)
    assert late.exit_code == 0, (late.output, late.exception)
    assert json.loads(late.stdout)["places"]["raw_events"]["rows"] == 2
    raw = target.catalog().load_table(target.settings.table("raw", "events"))
    assert KEY not in read_rows(raw).read_all()["idempotency_key"].to_pylist()


@pytest.mark.parametrize("keys", [(), ("--key", KEY)], ids=["by hash", "by text"])
def test_a_certificate_is_verified_and_finds_what_was_brought_back(
    target: Target, lean_ops: LeanOps, erased: dict[str, Any], keys: tuple[str, ...], tmp_path: Path
) -> None:
    certificate = erased["certificates"][0]
    again = lean_ops("erase", "verify", certificate["id"], "--json", *keys)
    assert again.exit_code == 0, (again.output, again.exception)
    assert json.loads(again.stdout)["found"] == []
    planted = {
        "message_id": "x",
        "sent_ms": 1,
        "receive_count": 1,
        "attributes": {},
        "body": message(1, KEY).body,
    }
    s3, place = target.client("s3"), "dead-letters/2026-01-01/planted.ndjson"
    put = s3.put_object(Bucket=target.lake_bucket, Key=place, Body=json.dumps(planted).encode())
    try:
        file = tmp_path / "certificate.json"
        file.write_text(json.dumps(certificate))
        found = lean_ops("erase", "verify", str(file), "--json", *keys)
        assert found.exit_code == 1
        assert {one["key"] for one in json.loads(found.stdout)["found"]} == {place}
    finally:
        s3.delete_object(Bucket=target.lake_bucket, Key=place, VersionId=put["VersionId"])


def test_the_runbook_has_commands() -> None:
    assert len(COMMANDS) == 4
    assert {command.split()[0] for command in COMMANDS} == {"erase"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_the_runbook_has_it(
    command: str, lean_ops: LeanOps, erased: dict[str, Any]
) -> None:
    certificate = erased["certificates"][0]["id"]
    result = lean_ops(*shlex.split(command.replace("OPERATION_ID", certificate).replace("KEY", KEY)))
    assert result.exit_code == 0, (result.exception, result.output)


def test_no_byte_of_the_stopped_stack_knows_it(stack: Stack, erased: dict[str, Any]) -> None:
    assert erased
    stack.down()
    try:
        assert files_with(stack.folder, *CLEAR) == {}
    finally:
        stack.up()


def test_the_search_has_something_to_find(tmp_path: Path) -> None:
    (tmp_path / "letter.ndjson").write_text(message(1, KEY).body)
    assert list(files_with(tmp_path, *CLEAR).values()) == [list(CLEAR)]
