import base64
from typing import Any

import pytest

from lean_ops.local.journal import Arrival
from lean_ops.local.transformation import Destination, Routed

HOME = Destination("lake", "raw")
SENT = [Arrival(1, b"first"), Arrival(2, b"second")]


def _reply(record_id: str, result: str, data: bytes = b"new", **more: Any) -> dict[str, Any]:
    return {"recordId": record_id, "result": result, "data": base64.b64encode(data).decode(), **more}


def _route(*replies: Any, default: Destination | None = HOME) -> Routed:
    routed = Routed()
    routed.add_reply({"records": list(replies)}, SENT, default)
    return routed


def test_an_ok_record_carries_the_functions_data() -> None:
    routed = _route(_reply("0", "Ok"), _reply("1", "Ok"))
    assert routed.records == {HOME: [(SENT[0], b"new"), (SENT[1], b"new")]}
    assert routed.undelivered == []


def test_a_dropped_record_is_neither_delivered_nor_an_error() -> None:
    routed = _route(_reply("0", "Dropped"), _reply("1", "Ok"))
    assert routed.records == {HOME: [(SENT[1], b"new")]}
    assert routed.undelivered == []


def test_metadata_names_the_table() -> None:
    metadata = {"otfMetadata": {"destinationDatabaseName": "lake", "destinationTableName": "other"}}
    routed = _route(_reply("0", "Ok", metadata=metadata), _reply("1", "Ok"))
    assert set(routed.records) == {HOME, Destination("lake", "other")}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (_reply("0", "ProcessingFailed"), "Lambda.ProcessingFailedStatus"),
        (_reply("0", "Whatever"), "Lambda.InvalidResult"),
        ({"recordId": "0", "result": "Ok"}, "Lambda.InvalidResult"),
        ({"recordId": "0", "result": "Ok", "data": "?"}, "Lambda.InvalidData"),
        ({"recordId": "7", "result": "Ok", "data": ""}, "Lambda.MissingRecordId"),
    ],
)
def test_every_other_answer_goes_to_the_error_prefix(answer: Any, code: str) -> None:
    routed = _route(answer, _reply("1", "Ok"))
    assert [(u.error_type, u.arrival, u.code) for u in routed.undelivered] == [
        ("processing-failed", SENT[0], code)
    ]


@pytest.mark.parametrize("reply", [None, "text", {}, {"records": None}, {"records": [{}]}])
def test_a_reply_that_cannot_be_read_fails_all_its_records(reply: Any) -> None:
    routed = Routed()
    routed.add_reply(reply, SENT, HOME)
    assert [u.arrival for u in routed.undelivered] == SENT


def test_a_record_without_any_destination_is_an_error() -> None:
    routed = _route(_reply("0", "Ok"), _reply("1", "Dropped"), default=None)
    assert [u.code for u in routed.undelivered] == ["Iceberg.InvalidTableName"]
