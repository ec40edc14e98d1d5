"""Objects under a stream's error prefix: the records that Firehose could not deliver, and why.

One JSON document a line (Amazon Data Firehose developer guide, "Handle failure in data transformation" and
"Error handling" of Iceberg tables): attemptsMade, arrivalTimestamp, errorCode, errorMessage,
attemptEndingTimestamp, rawData (base64), times in milliseconds since the epoch.
"""

import base64
import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lean_ops.local.journal import Arrival

ErrorType = Literal["iceberg-failed", "processing-failed"]

_TIMESTAMP = re.compile(r"!\{timestamp:([^}]*)\}")
_JAVA_TO_STRFTIME = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H"}


@dataclass(frozen=True)
class Undelivered:
    """A record that goes to the error prefix."""

    error_type: ErrorType
    arrival: Arrival
    code: str
    message: str
    attempts: int = 1


def object_key(prefix: str, stream: str, segment: str, error_type: ErrorType, at: dt.datetime) -> str:
    """Where the undelivered records of one segment go: the same key when the segment is tried again.

    ``prefix``: ErrorOutputPrefix with its expressions (developer guide, "Custom prefixes for S3 objects");
    without a timestamp expression the UTC hour ``YYYY/MM/dd/HH/`` follows it.
    """
    if "!{firehose:error-output-type}" not in prefix:
        prefix += f"{error_type}/"
    prefix = prefix.replace("!{firehose:error-output-type}", error_type)
    if not _TIMESTAMP.search(prefix):
        prefix += "!{timestamp:yyyy/MM/dd/HH}/"
    return _TIMESTAMP.sub(lambda match: _format_time(match[1], at), prefix) + f"{stream}-{segment}"


def object_lines(undelivered: Sequence[Undelivered], ended_ms: int) -> bytes:
    """The content of an error object."""
    return b"".join(
        json.dumps(
            {
                "attemptsMade": record.attempts,
                "arrivalTimestamp": record.arrival.arrived_ms,
                "errorCode": record.code,
                "errorMessage": record.message,
                "attemptEndingTimestamp": ended_ms,
                "rawData": base64.b64encode(record.arrival.data).decode(),
            }
        ).encode()
        + b"\n"
        for record in undelivered
    )


def _format_time(pattern: str, at: dt.datetime) -> str:
    for java, strftime in _JAVA_TO_STRFTIME.items():
        pattern = pattern.replace(java, strftime)
    return at.strftime(pattern)
