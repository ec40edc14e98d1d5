"""Whatever outsiders send, reading it takes processor time that grows with its bytes.

Counted is the time of this thread on a processor, which the load of other processes hardly changes. What is
linear takes a fiftieth of the bound; what is quadratic in any way passes it a thousandfold at a megabyte.
Sizes grow from small ones, so that the latter fails within seconds.
"""

import base64
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from common.intake.archive import decode_line
from common.intake.dead_letters import DeadLetter
from common.intake.events import EventParser
from common.intake.queue_pass import QueuedMessage
from common.runtime.errors import PermanentError, RejectedEvent
from lean_ops.local.journal import Arrival
from lean_ops.local.rows import RowReader
from lean_ops.local.transformation import Destination, Routed
from lean_ops.operate.replay import error_objects
from lean_ops.operate.replay.dead_letters import describe
from lean_ops.operate.replay.selection import Tally, Waiting

from ...support.generated import cases

MIB = 2**20
# The promise is a second on a quiet processor; a busy one has its caches emptied by others. What is not
# linear takes hours at a megabyte.
BOUND_S = 5.0
SENT_US = 1_780_000_000_000_000
WRITTEN = datetime(2026, 2, 28, tzinfo=UTC)
PARSER = EventParser(frozenset({"events"}))
RAW = Schema(
    *(
        NestedField(i, name, kind(), required=False)
        for i, (name, kind) in enumerate(
            {
                **dict.fromkeys(("message_id", "idempotency_key", "topic_name"), StringType),
                **dict.fromkeys(("period_reference", "correlation_id", "json_payload"), StringType),
                "publish_time": TimestamptzType,
                "ingestion_ts": LongType,
            }.items(),
            1,
        )
    )
)
ROWS = RowReader(RAW)


def event(body: str) -> None:
    with suppress(RejectedEvent):
        PARSER.parse(body, SENT_US)


def dead_letter(body: str) -> None:
    times = {"ApproximateFirstReceiveTimestamp": "1780000000500"}
    attributes = {"a": {"dataType": "String", "stringValue": body}}
    record = {"messageId": "i", "body": body, "attributes": times, "messageAttributes": attributes}
    assert DeadLetter(record, RejectedEvent("NOT_JSON", "x")).attributes
    describe(QueuedMessage("i", body, 1))


def archived(body: str) -> None:
    with suppress(PermanentError):
        decode_line(body.encode("utf-8", "surrogatepass"), "here")


def firehose_record(body: str) -> None:
    ROWS.read([body.encode("utf-8", "surrogatepass")])


def transformed(body: str) -> None:
    reply = {"records": [{"recordId": "0", "result": "Ok", "data": body, "metadata": {"otfMetadata": body}}]}
    Routed().add_reply(reply, [Arrival(1, b"x")], Destination("lake", "raw"))


def error_line(body: str) -> None:
    data = body.encode("utf-8", "surrogatepass")
    wrapped = json.dumps({"rawData": base64.b64encode(data).decode(), "errorMessage": body}).encode()
    unreadable = json.dumps({"rawData": body}).encode()
    for content in (data, wrapped, unreadable):
        assert list(error_objects.parse(content, "events", WRITTEN)) or not content.strip()


READERS = [event, dead_letter, archived, firehose_record, transformed, error_line]
UNITS = (
    *(
        "[",
        "{",
        "]",
        "}",
        "[]",
        "[],",
        "{},",
        '"',
        '\\"',
        "\\",
        "\\\\",
        '"\\',
        '\\\n"',
        '""',
        '"",',
        ",",
        ":",
    ),
    *(
        '{"a":',
        '"a":1,',
        '{"a":1},',
        '[{"a":[',
        '"payload":{},',
        '"message_id":"a",',
        "1",
        "1.",
        "1e",
        "-",
        "0",
    ),
    *(" ", "\n", "\t", "\u00a0", "\0", "\x1f", "é", "\ud800", "\udc00", "\U0001f600", "\\ud800", "\\u0061"),
    *(
        "A",
        "====",
        "QUJD",
        "\\n",
        "\ufeff",
        "null,",
        "true",
        "NaN",
        "s3://",
        "s3a://a",
        "s3://a.parquet",
        ".parquet",
    ),
)
ENVELOPE = (
    '{{"message_id":"m","idempotency_key":"k","topic_name":"events","publish_time":"2026-05-28T10:00:00'
)
FRAMES = (
    "{}",
    "[" * 501 + "{}",
    '"{}"',
    ENVELOPE + 'Z","payload":{{"a":{}}}}}',
    ENVELOPE + 'Z","payload":{{"a":"{}"}},"more":1}}',
    ENVELOPE + '.{}Z","payload":{{}}}}',
    ENVELOPE + 'Z","payload":{{}},"more":{},"more":1}}',
)


def grows_with_its_bytes(read: Callable[[str], None], frame: str, unit: str) -> None:
    size = 2**14
    while size <= MIB:
        body = frame.format(unit * (size // len(unit.encode("utf-8", "surrogatepass"))))
        started = time.thread_time()
        read(body)
        spent = time.thread_time() - started
        assert spent <= BOUND_S, f"{read.__name__}: {spent:.1f} s for {size:,} bytes of {unit!r} in {frame!r}"
        size *= 4


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("frame", "unit"),
    [
        pytest.param("[" * 501 + "{}", '\\"', id="deep, then quotes that end nothing"),
        pytest.param("[" * 501 + "{}", '"\\', id="deep, then texts that never end"),
        pytest.param(FRAMES[3], "1", id="long number"),
        pytest.param(FRAMES[6], "1", id="long number beside the payload"),
        pytest.param(FRAMES[3], '{"a":1},', id="wide"),
        pytest.param(FRAMES[3], "[", id="deep"),
        pytest.param("{}", "s3://", id="paths that never end"),
        pytest.param('["{}"]', "s3a://b,", id="paths without an end"),
    ],
)
def test_a_known_kind_of_hostile_input_takes_linear_time(
    read: Callable[[str], None], frame: str, unit: str
) -> None:
    grows_with_its_bytes(read, frame, unit)


@settings(max_examples=cases(25), deadline=None)
@given(
    read=st.sampled_from(READERS),
    frame=st.sampled_from(FRAMES),
    units=st.lists(st.sampled_from(UNITS), min_size=1, max_size=3),
)
def test_any_repetition_takes_linear_time(read: Callable[[str], None], frame: str, units: list[str]) -> None:
    grows_with_its_bytes(read, frame, "".join(units))


def test_counting_letters_takes_time_by_their_number_whatever_topics_they_name() -> None:
    tally = Tally()
    started = time.thread_time()
    for number in range(100_000):
        tally.add(Waiting("NOT_JSON", f"t{number}", WRITTEN, ("i",)))
    # An addition that looked at all topics would take hours.
    assert time.thread_time() - started <= 5 * BOUND_S
    assert (tally.total, len(tally.samples)) == (100_000, 3)
