"""What a line of an error object holds: a record, paths of files, or nothing that can be replayed."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from common.intake.events import RawRecord
from lean_ops.operate.replay.error_objects import (
    NO_CODE,
    Entry,
    FailedRecord,
    Malformed,
    UncommittedFiles,
    parse,
    topic_of,
)

WRITTEN = datetime(2026, 2, 28, tzinfo=UTC)
RECORD = msgspec.json.encode(RawRecord("m-1", "k", "events", "2026-02", None, 1, 2, '{"a": "canary"}'))
FILE = "s3://lake/raw_events/data/publish_day=2026-02-28/a.parquet"


def line(data: bytes | None = RECORD, **fields: object) -> bytes:
    document = fields if data is None else fields | {"rawData": base64.b64encode(data).decode()}
    return json.dumps(document).encode()


def only(content: bytes) -> Entry:
    (entry,) = parse(content, "events", WRITTEN)
    return entry


@pytest.mark.parametrize("code", ["errorCode", "ErrorCode", "lastErrorCode"])
def test_a_failed_record_is_taken_byte_for_byte_with_its_code_under_any_published_name(code: str) -> None:
    message = code.replace("Code", "Message")
    named: dict[str, Any] = {code: "Iceberg.X", message: "because"}
    entry = only(line(attemptsMade=1, arrivalTimestamp=1_000, **named))
    assert isinstance(entry, FailedRecord)
    assert entry.data == RECORD
    waiting = entry.waiting
    assert (waiting.reason, waiting.topic, waiting.ids) == ("Iceberg.X", "events", ("m-1",))
    assert waiting.payload == 'because\n{"a": "canary"}'
    assert "because" not in f"{waiting.detail}{waiting!r}"
    assert waiting.at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert "canary" not in repr(waiting)


def test_a_record_from_before_a_column_of_raw_is_completed_and_a_whole_one_left_alone() -> None:
    whole = {**msgspec.json.decode(RECORD), "json_payload": '{"operation": 1}'}
    old = {name: value for name, value in whole.items() if name != "operation"}
    entry = only(line(msgspec.json.encode(old)))
    assert isinstance(entry, FailedRecord)
    assert msgspec.json.decode(entry.data) == {**whole, "operation": None}
    spaced = json.dumps(whole).encode()
    entry = only(line(spaced))
    assert isinstance(entry, FailedRecord)
    assert entry.data == spaced


def test_a_delete_that_failed_is_replayed_as_one() -> None:
    delete = msgspec.json.encode(RawRecord("m-2", "k", "events", "2026-02", None, 1, 2, None, "delete"))
    entry = only(line(delete))
    assert isinstance(entry, FailedRecord)
    assert (entry.data, entry.waiting.payload) == (delete, "")


def test_a_line_without_code_and_time_takes_those_of_its_object() -> None:
    entry = only(line())
    assert isinstance(entry, FailedRecord)
    assert (entry.waiting.reason, entry.waiting.at) == (NO_CODE, WRITTEN)


@pytest.mark.parametrize(
    "content",
    [
        line(None, errorCode="Iceberg.CommitFailed", filePaths=[FILE]),
        line(None, errorCode="Iceberg.CommitFailed", files={"data": {"path": FILE}}),
        line(FILE.encode(), errorCode="Iceberg.CommitFailed"),
        line(None, errorCode="Iceberg.CommitFailed", errorMessage=f"could not commit '{FILE}'"),
    ],
)
def test_paths_of_uncommitted_files_are_found_wherever_they_stand(content: bytes) -> None:
    entry = only(content)
    assert isinstance(entry, UncommittedFiles)
    assert (entry.paths, entry.waiting.reason) == ((FILE,), "Iceberg.CommitFailed")


def test_a_bare_path_is_a_file_and_each_path_counts_once() -> None:
    entry = only(f"{FILE} {FILE}".encode())
    assert isinstance(entry, UncommittedFiles)
    assert entry.paths == (FILE,)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "expected rawData with a record, or paths"),
        (b"\xff\xfe", "expected rawData with a record, or paths"),
        (line(None, errorCode="x"), "expected rawData with a record, or paths"),
        (b'{"rawData": "?"}', "rawData: expected base64"),
        (line(b"not json"), "rawData: expected a record with every column of RAW"),
        (line(b'{"message_id": "m-1"}'), "missing required field"),
        (line(RECORD.replace(b'"events"', b'"weather"')), "one of another"),
        (line(RECORD.replace(b'"publish_time":1', b'"publish_time":"x"')), "Expected `int`"),
    ],
)
def test_what_cannot_be_replayed_is_named_with_its_line_and_without_its_values(
    content: bytes, why: str
) -> None:
    good, entry = parse(line() + b"\n\n" + content, "events", WRITTEN)
    assert isinstance(good, FailedRecord)
    assert isinstance(entry, Malformed)
    assert (entry.number, entry.line) == (3, content)
    assert why in entry.why
    assert "canary" not in entry.why


def test_the_topic_is_the_first_folder() -> None:
    assert topic_of("delivery-errors/weather/iceberg-failed/2026/02/28/12/x") == "weather"
