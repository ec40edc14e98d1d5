"""``trace`` finds an event wherever it is, with times, and shows no payload value."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import Result

from lean_ops.accounts import observation
from lean_ops.environment.target import Target
from lean_ops.operate import pipeline

PUBLISHED = datetime.now(UTC).replace(microsecond=0)


def event(name: str, key: str, minutes: int = 0, **changes: Any) -> str:
    payload = {"device": {"id": "canary", "type": "pump"}, "reading": {"value": 1, "unit": "bar"}}
    fields = {
        "message_id": name,
        "idempotency_key": key,
        "topic_name": "events",
        "publish_time": (PUBLISHED + timedelta(minutes=minutes)).isoformat(),
        "payload": payload,
    }
    return json.dumps(fields | changes)


@pytest.fixture(scope="module", autouse=True)
def _sent(target: Target, lean_ops: Callable[..., Result]) -> Iterator[None]:
    url, sqs = target.queue_url(target.source_queue), target.client("sqs")
    first = [event("trace-1", "trace-k1"), event("trace-2", "trace-k2"), event("trace-3", "trace-k3")]
    second = [
        event("trace-1", "trace-k1"),
        event("trace-2b", "trace-k2", 5),
        event("trace-3b", "trace-k3", 5, payload={"device": {"id": "canary"}}),
        event("trace-4", "trace-k4", topic_name="nowhere"),
    ]
    for bodies in (first, second):
        for body in bodies:
            sqs.send_message(QueueUrl=url, MessageBody=body)
        assert observation.settle(target, timeout_s=300) == 0
    arn = pipeline.start(target, "events")
    list(pipeline.follow(target, arn))
    assert pipeline.outcome(target, arn).succeeded
    assert lean_ops("dlq", "archive").exit_code == 0
    sqs.send_message(QueueUrl=url, MessageBody=event("trace-5", "trace-k5"))
    assert observation.settle(target, timeout_s=300) == 0
    yield


@pytest.fixture
def trace(lean_ops: Callable[..., Result]) -> Callable[..., list[dict[str, Any]]]:
    def run(name: str, *options: str) -> list[dict[str, Any]]:
        result = lean_ops("trace", name, "--json", *options)
        assert result.exception is None, result.exception
        assert "canary" not in result.stdout
        sightings: list[dict[str, Any]] = json.loads(result.stdout)["sightings"]
        return sightings

    return run


Trace = Callable[..., list[dict[str, Any]]]


def test_a_good_event_is_followed_from_the_queue_to_semantic_in_time(trace: Trace) -> None:
    way = [sighting for sighting in trace("trace-1") if "again" not in sighting["what"]]
    by_place = {sighting["place"]: sighting for sighting in reversed(way)}
    assert list(by_place) == ["Semantic", "Curated", "RAW", "source queue"]
    times = [datetime.fromisoformat(by_place[place]["at"]) for place in reversed(by_place)]
    assert times == sorted(times)
    assert by_place["Curated"]["what"] == "is the current version of its key"
    assert by_place["Semantic"]["what"].startswith("published under contract")
    assert by_place["Curated"]["facts"]["run_id"] == by_place["Semantic"]["facts"]["run_id"]


def test_a_copy_is_named_as_one(trace: Trace) -> None:
    first, *copies = [s["what"] for s in trace("trace-1") if s["place"] == "source queue"]
    assert first == "accepted"
    assert set(copies) == {"accepted again: a copy, the first one counts"}  # sent twice; SQS may add to that


def test_a_superseded_event_names_what_took_its_place(trace: Trace) -> None:
    way = {sighting["place"]: sighting["what"] for sighting in trace("trace-2")}
    assert way["Curated"] == "superseded by trace-2b, which was published later"
    assert way["Semantic"] == "holds trace-2b of its key"


def test_a_quarantined_event_says_which_rules_it_broke(trace: Trace) -> None:
    way = {sighting["place"]: sighting["what"] for sighting in trace("trace-3b")}
    assert way["Curated"] == "is the current version of its key"
    assert "trace-3b was refused by contract" in way["Quarantine"]
    assert "device_type:missing" in way["Quarantine"]


def test_the_history_of_a_key_says_which_version_counted_when_and_why(
    lean_ops: Callable[..., Result],
) -> None:
    def fates(key: str) -> list[tuple[str, str]]:
        answer = lean_ops("history", key, "--json")
        assert answer.exit_code == 0, answer.output
        versions = json.loads(answer.stdout)["versions"]
        bounds = [(version["since"], version["until"]) for version in versions]
        assert [until for _, until in bounds] == [*(since for since, _ in bounds[1:]), None]
        # SQS delivers at least once: any of them may have a copy more, and the one that was sent twice has.
        assert all(version["copies"] >= (2 if key == "trace-k1" else 1) for version in versions)
        return [(version["message_id"], version["fate"].partition(" under ")[0]) for version in versions]

    assert fates("trace-k1") == [("trace-1", "current in Curated; stands in Semantic")]
    assert fates("trace-k2") == [
        ("trace-2", "superseded"),
        ("trace-2b", "current in Curated; stands in Semantic"),
    ]
    ((older, stands), (newer, refused)) = fates("trace-k3")
    assert (older, stands, newer) == ("trace-3", "stands in Semantic", "trace-3b")
    assert "refused by contract" in refused
    assert lean_ops("history", "nobody").exit_code == 1


def test_a_dead_letter_is_found_in_the_archive_and_on_request_in_the_queue(trace: Trace) -> None:
    (letter,) = trace("trace-4")
    assert letter["place"] == "archive of dead letters"
    assert letter["what"].startswith("dead: UNKNOWN_TOPIC")
    assert [s["place"] for s in trace("trace-4", "--queue")] == [
        "dead-letter queue",
        "archive of dead letters",
    ]


def test_an_event_that_no_run_has_merged_says_so(trace: Trace) -> None:
    way = {sighting["place"]: sighting["what"] for sighting in trace("trace-5")}
    assert way["Curated"] == "not merged yet: the next run takes it up"


def test_what_was_read_is_said_and_an_unknown_event_ends_with_exit_code_one(
    lean_ops: Callable[..., Result],
) -> None:
    done = lean_ops("trace", "trace-1", "--since", "2d")
    assert "raw_events:" in done.stdout
    assert "by days of publish_time" in " ".join(done.stdout.split())
    missing = lean_ops("trace", "trace-unknown")
    assert missing.exit_code == 1
    assert "was seen nowhere in this window" in missing.stdout
    old = lean_ops("trace", "trace-1", "--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z")
    assert old.exit_code == 1
