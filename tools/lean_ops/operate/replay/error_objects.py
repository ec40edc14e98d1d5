"""Error objects of Firehose, line by line: records that it could not deliver, or files it could not commit.

A line is a JSON document. Where a record failed, ``rawData`` holds it in base64, with ``arrivalTimestamp`` in
milliseconds and the code as ``errorCode``, ``ErrorCode`` or ``lastErrorCode``: all three were published over
time (Amazon Data Firehose developer guide, "Handling errors for data format conversion" and "Handle data
delivery failures"). Where a commit kept failing, the records are in data files that no snapshot names, and
the line holds their paths (the same guide, "Considerations and limitations" of Iceberg tables). The form of
that line is not specified, so paths are taken wherever they stand in it.

A line that is neither is malformed: nothing here guesses what it meant.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from common.intake.events import RawRecord
from lean_ops.operate.replay.selection import Waiting

PREFIX: Final = "delivery-errors/"
# Topics begin with a letter, so that this is none.
REPLAYED_PREFIX: Final = f"{PREFIX}_replayed/"
NO_CODE: Final = "NO_CODE"

_CODES: Final = ("errorCode", "ErrorCode", "lastErrorCode")
_MESSAGES: Final = ("errorMessage", "ErrorMessage", "lastErrorMessage")
_TIMES: Final = ("arrivalTimestamp", "attemptEndingTimestamp")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WORD: Final = re.compile(r"[^\s\"',]+")
_SCHEME: Final = re.compile(r"s3a?://")
_DATA_FILE_ENDING: Final = ".parquet"
_record: Final = msgspec.json.Decoder(RawRecord).decode
_COLUMNS: Final = RawRecord.__struct_fields__


@dataclass(frozen=True)
class FailedRecord:
    """A record of RAW that Firehose could not deliver, byte for byte as it was put.

    Columns that RAW has gained since are added, as null.
    """

    line: bytes
    waiting: Waiting
    data: bytes


@dataclass(frozen=True)
class UncommittedFiles:
    """Data files that Firehose wrote and could not commit, by their paths."""

    line: bytes
    waiting: Waiting
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Malformed:
    """A line that says neither; ``number`` counts from 1."""

    line: bytes
    number: int
    why: str


Entry = FailedRecord | UncommittedFiles | Malformed


def topic_of(key: str) -> str:
    """The topic that an error object belongs to: the first folder under the prefix."""
    return key.removeprefix(PREFIX).partition("/")[0]


def parse(content: bytes, topic: str, written: datetime) -> Iterator[Entry]:
    """Every line of an error object of ``topic``. ``written``: the time of lines that name none."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield _entry(line, number, topic, written)


def _entry(line: bytes, number: int, topic: str, written: datetime) -> Entry:
    try:
        document = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = line.decode(errors="replace")
    if isinstance(document, dict) and isinstance(document.get("rawData"), str):
        try:
            data = base64.b64decode(document["rawData"], validate=True)
        except ValueError as error:  # binascii.Error is one; not ASCII is another
            return Malformed(line, number, f"rawData: expected base64, found {error}")
        if paths := _paths(data.decode(errors="replace")) if not data.lstrip().startswith(b"{") else ():
            return UncommittedFiles(line, _waiting(document, topic, written, paths), paths)
        return _failed_record(line, number, topic, data, document=document, written=written)
    if paths := _paths(document):
        fields = document if isinstance(document, dict) else {}
        return UncommittedFiles(line, _waiting(fields, topic, written, paths), paths)
    return Malformed(line, number, "expected rawData with a record, or paths of data files, found neither")


def _failed_record(
    line: bytes, number: int, topic: str, data: bytes, *, document: dict[str, Any], written: datetime
) -> FailedRecord | Malformed:
    try:
        record = _record(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec names fields and types, never values.
        return Malformed(line, number, f"rawData: expected a record with every column of RAW, found: {error}")
    if record.topic_name != topic:
        return Malformed(line, number, f"rawData: expected a record of topic {topic}, found one of another")
    waiting = _waiting(document, topic, written, (record.message_id,), record.json_payload or "")
    # A record from before RAW had all of today's columns would be refused again.
    complete = data if all(f'"{name}"'.encode() in data for name in _COLUMNS) else msgspec.json.encode(record)
    return FailedRecord(line, waiting, complete)


def _waiting(
    document: dict[str, Any], topic: str, written: datetime, ids: tuple[str, ...], payload: str = ""
) -> Waiting:
    # What Firehose says about a record may quote it, so it is shown with the payload only.
    message = next((str(document[name]) for name in _MESSAGES if document.get(name)), "")
    return Waiting(
        reason=next((str(document[name]) for name in _CODES if document.get(name)), NO_CODE),
        topic=topic,
        at=next((at for name in _TIMES if (at := _moment(document.get(name)))), written),
        ids=ids,
        payload="\n".join(text for text in (message, payload) if text),
    )


def _moment(milliseconds: object) -> datetime | None:
    """The time that a line names, None where that is no time of the years 1 to 9999."""
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def _paths(value: Any) -> tuple[str, ...]:
    """Paths of data files in any text of a JSON value, each once, in order."""
    paths: dict[str, None] = {}
    ahead = [value]
    while ahead:
        part = ahead.pop()
        if isinstance(part, str):
            for word in _WORD.findall(part):
                begin, end = _SCHEME.search(word), word.rfind(_DATA_FILE_ENDING)
                if begin and begin.end() < end:
                    paths[word[begin.start() : end + len(_DATA_FILE_ENDING)]] = None
        elif isinstance(part, dict):
            ahead += reversed(part.values())
        elif isinstance(part, list):
            ahead += reversed(part)
    return tuple(paths)
