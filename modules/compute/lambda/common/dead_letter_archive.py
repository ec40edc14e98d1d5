"""The archive of dead letters: what the dead-letter queue held, beyond the 14 days that SQS keeps it.

    s3://<lake>/dead-letters/<YYYY-MM-DD>/<time of archiving>-<first message id>.ndjson

The day is that of the message's SentTimestamp (UTC); one JSON object a line: ``message_id``, ``sent_ms``,
``receive_count``, ``attributes`` as SendMessage takes them (binary values in base64), and the body: ``body``
where it is valid Unicode text, else ``body_base64`` of its bytes.

A message is archived once; where two passes ran at once the archive may hold it twice, so ``read`` gives
each message id once.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from common.errors import PermanentError
from common.queue_pass import QueuedMessage

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PREFIX: Final = "dead-letters/"


class MalformedArchive(PermanentError):  # noqa: N818 - the archive is malformed; "error" would say less
    """A line of the archive is not what was written there."""


class _Line(msgspec.Struct, omit_defaults=True):
    message_id: str
    sent_ms: int
    receive_count: int
    attributes: dict[str, dict[str, str]]
    body: str | None = None
    body_base64: str | None = None


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
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedArchive(
            f"{where}: expected an archived message, found {error}; restore the object's earlier version"
        ) from error
    return QueuedMessage(found.message_id, body, found.sent_ms, found.receive_count, attributes)


def object_key(day: date, archived_at: datetime, first_message_id: str) -> str:
    """Key of an object of messages sent on ``day``."""
    return f"{PREFIX}{day:%Y-%m-%d}/{archived_at:%Y%m%dT%H%M%SZ}-{first_message_id}.ndjson"


def sent_day(message: QueuedMessage) -> date:
    """The day (UTC) under which a message is archived."""
    return datetime.fromtimestamp(message.sent_ms / 1000, UTC).date()


def keys(s3: "S3Client", bucket: str, first: date, last: date) -> Iterator[str]:
    """Keys of the archive's objects for ``first`` to ``last`` (both included), in order."""
    pages = s3.get_paginator("list_objects_v2")
    day = first
    while day <= last:
        for page in pages.paginate(Bucket=bucket, Prefix=f"{PREFIX}{day:%Y-%m-%d}/"):
            yield from (entry["Key"] for entry in page.get("Contents", []))
        day += timedelta(days=1)


def read(s3: "S3Client", bucket: str, first: date, last: date) -> Iterator[tuple[str, list[QueuedMessage]]]:
    """Object by object the key and its messages, each message id once. Raises MalformedArchive."""
    seen: set[str] = set()
    for key in keys(s3, bucket, first, last):
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        messages = [
            decode_line(line, f"s3://{bucket}/{key}, line {number}")
            for number, line in enumerate(content.split(b"\n"), 1)
            if line
        ]
        fresh = {message.message_id: message for message in messages if message.message_id not in seen}
        seen.update(fresh)
        yield key, list(fresh.values())


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
