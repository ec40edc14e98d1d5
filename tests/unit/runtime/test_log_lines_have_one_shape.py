"""Every function logs JSON lines of one shape; what an invocation is about is in each of them."""

import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.runtime.errors import InternalFault, TableMissing
from common.runtime.logs import invocation_fields, logged, logger

CONTEXT = cast("Any", SimpleNamespace(aws_request_id="request-1"))


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    written = io.StringIO()
    handler = cast("Any", logger("probe").registered_handler)
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


def read(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


@logged("probe")
def work(event: dict[str, Any], _context: Any) -> str:
    if "error" in event:
        raise event["error"]
    logger("probe").info("worked", extra={"rows": 3})
    return "done"


def test_a_line_of_a_run_names_the_run_the_topic_and_the_request(lines: io.StringIO) -> None:
    assert work({"run_id": "run-7", "topic": "events"}, CONTEXT) == "done"
    (line,) = read(lines)
    assert line["timestamp"].endswith("+00:00")
    del line["timestamp"], line["location"]
    assert line == {
        "level": "INFO",
        "service": "probe",
        "message": "worked",
        "request_id": "request-1",
        "correlation_id": "run-7",
        "run_id": "run-7",
        "topic": "events",
        "rows": 3,
    }


def test_fields_of_one_invocation_do_not_reach_the_next(lines: io.StringIO) -> None:
    work({"run_id": "run-7", "topic": "events"}, CONTEXT)
    work({"Records": [{}, {}]}, CONTEXT)
    second = read(lines)[1]
    assert (second["batch"], second["correlation_id"]) == (2, "request-1")
    assert not {"topic", "run_id"} & second.keys()


def test_the_run_is_known_from_the_execution_as_well() -> None:
    fields = invocation_fields({"execution_arn": "arn:aws:states:r:0:execution:machine:run-9"}, "q")
    assert fields["run_id"] == fields["correlation_id"] == "run-9"


def test_an_error_is_one_line_and_rises(lines: io.StringIO) -> None:
    with pytest.raises(TableMissing):
        work({"error": TableMissing("table x: expected it, found none"), "topic": "events"}, CONTEXT)
    (line,) = read(lines)
    assert (line["level"], line["error"], line["topic"]) == ("ERROR", "TableMissing", "events")
    assert line["detail"] == "table x: expected it, found none"


def test_the_message_of_a_foreign_error_may_quote_a_value_and_is_left_out(lines: io.StringIO) -> None:
    with pytest.raises(InternalFault) as raised:
        work({"error": ValueError("cannot parse 'secret'"), "topic": "events"}, CONTEXT)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    (line,) = read(lines)
    assert line["error"] == "InternalFault"
    assert "of topic events: expected it to succeed, found ValueError at" in line["detail"]
    assert "secret" not in lines.getvalue() + str(raised.value)
