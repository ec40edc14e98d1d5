"""With too little room on the disk the local emulator refuses what it would have to keep, and only that."""

import asyncio
import errno
import signal
import sys
from pathlib import Path
from typing import Any, Never

import pytest

from lean_ops import cli
from lean_ops.local import disk

KEPT = [
    ("sqs", "POST", "AmazonSQS.SendMessageBatch", {}),
    ("dynamodb", "POST", "DynamoDB_20120810.PutItem", {}),
    ("dynamodb", "POST", "DynamoDB_20120810.UpdateItem", {}),
    ("glue", "POST", "AWSGlue.UpdateTable", {}),
    ("states", "POST", "AWSStepFunctions.StartExecution", {}),
    ("s3", "PUT", "", {}),
    ("s3", "POST", "", {"uploads": [""]}),
]
LET_BE = [
    ("sqs", "POST", "AmazonSQS.ReceiveMessage", {}),
    ("sqs", "POST", "AmazonSQS.DeleteMessageBatch", {}),
    ("dynamodb", "POST", "DynamoDB_20120810.GetItem", {}),
    ("glue", "POST", "AWSGlue.GetTable", {}),
    ("states", "POST", "AWSStepFunctions.DescribeExecution", {}),
    ("s3", "GET", "", {}),
    ("s3", "DELETE", "", {}),
    ("s3", "POST", "", {"delete": [""]}),
]


def ask(folder: Path, service: str, method: str, action: str, query: dict[str, Any]) -> tuple[int, bytes]:
    async def answer(*_request: Any) -> disk.Answer:
        return 200, {}, b"done"

    headers = {"X-Amz-Target": action} if action else {}
    guarded: Any = disk.guard(service, answer, folder)(method, "/", headers, b"", query)
    status, _, body = asyncio.run(guarded)
    return status, body


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RESERVE_BYTES", 2**62)


@pytest.mark.parametrize("request_", KEPT + LET_BE)
def test_with_room_everything_goes_on(tmp_path: Path, request_: Any) -> None:
    assert disk.shortage(tmp_path) == ""
    assert ask(tmp_path, *request_) == (200, b"done")


@pytest.mark.parametrize("request_", KEPT)
def test_without_room_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: Any) -> None:
    shrink(monkeypatch)
    status, body = ask(tmp_path, *request_)
    assert status == 507
    assert b"InsufficientStorage" in body
    assert disk.shortage(tmp_path).split(" MiB free, found")[0].encode() in body


@pytest.mark.parametrize("request_", LET_BE)
def test_without_room_reading_and_removing_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: Any
) -> None:
    shrink(monkeypatch)
    assert ask(tmp_path, *request_) == (200, b"done")


def test_a_full_disk_ends_a_command_in_a_sentence_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> Never:
        raise OSError(errno.ENOSPC, "No space left on device", "run.json.new")

    monkeypatch.setattr(cli, "app", full)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["lean-ops"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("lean-ops: run.json.new: No space left on device; free some, then run the same")
