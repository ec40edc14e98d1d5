"""The archive of dead letters: what the dead-letter queue held, beyond the 14 days that SQS keeps it.

    s3://<lake>/dead-letters/<YYYY-MM-DD>/<time of archiving>-<first message id>.ndjson

The day is that of the message's SentTimestamp (UTC); one JSON object a line: ``message_id``, ``sent_ms``,
``receive_count``, ``attributes`` as SendMessage takes them (binary values in base64), and the body: ``body``
where it is valid Unicode text, else ``body_base64`` of its bytes.

A message is archived once; where two passes ran at once the archive may hold it twice, so ``read`` gives
each message id once. A line that is not what was written there is named and left where it is, and the others
are read: an archive of which one line is damaged is still an archive.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import ClientError

from common.intake.queue_pass import QueuedMessage
from common.runtime.errors import PermanentError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PREFIX: Final = "dead-letters/"


class MalformedArchive(PermanentError):  # noqa: N818 - the archive is malformed; "error" would say less
    """A line of the archive is not what was written there."""


@dataclass(frozen=True)
class ArchivedObject:
    """An object of the archive: its messages, and a sentence about each line that cannot be read."""

    key: str
    messages: tuple[QueuedMessage, ...] = ()
    damaged: tuple[str, ...] = ()


class _Line(msgspec.Struct, omit_defaults=True):
    message_id: str
    sent_ms: int
    receive_count: int
    attributes: dict[str, dict[str, str]]
    body: str | None = None
    body_base64: str | None = None


_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Removed since it was listed, moved to cold storage, or not ours to read: the others are.
_UNREADABLE: Final = frozenset({"NoSuchKey", "InvalidObjectState", "AccessDenied"})
_MOMENTS_MS: Final = range(253_402_300_800_000)  # 1970 to the end of 9999

_decode: Final = msgspec.json.Decoder(_Line).decode


def encode_line(message: QueuedMessage) -> bytes:
    """The line of a message, its end included."""
    body, body_base64 = message.body, None
    try:
        body.encode()
    except UnicodeEncodeError:
        body_base64 = base64.b64encode(body.encode("utf-8", "surrogatepass")).decode()
    line = _Line(
        message.message_id,
        message.sent_ms,
        message.receive_count,
        {name: _as_text(attribute) for name, attribute in message.attributes.items()},
        None if body_base64 else body,
        body_base64,
    )
    return msgspec.json.encode(line) + b"\n"


def decode_line(line: bytes, where: str) -> QueuedMessage:
    """The message of a line; raises MalformedArchive naming ``where``."""
    try:
        found = _decode(line)
        attributes = {name: _from_text(attribute) for name, attribute in found.attributes.items()}
        if found.body_base64 is not None:
            body = base64.b64decode(found.body_base64, validate=True).decode("utf-8", "surrogatepass")
        elif found.body is not None:
            body = found.body
        else:
            raise MalformedArchive(
                f"{where}: expected body or body_base64, found neither; restore the object"
            )
        if found.sent_ms not in _MOMENTS_MS:
            raise MalformedArchive(
                f"{where}: expected a time in milliseconds since 1970, found another; restore the object"
            )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedArchive(
            f"{where}: expected an archived message, found {error}; restore the object's earlier version"
        ) from error
    return QueuedMessage(found.message_id, body, found.sent_ms, found.receive_count, attributes)


def object_key(day: date, archived_at: datetime, first_message_id: str) -> str:
    """Key of an object of messages sent on ``day``; no two passes write the same one."""
    return f"{PREFIX}{day:%Y-%m-%d}/{archived_at:%Y%m%dT%H%M%S.%fZ}-{first_message_id}.ndjson"


def sent_day(message: QueuedMessage) -> date:
    """The day (UTC) under which a message is archived."""
    return datetime.fromtimestamp(message.sent_ms / 1000, UTC).date()


def keys(s3: "S3Client", bucket: str, first: date, last: date) -> Iterator[str]:
    """Keys of the archive's objects for ``first`` to ``last`` (both included), in order.

    S3 lists in the order of keys, which is that of days: one listing from ``first`` on, so that a window of
    many years costs what is in it. Keys that are of no day are passed over.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=PREFIX, StartAfter=f"{PREFIX}{first.isoformat()}"
    )
    for page in pages:
        for entry in page.get("Contents", []):
            day, inside, _ = entry["Key"].removeprefix(PREFIX).partition("/")
            if day > last.isoformat():
                return
            if inside and _DAY.fullmatch(day):
                yield entry["Key"]


def objects(s3: "S3Client", bucket: str, first: date, last: date) -> Iterator[ArchivedObject]:
    """The archive object by object, with every line that it holds."""
    for key in keys(s3, bucket, first, last):
        place = f"s3://{bucket}/{key}"
        try:
            content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _UNREADABLE:
                raise
            why = f"{place}: expected to read it, found {error.response['Error']['Code']}"
            yield ArchivedObject(key, damaged=(f"{why}; restore the object, or see who may read it",))
            continue
        yield _parse(key, place, content)


def read(s3: "S3Client", bucket: str, first: date, last: date) -> Iterator[ArchivedObject]:
    """As ``objects``, each message id once."""
    seen: set[str] = set()
    for archived in objects(s3, bucket, first, last):
        fresh = {m.message_id: m for m in archived.messages if m.message_id not in seen}
        seen.update(fresh)
        yield replace(archived, messages=tuple(fresh.values()))


def _parse(key: str, place: str, content: bytes) -> ArchivedObject:
    messages: list[QueuedMessage] = []
    damaged: list[str] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line:
            continue
        try:
            messages.append(decode_line(line, f"{place}, line {number}"))
        except MalformedArchive as error:
            damaged.append(str(error))
    return ArchivedObject(key, tuple(messages), tuple(damaged))


def _as_text(attribute: Any) -> dict[str, str]:
    value = dict(attribute)
    if "BinaryValue" in value:
        value["BinaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return value


def _from_text(attribute: dict[str, str]) -> dict[str, Any]:
    value: dict[str, Any] = dict(attribute)
    if "BinaryValue" in value:
        value["BinaryValue"] = base64.b64decode(value["BinaryValue"], validate=True)
    return value
