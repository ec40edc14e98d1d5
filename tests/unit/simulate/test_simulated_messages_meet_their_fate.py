"""What a simulated message says about itself is what the ingest rules make of it."""

import re
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from common.intake.events import EventParser, RejectCode
from common.runtime.errors import RejectedEvent
from lean_ops.accounts.messages import Kind, Message
from lean_ops.simulate.faults import FAULTS, Fault, render
from lean_ops.simulate.history import History, Scenario

END = datetime(2026, 3, 1, tzinfo=UTC)
END_US = int(END.timestamp()) * 1_000_000
PARSER = EventParser({"events"})
GOOD = {
    "message_id": '"m"',
    "idempotency_key": '"k"',
    "topic_name": '"events"',
    "publish_time": '"2026-02-01T00:00:00Z"',
    "payload": '{"value":1.10}',
}
# What SQS refuses in a message body (SendMessage: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | ...).
REFUSED_BY_SQS = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return list(History(Scenario(events=40_000, end=END)))


def test_the_event_that_faults_start_from_is_good() -> None:
    assert PARSER.parse(render(GOOD), END_US)[0] == "events"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_refused_with_its_code(fault: Fault) -> None:
    with pytest.raises(RejectedEvent) as refusal:
        PARSER.parse(fault.body(GOOD), END_US)
    assert refusal.value.code == fault.reject_code


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_queue_takes_every_broken_message(fault: Fault) -> None:
    body = fault.body(GOOD)
    assert 0 < len(body.encode()) <= 1_048_576
    assert not REFUSED_BY_SQS.search(body)


def test_faults_cover_every_reject_code() -> None:
    # No message is known that this code cannot read, and simulated devices need no source.
    of_sources = {RejectCode.NOT_UNPACKED, RejectCode.NO_SOURCE, RejectCode.TWO_SOURCES}
    assert {fault.reject_code for fault in FAULTS} == set(RejectCode) - of_sources - {
        RejectCode.UNPROCESSABLE
    }


def test_every_message_is_accepted_or_refused_as_it_says(messages: list[Message]) -> None:
    for message in messages:
        try:
            _, record = PARSER.parse(message.body, END_US)
        except RejectedEvent as refusal:
            assert message.reject_code == refusal.code
        else:
            row = msgspec.json.decode(record)
            assert message.kind is not Kind.BROKEN
            assert (row["message_id"], row["idempotency_key"]) == (message.message_id, message.key)
            assert row["publish_time"] == message.publish_us


def test_a_message_that_claims_a_violation_breaks_exactly_that_rule(messages: list[Message]) -> None:
    kinds = {"thermostat", "air_quality", "smart_meter", "vehicle", "pump"}
    for message in messages:
        if message.kind is Kind.BROKEN or message.deletes:
            continue
        payload = msgspec.json.decode(message.body)["payload"]
        found = ""
        if "value" not in payload["reading"]:
            found = "reading.value:missing"
        elif isinstance(payload["reading"]["value"], bool | str | list):
            found = "reading.value:not_a_number"
        elif payload["device"]["type"] not in kinds:
            found = "device.type:not_in_enum"
        assert message.violation == found


def test_rates_are_kept(messages: list[Message]) -> None:
    share = Counter(m.kind for m in messages)
    assert share[Kind.RETRY] == pytest.approx(400, rel=0.25)
    assert share[Kind.CORRECTION] == pytest.approx(3_200, rel=0.1)
    assert share[Kind.LATE] == pytest.approx(1_100, rel=0.2)
    assert share[Kind.BROKEN] == pytest.approx(200, rel=0.3)
    assert sum(1 for m in messages if m.violation) == pytest.approx(120, rel=0.4)
