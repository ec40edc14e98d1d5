import base64
import datetime as dt
import json

import pytest

from lean_ops.local.error_objects import Undelivered, object_key, object_lines
from lean_ops.local.journal import Arrival

AT = dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", "iceberg-failed/2026/02/03/04/s-17"),
        ("errors/!{firehose:error-output-type}/", "errors/iceberg-failed/2026/02/03/04/s-17"),
        (
            "e/!{firehose:error-output-type}/d=!{timestamp:yyyy-MM-dd}/h=!{timestamp:HH}/",
            "e/iceberg-failed/d=2026-02-03/h=04/s-17",
        ),
    ],
)
def test_prefix_expressions_are_filled(prefix: str, key: str) -> None:
    assert object_key(prefix, "s", "17", "iceberg-failed", AT) == key


def test_each_line_says_what_came_when_and_why_not() -> None:
    record = Undelivered("iceberg-failed", Arrival(1000, b"\x00raw\n"), "Iceberg.X", "no")
    lines = object_lines([record, record], ended_ms=2000).splitlines()
    assert len(lines) == 2
    line = json.loads(lines[0])
    assert base64.b64decode(line.pop("rawData")) == b"\x00raw\n"
    assert line == {
        "attemptsMade": 1,
        "arrivalTimestamp": 1000,
        "errorCode": "Iceberg.X",
        "errorMessage": "no",
        "attemptEndingTimestamp": 2000,
    }
