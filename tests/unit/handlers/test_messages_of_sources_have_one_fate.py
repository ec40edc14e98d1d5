"""A message of many readings: the good delivered, the bad named in a dead letter, nothing twice or lost."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from common.intake.events import EventParser
from common.intake.reading import KnownSources, MessageReader
from common.intake.sources import Sources, compile_source, registry
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SqsProcessorSettings
from sqs_processor import batch
from sqs_processor.batch import BatchOutcome, process

from ...support.generated import cases
from ...support.sources import SIMPLE, record

SETTINGS = SqsProcessorSettings("lean-ops", "test", "queue", "lake")
PARSER = EventParser(frozenset({"events", "temperatures"}))
NO_WAIT = RetryPolicy(attempts=1, sleep=lambda _s: None)
METERS = {**SIMPLE, "match": {"attributes": {"kind": "meter"}}, "each": "l", "key": "dev",
          "skip": [{"reason": "joins", "when": "joined"}],
          "topic": {"first": ["topic", {"constant": "events"}]}}  # fmt: skip
READER = MessageReader(Sources([compile_source("meters", METERS)]))
EVENT = (
    '{"message_id":"m","idempotency_key":"k","topic_name":"events",'
    '"publish_time":"2026-10-20T08:00:00Z","payload":{}}'
)


class Firehose:
    """Accepts all but records that hold one of ``refused``."""

    def __init__(self, *refused: bytes) -> None:
        self.refused = refused
        self.accepted: list[dict[str, Any]] = []
        self.calls = 0

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        self.calls += 1
        replies: list[dict[str, str]] = []
        for entry in Records:
            if any(text in entry["Data"] for text in self.refused):
                replies.append({"ErrorCode": "ServiceUnavailableException"})
            else:
                self.accepted.append(json.loads(entry["Data"]))
                replies.append({"RecordId": "r"})
        return {"FailedPutCount": sum("ErrorCode" in r for r in replies), "RequestResponses": replies}


class Queue:
    """The dead-letter queue: keeps what it is sent."""

    def __init__(self) -> None:
        self.letters: list[dict[str, Any]] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.letters += Entries
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}


class Place:
    """The function's own code between a queue and a stream that are stood in for."""

    def __init__(self, *refused: bytes, reader: MessageReader = READER, left_s: float = 60) -> None:
        self.firehose, self.queue, self.reader, self.left_s = Firehose(*refused), Queue(), reader, left_s

    def take(self, *messages: dict[str, Any]) -> BatchOutcome:
        return process(
            messages, settings=SETTINGS, parser=PARSER, firehose=self.firehose,  # type: ignore[arg-type]
            sqs=self.queue, retry=NO_WAIT, time_left_s=lambda: self.left_s, reader=self.reader,  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def reasons(self) -> list[str]:
        return [letter["MessageAttributes"]["error_code"]["StringValue"] for letter in self.queue.letters]

    @property
    def keys(self) -> list[str]:
        return [row["idempotency_key"] for row in self.firehose.accepted]


def meter(number: int, *readings: Any, **more: Any) -> dict[str, Any]:
    return {
        **record(json.dumps({"l": list(readings), **more}), attributes={"kind": "meter", "site": "s"}),
        "messageId": f"sqs-{number}",
    }


def dev(name: object) -> dict[str, Any]:
    return {"dev": name}


def test_ninety_nine_of_a_hundred_are_delivered_and_the_bad_one_is_named() -> None:
    place = Place()
    readings = [dev(i) if i != 41 else {"v": "secret"} for i in range(100)]
    outcome = place.take(meter(1, *readings))
    assert len(place.keys) == 99
    assert outcome.retry == []
    (letter,) = place.queue.letters
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert attributes["error_code"] == "MISSING_FIELD"
    assert "source meters@1: 1 of 100 readings refused; [41]: key" in attributes["error_detail"]
    assert "secret" not in attributes["error_detail"]
    assert (attributes["kind"], attributes["arrived_ms"]) == ("meter", "1792483300000")
    assert outcome.readings == {("meters", "read", ""): 99, ("meters", "refused", "MISSING_FIELD"): 1}


def test_a_replay_makes_the_same_events_whatever_its_own_time_is() -> None:
    place = Place()
    place.take(meter(1, dev("a"), {}))
    first = list(place.firehose.accepted)
    letter = place.queue.letters[0]
    kept = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    kept = {name: text for name, text in kept.items() if name in {"kind", "site", "arrived_ms"}}
    again = record(letter["MessageBody"], attributes={**kept, "replayed_by": "r"}, sent_ms=1_792_999_999_000)
    place.take(again)
    (second,) = place.firehose.accepted[1:]
    same = ("message_id", "idempotency_key", "publish_time", "json_payload")
    assert [first[0][name] for name in same] == [second[name] for name in same]


def test_a_message_of_which_firehose_refused_a_reading_is_only_retried() -> None:
    place = Place(b'"b"')
    outcome = place.take(meter(1, dev("a"), dev("b"), {}), meter(2, dev("c"), {}))
    assert outcome.retry == ["sqs-1"]
    assert [letter["MessageBody"] for letter in place.queue.letters] == [meter(2, dev("c"), {})["body"]]
    assert place.keys == ["a", "c"]


def test_readings_of_one_message_go_to_their_topics() -> None:
    place = Place()
    outcome = place.take(
        meter(1, dev("a"), {**dev("b"), "topic": "temperatures"}, {**dev("c"), "topic": "no"})
    )
    assert {topic: minutes.total() for topic, minutes in outcome.delivered.items()} == {
        "events": 1,
        "temperatures": 1,
    }
    assert place.reasons == ["UNKNOWN_TOPIC"]


def test_skipped_and_empty_messages_are_done_and_counted() -> None:
    place = Place()
    outcome = place.take(meter(1, dev("a"), joined=True), meter(2))
    assert (outcome.retry, outcome.rejected, place.keys) == ([], {}, [])
    assert outcome.readings == {("meters", "skipped", "joins"): 1, ("meters", "skipped", "empty"): 1}


def test_messages_for_no_source_are_letters_and_events_stay_events() -> None:
    place = Place()
    strange = {**record('{"x":1}'), "messageId": "sqs-9"}
    outcome = place.take(
        strange, {**record(EVENT), "messageId": "sqs-8"}, {**record(EVENT[:-9]), "messageId": "sqs-7"}
    )
    assert place.reasons == ["NO_SOURCE", "NOT_JSON"]
    assert place.keys == ["k"]
    assert outcome.readings == {("none", "refused", "NO_SOURCE"): 1}


def test_what_messages_become_is_delivered_before_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_HELD_BYTES", 1_000)
    place = Place()
    place.take(*(meter(i, *(dev(f"{i}-{j}") for j in range(5))) for i in range(6)))
    assert len(place.keys) == 30
    assert place.firehose.calls == 6


def test_no_message_is_unpacked_when_time_runs_out() -> None:
    place = Place(left_s=15)
    outcome = place.take({**record(EVENT), "messageId": "sqs-0"}, meter(1, dev("a")), meter(2, dev("b")))
    assert outcome.retry == ["sqs-1", "sqs-2"]
    assert outcome.error_codes == ["OUT_OF_TIME"]
    assert place.keys == ["k"]


def test_a_fault_of_the_code_costs_its_message_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.intake.sources.source._payload", lambda _found: 1 // 0)
    place = Place()
    place.take(meter(1, dev("a")), {**record(EVENT), "messageId": "sqs-2"})
    assert place.reasons == ["UNPROCESSABLE"]
    assert place.keys == ["k"]


class Bucket:
    """A lake bucket with the registry of sources, or a failure instead."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content
        self.reads = 0

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert (Bucket, Key) == ("lake", "registry/sources.json")
        self.reads += 1
        if isinstance(self.content, Exception):
            raise self.content
        content = self.content
        return {"Body": type("Body", (), {"read": lambda _self: content})()}


GONE = ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
WRITTEN = registry.written({"meters": METERS}, {})


def test_sources_are_read_when_their_digest_is_another_and_never_without() -> None:
    bucket = Bucket(WRITTEN)
    known = KnownSources(bucket, "lake")  # type: ignore[arg-type]
    assert known.current("").is_plain(record('{"x":1}'))
    assert bucket.reads == 0
    for digest in ("a", "a", "b", "b"):
        place = Place(reader=known.current(digest))
        place.take(meter(1, dev("a")))
        assert place.keys == ["a"]
    assert bucket.reads == 2
    assert known.current("").is_plain(record('{"x":1}'))


@pytest.mark.parametrize(
    "failure",
    [GONE, b"no JSON", b'{"version":2}', b'{"version":1,"sources":{"x":{"version":0}}}',
     b'{"version":1,"sources":{},"descriptors":{"a":"?"}}'],
)  # fmt: skip
def test_what_was_read_last_counts_while_sources_cannot_be_read(failure: bytes | Exception) -> None:
    bucket = Bucket(WRITTEN)
    now = 0.0
    known = KnownSources(bucket, "lake", clock=lambda: now)  # type: ignore[arg-type]
    known.current("a")
    bucket.content = failure
    for _ in range(3):
        place = Place(reader=known.current("b"))
        place.take(meter(1, dev("a")))
        assert place.keys == ["a"]
    assert bucket.reads == 2
    assert "sources.json" in known.stale
    bucket.content, now = WRITTEN, 61.0
    known.current("b")
    assert (bucket.reads, known.stale) == (3, "")


def test_who_never_read_sources_delivers_events_and_hands_the_others_back() -> None:
    known = KnownSources(Bucket(GONE), "lake")  # type: ignore[arg-type]
    place = Place(reader=known.current("a"))
    outcome = place.take(meter(1, dev("a")), {**record(EVENT), "messageId": "sqs-2"})
    assert (outcome.retry, place.keys, place.queue.letters) == (["sqs-1"], ["k"], [])
    assert outcome.error_codes == ["SOURCES_UNREAD"]


readings = st.sampled_from([dev("a"), dev("b"), {}, {"dev": "x", "topic": "no"}, 5])


@settings(max_examples=cases(60))
@given(st.lists(st.lists(readings, max_size=4), max_size=5), st.booleans())
def test_every_reading_is_delivered_refused_or_retried(messages: list[list[Any]], refuse: bool) -> None:
    place = Place(*([b'"b"'] if refuse else []))
    outcome = place.take(*(meter(i, *several) for i, several in enumerate(messages)))
    for i, several in enumerate(messages):
        good = [one["dev"] for one in several if isinstance(one, dict) and one.get("dev") in {"a", "b"}]
        bad = len(good) < len(several)
        retried = refuse and "b" in good
        assert (f"sqs-{i}" in outcome.retry) == retried
        body = meter(i, *several)["body"]
        letters = sum(letter["MessageBody"] == body for letter in place.queue.letters)
        expected = sum(one == several and not (refuse and "b" in good) and bad for one in messages)
        assert letters == expected
