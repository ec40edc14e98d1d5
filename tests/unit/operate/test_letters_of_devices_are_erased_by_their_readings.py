"""A dead letter of a device is meant by an erasure where a reading in it is, however it is packed."""

import base64
import gzip
import json

import pytest

from common.intake.archive import encode_line
from common.intake.queue_pass import QueuedMessage
from common.intake.sources import Sources, compile_source
from common.layers.erased import NOTHING_ERASED
from lean_ops.operate.erase.letters import Meant

from ...support.sources import ARRIVED_MS, SIMPLE

SOURCE = {**SIMPLE, "match": {"attributes": {"kind": "meter"}}, "unpack": ["base64", "gzip"], "each": "l",
          "key": [{"constant": "meter"}, "dev"]}  # fmt: skip
MEANT = Meant(
    "events",
    ("events", "weather"),
    frozenset({"meter|person-4711"}),
    ARRIVED_MS * 1000,
    NOTHING_ERASED,
    Sources([compile_source("meters", SOURCE)]),
)


def letter(*names: str, kind: str = "meter") -> QueuedMessage:
    content = gzip.compress(json.dumps({"l": [{"dev": name} for name in names] + [{}]}).encode())
    attributes = {"kind": {"DataType": "String", "StringValue": kind}}
    return QueuedMessage("m", base64.b64encode(content).decode(), ARRIVED_MS, attributes=attributes)


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        (letter("other", "person-4711"), True),
        (letter("other"), False),
        (letter("person-4711", kind="unknown"), False),
        (QueuedMessage("m", '{"broken": "meter|person-4711"', ARRIVED_MS), True),
    ],
)
def test_a_letter_is_meant_by_the_keys_of_its_readings(found: QueuedMessage, meant: bool) -> None:
    assert MEANT.letter(found) is meant
    assert MEANT.line("dead-letters/2026-10-20/x.ndjson", encode_line(found)) is meant


def test_what_a_bridge_wrapped_is_looked_into_though_no_source_is_for_it() -> None:
    content = base64.b64encode(b'{"who": "meter|person-4711"}').decode()
    wrapped = json.dumps({"data": content, "mqtt_topic": "a/b"})
    assert MEANT.letter(QueuedMessage("m", wrapped, ARRIVED_MS))
