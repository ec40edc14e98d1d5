"""A newcomer's way, with its mistakes: sent and waited for, run too early, refused, damaged."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lean_ops.accounts import observation
from lean_ops.environment.target import Target, TargetUnreachable
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget

LeanOps = Callable[..., Result]
# Of an hour: a run opens files of few partitions.
SEND = ("send", "--days", "0.05")


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    """Readings that a person took, which know nothing of the contract of ``events``."""
    path = tmp_path / "readings.csv"
    path.write_text(
        "sensor_id,taken_at,temp\n" + "".join(f"s{n},2026-0{n}-01 10:00,{n}\n" for n in (1, 2, 3))
    )
    return path


def own(path: Path) -> list[str]:
    return ["send", "--file", str(path), "--key", "sensor_id,taken_at", "--time", "taken_at"]


def switch_queue(target: Target, *, on: bool) -> None:
    client = target.client("lambda")
    (mapping,) = client.list_event_source_mappings()["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)


def test_what_was_sent_and_waited_for_is_found_by_the_next_run(lean_ops: LeanOps) -> None:
    sent = lean_ops(*SEND, "--events", "400", "--wait")
    assert sent.exit_code == 0, sent.output
    assert "different good messages are in RAW. Next: `lean-ops run`." in sent.output
    ran = lean_ops("run")
    assert ran.exit_code == 0, ran.output
    assert "rows of RAW read:" in ran.output
    assert "Semantic:" in ran.output
    again = lean_ops("run")
    assert "RAW of events held nothing that was not read or erased before." in again.output


def test_a_run_too_early_says_what_is_on_the_way(target: Target, lean_ops: LeanOps) -> None:
    switch_queue(target, on=False)
    try:
        sent = lean_ops(*SEND, "--events", "50", "--seed", "2")
        assert "`lean-ops send --wait` waits for that" in sent.output
        ran = lean_ops("run")
        assert ran.exit_code == 0
        assert "held nothing that was not read or erased before" in ran.output
        assert "Still on the way to RAW: 50 messages in the queue" in ran.output
    finally:
        switch_queue(target, on=True)


def test_waiting_ends_when_nothing_moves(
    target: Target, lean_ops: LeanOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTarget, "delivery_patience_s", 1.0)
    assert lean_ops(*SEND, "--events", "1", "--seed", "3", "--wait").exit_code == 0  # all earlier ones are in
    switch_queue(target, on=False)
    try:
        sent = lean_ops(*SEND, "--events", "60", "--seed", "4", "--wait")
        assert sent.exit_code == 1
        assert "different messages are not in RAW, nothing moves, the queue has 60 messages." in sent.output
        assert "`lean-ops doctor` says what holds them" in sent.output
    finally:
        switch_queue(target, on=True)


def test_a_run_that_refuses_everything_says_so_by_rule_with_the_next_command(
    lean_ops: LeanOps, readings: Path
) -> None:
    assert lean_ops(*SEND, "--events", "1", "--seed", "5", "--wait").exit_code == 0
    lean_ops("run")
    sent = lean_ops(*own(readings), "--wait")
    assert sent.exit_code == 0, sent.output
    ran = lean_ops("run")
    assert ran.exit_code == 0, ran.output
    assert "3 rows of RAW read: 3 new and 0 corrected rows in Curated." in ran.output
    assert "No row was published: all 3 refused by the contract, by rule:" in ran.output
    assert "device_id:missing 3" in ran.output
    command = ran.output.split('Look: `lean-ops query "', 1)[1].split('"`', 1)[0]
    assert lean_ops("query", command).exit_code == 0
    assert "`lean-ops replay quarantine --topic events`" in ran.output


def test_the_same_as_json(lean_ops: LeanOps, readings: Path) -> None:
    readings.write_text(readings.read_text().replace("2026-0", "2025-0"))
    sent = json.loads(lean_ops(*own(readings), "--wait", "--json").output)
    assert sent["arrived"] == {"sent": 3, "missing": 0, "in_queue": 0}
    done = json.loads(lean_ops("run", "--json").output)["report"]
    assert (done["curated"]["rows_read"], done["quarantined"]) == (3, 3)
    assert done["refused"]["device_id:missing"] == 3


def test_a_damaged_table_is_a_sentence_of_every_command(target: Target, lean_ops: LeanOps) -> None:
    assert lean_ops(*SEND, "--events", "20", "--seed", "8", "--wait").exit_code == 0
    assert lean_ops("run").exit_code == 0
    table = target.catalog().load_table(target.settings.table("curated", "events"))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    s3, bucket = target.client("s3"), target.lake_bucket
    keys = [one.manifest_path.removeprefix(f"s3://{bucket}/") for one in snapshot.manifests(table.io)]
    whole = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    assert lean_ops(*SEND, "--events", "200", "--seed", "6", "--wait").exit_code == 0
    try:
        for key in keys:  # a run reads those that its rows may be in
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        for command in (["tables"], ["query", "SELECT count(*) FROM curated_events"], ["run"], ["doctor"]):
            done = lean_ops(*command)
            assert done.exit_code == 1, (command, done.output)
            said = done.output + str(done.exception or "")
            assert "lean_ops_local.curated_events: expected to read s3://" in " ".join(said.split()), command
            assert any(key in said for key in keys), command
        # One damaged table keeps nobody from the others.
        assert lean_ops("query", "SELECT count(*) FROM raw_events").exit_code == 0
        assert "raw_events" in lean_ops("tables").output
    finally:
        for key, content in whole.items():
            s3.put_object(Bucket=bucket, Key=key, Body=content)
    assert lean_ops("tables").exit_code == 0
    assert lean_ops("run").exit_code == 0


def test_what_a_killed_emulator_took_back_is_said_by_the_ledger_and_sent_again(
    target: Target, stack: Stack, lean_ops: LeanOps
) -> None:
    switch_queue(target, on=False)
    assert lean_ops(*SEND, "--events", "300", "--seed", "9").exit_code == 0
    record = stack.status().record
    assert record is not None
    os.kill(record.emulator.pid, signal.SIGKILL)
    while record.emulator.running():
        time.sleep(0.01)
    stopped = lean_ops("run")
    assert isinstance(stopped.exception, TargetUnreachable)
    assert "start it again with `lean-ops up`" in str(stopped.exception)
    # The most that a kill can take back: everything that the queue ever accepted.
    (stack.folder / "emulator" / "sqs.json").unlink()

    came_back = lean_ops("up")
    assert came_back.exit_code == 0, came_back.output
    assert "The emulator had not been stopped in order" in came_back.output
    assert "different good messages are neither in RAW nor in the queue" in came_back.output
    assert "lean-ops send --resume    (simulated devices)" in came_back.output
    switch_queue(LocalTarget.running(stack.folder), on=True)
    again = lean_ops("send", "--resume", "--wait")
    assert again.exit_code == 0, again.output
    assert "different good messages are in RAW" in again.output


def test_a_kill_that_took_nothing_back_is_said_too(stack: Stack, lean_ops: LeanOps) -> None:
    # Not the target of the file: a stack that was started again may have other ports.
    assert observation.settle(LocalTarget.running(stack.folder), timeout_s=300) == 0
    record = stack.status().record
    assert record is not None
    os.kill(record.emulator.pid, signal.SIGKILL)
    while record.emulator.running():
        time.sleep(0.01)
    assert "By the ledger nothing is lost" in lean_ops("up").output
    assert "The emulator" not in lean_ops("up").output
