"""Functions know topics from a registry: new ones within a minute, the last good one where it is gone."""

import json
import time
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from common.runtime.errors import InvalidInput, ServiceFailure
from common.runtime.settings import SqsProcessorSettings
from common.runtime.topics import FRESH_S, REGISTRY_KEY, Topic, Topics, named, read_registry, registry_of
from lean_ops.environment.repository import function_catalogue, known_topics
from sqs_processor import handler as function

from .test_batch_failures_name_exactly_the_records_concerned import Firehose, Queue, good


class Lake:
    """A bucket whose registry changes, is damaged, or cannot be read; counts how often it is asked."""

    def __init__(self, *topics: str) -> None:
        self.content = registry_of(dict.fromkeys(topics, Topic())).written()
        self.error: Exception | None = None
        self.reads = 0

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert (Bucket, Key) == ("lake", REGISTRY_KEY)
        self.reads += 1
        if self.error is not None:
            raise self.error
        return {"Body": BytesIO(self.content)}


DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")
FAILURES = [
    DENIED,
    ClientError({"Error": {"Code": "NoSuchKey", "Message": "no"}}, "GetObject"),
    ClientError({"Error": {"Code": "SlowDown", "Message": "no"}}, "GetObject"),
    EndpointConnectionError(endpoint_url="https://s3"),
    TimeoutError(),
]
DAMAGED = [b"", b"{", b"[]", b'{"version": 2, "topics": {"a": {}}}', b'{"version": 1, "topics": {}}', b"\xff"]


@pytest.fixture
def lake() -> Lake:
    return Lake("events")


class Place:
    """The function with a lake, a Firehose and a dead-letter queue, and a clock."""

    def __init__(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake, self.firehose, self.letters, self.now = lake, Firehose(), Queue(), 0.0
        services = {"s3": lake, "firehose": self.firehose, "sqs": self.letters}
        topics = Topics(cast("Any", lake), "lake", clock=lambda: self.now)
        settings = SqsProcessorSettings("lean-ops", "test", "queue", "lake")
        monkeypatch.setattr(function, "_settings", lambda: settings)
        monkeypatch.setattr(function, "_client", services.__getitem__)
        monkeypatch.setattr(function, "_topics", lambda: topics)

    def take(self, *messages: dict[str, Any]) -> list[str]:
        """The messages that are to be delivered again."""
        context: Any = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 60_000)
        sent = {"SentTimestamp": str(int(time.time() * 1000))}  # CloudWatch takes no counts of long ago
        messages = tuple(message | {"attributes": message["attributes"] | sent} for message in messages)
        answer = function.handler({"Records": list(messages)}, context)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@pytest.fixture
def place(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(lake, monkeypatch)


def test_a_new_topic_is_taken_within_a_minute(place: Place) -> None:
    assert place.take(good(1, "fresh")) == []
    assert len(place.letters.bodies) == 1
    place.lake.content = registry_of({"events": Topic(), "fresh": Topic()}).written()
    place.now += FRESH_S
    assert place.take(good(2, "fresh")) == []
    assert (len(place.letters.bodies), len(place.firehose.accepted)) == (1, 1)


def test_messages_of_unknown_topics_cause_no_reads(place: Place) -> None:
    for number in range(50):
        place.take(*(good(number * 10 + n, "nobody") for n in range(10)))
        place.now += 1
    assert place.lake.reads == 1
    assert len(place.letters.bodies) == 500


@pytest.mark.parametrize("failure", [*FAILURES, *DAMAGED])
def test_the_last_good_registry_counts_and_it_is_said(
    place: Place,
    failure: Exception | bytes,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place.take(good(1))
    assert "RegistryUnread" not in capsys.readouterr().out
    _break(place.lake, failure)
    for minute in range(3):
        place.now += FRESH_S
        for n in range(5):
            assert place.take(good(10 * minute + n)) == []
    assert len(place.firehose.accepted) == 16
    assert place.lake.reads == 4  # once a minute, of a failing registry too
    out = capsys.readouterr().out
    assert '"RegistryUnread"' in out
    assert "the one that was read before counts on" in caplog.text
    place.lake.error, place.lake.content = None, registry_of({"events": Topic()}).written()
    place.now += FRESH_S
    place.take(good(99))
    assert "RegistryUnread" not in capsys.readouterr().out


@pytest.mark.parametrize("failure", [*FAILURES, *DAMAGED])
def test_without_any_registry_the_batch_is_tried_again_and_nothing_is_rejected(
    place: Place, failure: Exception | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    _break(place.lake, failure)
    assert place.take(good(1), good(2, "nobody")) == ["sqs-1", "sqs-2"]
    assert (place.letters.bodies, place.firehose.accepted) == ([], [])
    out = capsys.readouterr().out
    assert '"RegistryUnread"' in out
    assert '"FailedBatches":[1' in out.replace(" ", "")  # what the circuit breaker counts
    place.lake.error, place.lake.content = None, registry_of({"events": Topic()}).written()
    assert place.take(good(1), good(2, "nobody")) == []  # at once: there was none to go on with
    assert (len(place.letters.bodies), len(place.firehose.accepted)) == (1, 1)


def _break(lake: Lake, failure: Exception | bytes) -> None:
    if isinstance(failure, bytes):
        lake.content = failure
    else:
        lake.error = failure


def test_a_rejection_names_few_topics_of_many(place: Place) -> None:
    place.lake.content = registry_of({f"t{n}": Topic() for n in range(700)}).written()
    place.take(good(1, "nobody"))
    (attributes,) = place.letters.attributes
    detail = attributes["error_detail"]["StringValue"]
    assert "t0, t1, t10, t100, t101, t102, t103, t104 and 692 more" in detail
    assert len(detail) < 300


@given(st.one_of(st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps({"version": 1, "topics": value}).encode()
)))  # fmt: skip
def test_what_is_no_registry_is_one_kind_of_failure(content: bytes) -> None:
    lake = Lake()
    lake.content = content
    with pytest.raises(ServiceFailure, match=f"expected s3://lake/{REGISTRY_KEY}"):
        read_registry(cast("Any", lake), "lake")


names = st.from_regex(r"[a-z][a-z0-9_]{0,29}", fullmatch=True)
TOPICS = st.dictionaries(names, st.builds(Topic, st.booleans(), st.booleans(), st.booleans()), min_size=1)


@given(TOPICS)
def test_what_is_written_is_what_is_read(topics: dict[str, Topic]) -> None:
    lake = Lake()
    lake.content = registry_of(topics).written()
    assert read_registry(cast("Any", lake), "lake").topics == topics


def test_a_later_release_may_say_more() -> None:
    lake = Lake()
    lake.content = b'{"version": 1, "made": "x", "topics": {"a": {"contract": true, "colour": "red"}}}'
    assert read_registry(cast("Any", lake), "lake").topics == {"a": Topic(contract=True)}


def test_few_names_are_all_named() -> None:
    assert named({"b", "a"}) == "a, b"


WRONG: list[tuple[str, str]] = [
    ("air-quality", "found 'air-quality'"), ("Air", "found 'Air'"), ("9lives", "found '9lives'"),
    ("a" * 31, f"found '{'a' * 31}'"), ("ä", "found 'ä'"),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "said"), WRONG)
def test_a_name_that_cannot_be_a_topics_is_refused_in_one_sentence(topic: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"^topics: expected names of 1 to 30 .*{said}; rename"):
        known_topics({"LEAN_OPS_TOPICS": f"weather,{topic}"})


@pytest.mark.parametrize("function_name", [entry.name for entry in function_catalogue()])
def test_a_topic_is_not_called_like_a_function(function_name: str) -> None:
    with pytest.raises(InvalidInput, match=f"that no function has, .* found {function_name}; rename"):
        known_topics({"LEAN_OPS_TOPICS": function_name})


def test_a_topic_may_begin_like_another() -> None:
    assert {"events", "events_eu"} <= set(known_topics({"LEAN_OPS_TOPICS": "events_eu"}))
