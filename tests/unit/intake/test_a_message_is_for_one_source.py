"""Matching: by topic, attribute or content; an event stays an event; two sources or none are said."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.intake.sources import Sources, compile_source, matching
from common.intake.sources.mqtt import MqttFilter
from common.intake.sources.outcome import Outcome
from common.runtime.errors import RejectedEvent

from ...support.generated import cases
from ...support.sources import ARRIVED_MS, PARSER, SIMPLE, events, keys, record

EVENT = {
    "message_id": "m", "idempotency_key": "k", "topic_name": "events", "publish_time": "2026-10-20T08:00:00Z",
    "payload": {"a": 1},
}  # fmt: skip


def sources(**matches: Any) -> Sources:
    """Sources by name, each with what it matches."""
    return Sources(compile_source(name, {**SIMPLE, "match": match}) for name, match in matches.items())


def chosen(known: Sources, body: Any, **how: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return known.read(record(text, **how), PARSER).source


def code(known: Sources, body: Any, **how: Any) -> str:
    with pytest.raises(RejectedEvent) as caught:
        chosen(known, body, **how)
    return caught.value.code


DEVICE = {"dev": "d", "type": "soil"}


def test_each_message_is_for_the_source_that_says_so() -> None:
    known = sources(
        topics={"topic": ["plant/{line}/+/up", "hall/{line}/up"]},
        attributes={"attributes": {"format": ["soil", "moss"]}},
        any={"attributes": {"gateway": True}},
        fields={"fields": {"type": "soil", "dev": True}},
    )
    assert chosen(known, {"dev": 1}, mqtt_topic="plant/l4/x/up") == "topics"
    assert chosen(known, {"dev": 1}, attributes={"format": "moss"}) == "attributes"
    assert chosen(known, {"dev": 1}, attributes={"gateway": "g"}) == "any"
    assert chosen(known, DEVICE) == "fields"
    assert code(known, {"dev": 1, "type": "rock"}) == "NO_SOURCE"
    assert code(known, "no JSON", mqtt_topic="plant/l4/up") == "NO_SOURCE"
    assert code(known, DEVICE, attributes={"gateway": "g"}) == "TWO_SOURCES"


def test_an_event_is_an_event_unless_topic_or_attribute_say_otherwise() -> None:
    known = sources(fields={"fields": {"payload": True}}, topics={"topic": "a/#"}, others="others")
    assert chosen(known, EVENT) == ""
    assert chosen(known, EVENT | {"idempotency_key": "k"}, mqtt_topic="b/c") == ""
    assert code(known, {**EVENT, "publish_time": "never"}) == "MALFORMED_FIELD"
    assert chosen(known, {"payload": {}, "dev": "d", "x": json.dumps(EVENT)}) == "fields"
    assert chosen(known, {"dev": "d"}) == "others"


def test_without_sources_a_message_is_refused_as_it_was_before() -> None:
    assert code(Sources(()), {"dev": 1}) == "MISSING_FIELD"
    assert code(Sources(()), "no JSON") == "NOT_JSON"


def wrapped(content: bytes, **more: Any) -> str:
    return json.dumps({"data": base64.b64encode(content).decode(), "mqtt_topic": "plant/l4/d1/up", **more})


def test_what_a_bridge_wrapped_is_read_as_it_was_sent() -> None:
    source = {
        **SIMPLE,
        "match": {"topic": "plant/{line}/{device}/up"},
        "key": ["$line", "$device", "$client"],
        "time": {"at": "$mqtt_time", "as": "ms"},
        "payload": {"object": {"v": "v", "level": "$levels[2]"}},
    }
    known = Sources([compile_source("device", source)])
    body = wrapped(b'{"v":10.0}', client_id="c-1", mqtt_time=1_792_483_200_500)
    (event,) = events(known.read(record(body), PARSER))
    assert event["idempotency_key"] == "l4|d1|c-1"
    assert event["json_payload"] == '{"v":10.0,"level":"d1"}'
    assert event["publish_time"] == 1_792_483_200_500_000


def test_an_event_that_a_bridge_wrapped_is_an_event() -> None:
    (event,) = events(Sources(()).read(record(wrapped(json.dumps(EVENT).encode())), PARSER))
    assert event["idempotency_key"] == "k"
    outcome = sources(others="others").read(record(json.dumps({**EVENT, "mqtt_topic": "a/b"})), PARSER)
    assert (outcome.source, keys(outcome)) == ("", ["k"])


@pytest.mark.parametrize("body", [
    '{"mqtt_topic":5,"dev":1}', '{"data":"AQ==","mqtt_topic":"a","temp":3,"dev":1}',
    '{"data":5,"mqtt_topic":"a","dev":1}',
    '{"dev":"\\"mqtt_topic\\""}', '{"data":"no base64!","mqtt_topic":"a","dev":1}',
])  # fmt: skip
def test_a_body_that_only_looks_wrapped_is_its_own_content(body: str) -> None:
    assert chosen(sources(others="others"), body) == "others"


def test_the_arrival_of_a_replayed_message_is_that_of_the_first_time() -> None:
    replayed = record(json.dumps(DEVICE), attributes={"arrived_ms": "1792483200000"}, sent_ms=ARRIVED_MS)
    (event,) = events(sources(others="others").read(replayed, PARSER))
    assert event["publish_time"] == 1_792_483_200_000_000
    assert event["ingestion_ts"] == ARRIVED_MS * 1000
    for absurd in ("-5", "soon", "9" * 30, str(ARRIVED_MS + 1), "²"):
        later = record(json.dumps(DEVICE), attributes={"arrived_ms": absurd})
        assert events(sources(others="others").read(later, PARSER))[0]["publish_time"] == ARRIVED_MS * 1000


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ({"topic": "a/+/c"}, {"topic": "a/b/#"}, "always"),
        ({"topic": "a/+/c"}, {"topic": "a/b/d"}, ""),
        ({"topic": "#"}, {"topic": "$aws/things/#"}, ""),
        ({"topic": "a/{x}", "fields": {"t": 1}}, {"topic": "a/+", "fields": {"t": [2, 3]}}, ""),
        ({"attributes": {"f": "x"}}, {"attributes": {"f": ["x", "y"]}}, "always"),
        ({"attributes": {"f": "x"}}, {"attributes": {"f": "y"}}, ""),
        ({"attributes": {"f": "x"}}, {"attributes": {"g": True}}, "perhaps"),
        ({"attributes": {"f": "x"}}, {"topic": "a"}, "perhaps"),
        ({"fields": {"t": "x"}}, {"fields": {"u": True}}, "perhaps"),
        ({"fields": {"t": "x"}}, {"fields": {"t": True, "u": True}}, "always"),
        ({"topic": "a/+"}, {"topic": "a/b", "fields": {"t": 1}}, "always"),
        ("others", {"topic": "#"}, ""),
        ("others", "others", "always"),
    ],
)
def test_sources_that_may_both_match_are_known_before_they_run(one: Any, other: Any, meet: str) -> None:
    first, second = (compile_source("device", {**SIMPLE, "match": match}).match for match in (one, other))
    assert first.may_meet(second) == second.may_meet(first) == meet


level = st.sampled_from(["a", "b", "+"])
filters = st.tuples(st.lists(level, min_size=1, max_size=3), st.booleans())


@settings(max_examples=cases(200))
@given(filters, filters, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4))
def test_filters_that_take_one_topic_meet(one: Any, other: Any, topic: list[str]) -> None:
    first, second = (
        MqttFilter("/".join([*levels, *(["#"] if more else [])])) for levels, more in (one, other)
    )
    if first.match("/".join(topic)) is not None and second.match("/".join(topic)) is not None:
        assert first.meets(second)
        assert second.meets(first)


def test_the_names_of_a_bridge_are_the_ones_that_the_rule_writes() -> None:
    assert (matching.TOPIC_FIELD, matching.CLIENT_FIELD, matching.TIME_FIELD, matching.CONTENT_FIELD) == (
        "mqtt_topic", "client_id", "mqtt_time", "data",
    )  # fmt: skip


def test_an_outcome_says_how_many_where_and_why() -> None:
    described = {**SIMPLE, "each": "@"}
    known = Sources([compile_source("device", described)])
    outcome: Outcome = known.read(record(json.dumps([{"dev": 1}, *[{"x": "secret"}] * 5])), PARSER)
    assert outcome.reason is not None
    assert outcome.reason.detail.startswith("source device@1: 5 of 6 readings refused; [1]: key:")
    assert outcome.reason.detail.endswith("and 2 more")
    assert "secret" not in outcome.reason.detail
