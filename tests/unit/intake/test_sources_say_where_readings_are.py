"""Fan-out, values, conditions and keys: what the language of sources can say, form by form."""

import json
from typing import Any

import pytest

from common.intake.sources import SourceError, compile_source
from common.runtime.errors import RejectedEvent

from ...support.sources import SIMPLE, events, keys, payloads, read

# What a payload whose only part is absent ends in.
ABSENT = "payload: expected an object, found none"


def source(**fields: Any) -> dict[str, Any]:
    return {**SIMPLE, **fields}


def made(value: Any, body: Any) -> Any:
    """What a value of the language is, on a message."""
    outcome = read(source(key={"constant": "k"}, payload={"object": {"v": value}}), body)
    if outcome.refused:
        return outcome.refused[0].detail
    return json.loads(payloads(outcome)[0])["v"] if outcome.events else None


def test_a_payload_is_the_bytes_that_were_sent() -> None:
    body = '{"dev":"a",  "d" : {"v": 1.10, "n":1234567890123456789012, "t": "\\u00e9", "e":1E5}}'
    assert payloads(read(source(payload="d"), body)) == [
        '{"v": 1.10, "n":1234567890123456789012, "t": "\\u00e9", "e":1E5}'
    ]
    assert payloads(read(source(), body)) == [body]


def test_numbers_that_are_composed_keep_their_text() -> None:
    body = '{"dev":"a","v":1.10,"big":12345678901234567890123,"e":1E5,"serial":"0012E4"}'
    composed = source(payload={"object": {"value": "v", "big": "big", "e": "e", "serial": "serial"}})
    assert payloads(read(composed, body)) == [
        '{"value":1.10,"big":12345678901234567890123,"e":1E5,"serial":"0012E4"}'
    ]


def test_arrays_objects_and_parents_make_readings() -> None:
    body = {"site": "s", "boilers": {"b-7": [{"t": 1}, {"t": 2}], "b-8": []}}
    described = source(
        each=[
            {"in": "boilers", "entries": True, "as": "boiler"},
            {"in": "@", "as": "reading"},
        ],
        key=["$message.site", "$boiler_key", "t"],
        payload={"object": {"t": "t", "position": "$index", "of": {"path": "$parent[0].t"}}},
    )
    outcome = read(described, body)
    assert keys(outcome) == ["s|b-7|1", "s|b-7|2"]
    assert [made_.place for made_ in outcome.events] == ["[0][0]", "[0][1]"]
    assert payloads(outcome) == ['{"t":1,"position":0,"of":1}', '{"t":2,"position":1,"of":1}']
    assert outcome.skipped == {"empty": 1}


def test_what_is_carried_forward_holds_until_it_is_replaced() -> None:
    body = [{"bn": "a/", "bt": 5}, {"n": "x", "v": 1}, {"bn": "b/", "n": "y", "v": 2}, {"n": "z", "v": 3}]
    described = source(each={"in": "@", "carry": ["bn", "bt"]}, key={"join": ["bn", "n"]})
    outcome = read(described, body)
    assert keys(outcome) == ["a/x", "b/y", "b/z"]
    assert json.loads(payloads(outcome)[2]) == {"bn": "b/", "bt": 5, "n": "z", "v": 3}


def test_one_message_may_hold_readings_of_several_kinds_and_topics() -> None:
    body = {"dev": "d", "temps": [{"c": 4}], "hums": [{"p": 5}, {"p": 6}]}
    described = source(
        readings=[
            {"name": "temperature", "each": "temps", "topic": "temperatures", "key": ["$message.dev", "c"]},
            {"name": "humidity", "each": "hums", "topic": "humidities", "key": ["$message.dev", "p"]},
        ]
    )
    outcome = read(described, body)
    assert [(event["topic_name"], event["idempotency_key"]) for event in events(outcome)] == [
        ("temperatures", "d|4"),
        ("humidities", "d|5"),
        ("humidities", "d|6"),
    ]


def test_a_topic_may_come_from_a_value() -> None:
    by_value = source(each="@", topic={"lookup": "kind", "in": {"t": "temperatures", "h": "humidities"}})
    outcome = read(
        by_value, [{"dev": "a", "kind": "t"}, {"dev": "a", "kind": "x"}, {"dev": "a", "kind": "h"}]
    )
    assert [event["topic_name"] for event in events(outcome)] == ["temperatures", "humidities"]
    assert [refusal.place for refusal in outcome.refused] == ["[1]"]


def test_a_topic_that_does_not_exist_refuses_its_reading_alone() -> None:
    outcome = read(
        source(each="@", topic={"path": "t"}), [{"dev": 1, "t": "nowhere"}, {"dev": 2, "t": "events"}]
    )
    assert keys(outcome) == ["2"]
    assert [refusal.code for refusal in outcome.refused] == ["UNKNOWN_TOPIC"]


@pytest.mark.parametrize(
    ("value", "body", "expected"),
    [
        ("a.b[1]", {"a": {"b": [1, 2]}}, 2),
        ("a[-1]", {"a": [1, 2]}, 2),
        ('"pump:0"."a.b"', {"pump:0": {"a.b": 7}}, 7),
        ('"°C"', {"°C": 21}, 21),
        ('""', {"": 3}, 3),
        ("length(a)", {"a": [1, 2]}, 2),
        ("a[?k=='x'].v | [0]", {"a": [{"k": "y", "v": 1}, {"k": "x", "v": 2}]}, 2),
        ("a[?v > `1.5`].v | [0]", {"a": [{"v": 1.4}, {"v": 1.6}]}, 1.6),
        ("sum(a)", {"a": [0.1, 0.2]}, 0.3),
        ("avg(a)", {"a": [0.5, 1]}, 0.75),
        ("max_by(a, &v).k", {"a": [{"k": 1, "v": 0.5}, {"k": 2, "v": 1}]}, 2),
        ("type(a)", {"a": 1.5}, "number"),
        ("to_number(a)", {"a": "1.10"}, 1.10),
        ("to_string(a)", {"a": [1.5]}, "[1.5]"),
        ("$message.a", {"a": 1}, 1),
        ({"first": ["x", "y", "z"]}, {"y": None, "z": 3}, 3),
        ({"join": ["a", "b"], "with": "/"}, {"a": "x", "b": 2}, "x/2"),
        ({"split": "a", "by": "/", "take": -1}, {"a": "/press2/temp"}, "temp"),
        ({"sum": ["a", "b"]}, {"a": 200, "b": 0.29}, 200.29),
        ({"scale": "a", "by": "0.01"}, {"a": 2150}, 21.50),
        ({"scale": "a", "by": "1.8", "plus": 32}, {"a": 100}, 212.0),
        ({"number": "a"}, {"a": " 41.30 "}, 41.30),
        ({"low_high": "a"}, {"a": {"low": 1481837691, "high": 417, "unsigned": True}}, 1792483200123),
        ({"low_high": "a"}, {"a": {"low": -1, "high": -1}}, -1),
        ({"low_high": "a"}, {"a": 5}, 5),
        ({"lookup": "a", "in": {"1": "on"}}, {"a": 1}, "on"),
        ({"lookup": "a", "in": {"1": "on"}, "else": "keep"}, {"a": 2}, 2),
        ({"list": ["a", "b", "c"]}, {"a": 1, "c": 3}, [1, 3]),
        ({"object": {"x": "a", "y": "missing"}}, {"a": 1}, {"x": 1}),
        ({"constant": None}, {}, None),
        ({"product": ["a", "b"]}, {"a": 3, "b": 1.5}, 4.5),
        ({"sum": ["a", "b"]}, {"a": 10**50, "b": 1}, 10**50 + 1),
        ({"product": ["a", "b"]}, {"a": 10**50 + 1, "b": 10**50 + 1}, (10**50 + 1) ** 2),
        ({"product": ["a", "missing"]}, {"a": 3}, ABSENT),
        ({"pick": "a", "at": "i"}, {"a": [5, 6], "i": 1}, 6),
        ({"pick": "a", "at": "i"}, {"a": [5, 6], "i": 2}, ABSENT),
        ({"pick": "a", "at": "i"}, {"a": [5, 6], "i": "0" * 5000 + "9"}, ABSENT),
        ({"pick": "a", "at": "i"}, {"a": {"7": "temp"}, "i": 7}, "temp"),
        ({"zip": ["a", "b"]}, {"a": ["x", "y"], "b": [1, None]}, {"x": 1, "y": None}),
    ],
)
def test_a_value(value: Any, body: Any, expected: Any) -> None:
    assert made(value, {"dev": "d", **body}) == expected


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"sum": ["a"]}, {"a": "x"}),
        ({"sum": ["a"]}, {"a": "9" * 100}),
        ({"scale": "a"}, {"a": []}),
        ({"lookup": "a", "in": {"1": "on"}}, {"a": 2}),
        ({"low_high": "a"}, {"a": {"low": 1}}),
        ({"number": "a"}, {"a": "12E"}),
        ({"zip": ["a", "a"]}, {"a": ["x", "x"]}),
        ({"low_high": "a"}, {"a": {"low": 10**50, "high": 1}}),
        ({"low_high": "a"}, {"a": {"low": 0.5, "high": 1}}),
        ({"product": ["a"] * 9}, {"a": 10**55 + 1}),
        ({"product": ["a"]}, {"a": "x"}),
        ({"join": ["a"]}, {"a": {}}),
        ("to_number(a) && abs(a)", {"a": "7"}),
        ("length(@)", {"a": 10**5000}),
    ],
)
def test_a_value_that_cannot_be_refuses_the_reading_and_quotes_nothing(value: Any, body: Any) -> None:
    described = source(each="@", key={"constant": "k"}, payload={"object": {"v": {"first": [value, "ok"]}}})
    text = json.dumps([{"ok": 1}])[:-1] + ', {"dev":"d",' + _fields(body) + "}]"
    outcome = read(described, text)
    assert [refusal.code for refusal in outcome.refused] == ["MALFORMED_FIELD"]
    assert outcome.refused[0].place == "[1]"
    assert len(outcome.events) == 1
    assert outcome.reason is not None
    assert "9999" not in outcome.reason.detail


def _fields(body: dict[str, Any]) -> str:
    parts = []
    for name, value in body.items():
        big = isinstance(value, int) and value > 10**100
        parts.append(f'"{name}":' + ("1" * 5000 if big else json.dumps(value)))
    return ",".join(parts)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("a", True),
        ("missing", False),
        ({"of": "a", "equals": 1}, True),
        ({"of": "a", "equals": "1"}, False),
        ({"of": "f", "equals": 1.5}, True),
        ({"of": "t", "one_of": ["x", "join"]}, True),
        ({"of": "n", "present": True}, False),
        ({"of": "n", "kind": "null"}, True),
        ({"of": "t", "begins": "jo"}, True),
        ({"of": "t", "ends": "in"}, True),
        ({"of": "p", "like": "a/+/c"}, True),
        ({"not": {"of": "a", "equals": 1}}, False),
        ({"all": ["a", {"of": "t", "equals": "join"}]}, True),
        ({"any": ["missing", {"of": "t", "equals": "join"}]}, True),
        ("a == `1` && t == 'join'", True),
    ],
)
def test_a_condition_leaves_a_message_out(when: Any, holds: bool) -> None:
    body = {"dev": "d", "a": 1, "f": 1.50, "t": "join", "n": None, "p": "a/b/c"}
    outcome = read(source(skip=[{"reason": "joins", "when": when}]), body)
    assert outcome.skipped == ({"joins": 1} if holds else {})
    assert len(outcome.events) == (0 if holds else 1)


def test_a_rule_on_the_transport_counts_before_the_message_is_unpacked() -> None:
    wills = source(
        match={"topic": "spBv1.0/{group}/{kind}/#"},
        key="$group",
        skip=[{"reason": "deaths", "when": {"of": "$kind", "equals": "NDEATH"}}],
    )
    outcome = read(wills, "no JSON at all", mqtt_topic="spBv1.0/g/NDEATH/n")
    assert outcome.skipped == {"deaths": 1}
    with pytest.raises(RejectedEvent, match="NOT_JSON"):
        read(wills, "no JSON at all", mqtt_topic="spBv1.0/g/NDATA/n")


def test_a_refuse_rule_names_itself() -> None:
    unknown = {"of": "keys(@)[?ends_with(@, '_')] | [0]", "present": True}
    described = source(each={"in": "@", "refuse": [{"reason": "must be understood", "when": unknown}]})
    outcome = read(described, [{"dev": 1, "x_": 1}, {"dev": 2}])
    assert keys(outcome) == ["2"]
    assert "must be understood" in outcome.refused[0].detail


def test_a_delete_has_no_payload() -> None:
    outcome = read(source(delete={"of": "op", "equals": "gone"}), {"dev": "d", "op": "gone"})
    (event,) = events(outcome)
    assert (event["operation"], event["json_payload"]) == ("delete", None)


def test_period_and_correlation_are_values_like_others() -> None:
    described = source(each="@", period="month", correlation="batch")
    outcome = read(described, [{"dev": 1, "month": "2026-09", "batch": 7}, {"dev": 2, "month": "September"}])
    (event,) = events(outcome)
    assert (event["period_reference"], event["correlation_id"]) == ("2026-09", "7")
    assert outcome.refused[0].detail.startswith("period: expected YYYY-MM")


def test_parts_of_keys_are_kept_apart_and_none_is_missing() -> None:
    described = source(each="@", key=["a", "b"])
    outcome = read(
        described,
        [["x"], {"a": "p|q", "b": "r"}, {"a": "p", "b": "q|r"}, {"a": "p", "b": None}, {"a": "", "b": 1}],
    )
    assert keys(outcome) == ["p\\|q|r", "p|q\\|r"]
    assert [refusal.place for refusal in outcome.refused] == ["[0]", "[3]", "[4]"]


def test_a_key_that_is_too_long_becomes_a_hash() -> None:
    (key,) = keys(read(source(), {"dev": "x" * 300}))
    assert key.startswith("sha256:")
    assert len(key) == 71


def test_a_name_that_is_there_twice_is_refused_where_it_is_read() -> None:
    with pytest.raises(RejectedEvent, match="REPEATED_FIELD"):
        read(source(skip=[{"reason": "x", "when": "nothing"}]), '{"dev":"a","dev":"b"}')
    outcome = read(source(each="l"), '{"l":[{"dev":"a", "dev":"b"},{"dev":"c", "x":1}]}')
    assert keys(outcome) == ["c"]
    assert [refusal.code for refusal in outcome.refused] == ["REPEATED_FIELD"]


def test_fields_are_dropped_and_added_to_a_payload() -> None:
    described = source(
        payload={"without": ["rssi", "meta.hop"], "with": {"line": {"constant": "l4"}, "no": "missing"}}
    )
    body = '{"dev":"d","rssi":-70,"meta":{"hop":1,"v":1.10}}'
    assert payloads(read(described, body)) == ['{"dev":"d","meta":{"v":1.10},"line":"l4"}']


def test_a_payload_must_be_an_object() -> None:
    outcome = read(source(each="@", key="$index", payload="@"), [5, {"a": 1}])
    assert keys(outcome) == ["1"]
    assert "payload: expected an object, found number" in outcome.refused[0].detail


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"surprise": 1}, "surprise"),
        ({"match": {}}, "match"),
        ({"match": {"topic": "a/b+/c"}}, "match.topic"),
        ({"match": {"topic": "a/{time}"}}, "match"),
        ({"match": {"attributes": {"a": 5}}}, "match.attributes.a"),
        ({"key": 5}, "key"),
        ({"key": []}, "key"),
        ({"key": "$nobody"}, "key"),
        ({"key": ["a", "$device.x"]}, "key[1]"),
        ({"key": "a..b"}, "key"),
        ({"key": "nofunction(a)"}, "key"),
        ({"key": "(" * 900}, "key"),
        ({"topic": "Events"}, "topic"),
        ({"time": []}, "time"),
        ({"time": {"at": "t", "as": "minutes"}}, "time.as"),
        ({"time": {"at": "t", "as": "yyyy-MM-dd HH:mm"}}, "time"),
        ({"time": {"at": "t", "as": "dd.MM.yyyy HH:mm", "zone": "Nowhere/City"}}, "time.zone"),
        ({"time": {"at": "t", "as": "ms", "zone": "UTC"}}, "time.zone"),
        ({"time": ["$arrived", "t"]}, "time[0]"),
        ({"not_before": "2020"}, "not_before"),
        ({"each": {"in": "a", "as": "Topic"}}, "each.as"),
        ({"each": ["a", {"in": "b", "entries": "yes"}]}, "each[1].entries"),
        ({"skip": [{"reason": "NO", "when": "a"}]}, "skip[0].reason"),
        ({"skip": [{"reason": "x", "when": {"of": "a", "kind": "float"}}]}, "skip[0].when.kind"),
        ({"unpack": ["zip"]}, "unpack[0]"),
        ({"unpack": ["json", "base64"]}, "unpack[1]"),
        ({"unpack": [{"csv": {"delimiter": ";;"}}]}, "unpack[0].csv.delimiter"),
        (
            {"unpack": [{"protobuf": {"descriptor": "x.binpb", "message": "m"}}]},
            "unpack[0].protobuf.descriptor",
        ),
        ({"unpack": [{"at": "a[0]", "unpack": ["json"]}]}, "unpack[0].at"),
        ({"payload": {"sum": ["a"], "scale": "b"}}, "payload"),
        ({"payload": {"scale": "a", "by": "x"}}, "payload.by"),
        ({"id": {"hash": ["a"], "without": ["b"]}}, "id.without"),
        ({"readings": [{"name": "a"}, {"name": "a"}]}, "readings[1].name"),
    ],
)
def test_a_description_that_cannot_be_is_named_by_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(SourceError) as caught:
        compile_source("device", source(**fields))
    assert caught.value.where == where, str(caught.value)


@pytest.mark.parametrize("field", ["version", "match", "topic", "key", "time"])
def test_what_a_source_needs_is_named(field: str) -> None:
    with pytest.raises(SourceError) as caught:
        compile_source("device", {name: value for name, value in SIMPLE.items() if name != field})
    assert caught.value.where == field


def test_parallel_arrays_with_a_step_of_time_are_readings() -> None:
    body = {"dev": "d", "t0": 1_792_483_200, "step": 60, "temp": [4.1, 4.2], "hum": [88, 89]}
    described = source(
        each={"in": "temp", "as": "temp"},
        key=["$message.dev", "$time"],
        time={
            "at": "$message.t0",
            "as": "s",
            "plus": [{"at": {"product": ["$index", "$message.step"]}, "as": "s"}],
        },
        payload={"object": {"temp": "@", "hum": {"pick": "$message.hum", "at": "$index"}}},
    )
    outcome = read(described, body)
    assert keys(outcome) == ["d|2026-10-20T08:00:00.000000Z", "d|2026-10-20T08:01:00.000000Z"]
    assert payloads(outcome) == ['{"temp":4.1,"hum":88}', '{"temp":4.2,"hum":89}']


def test_rows_whose_columns_are_named_once_are_readings() -> None:
    body = {"columns": ["dev", "v"], "rows": [["a", 1.5], ["b", 2]]}
    described = source(each="rows", key="[0]", payload={"zip": ["$message.columns", "@"]})
    outcome = read(described, body)
    assert keys(outcome) == ["a", "b"]
    assert payloads(outcome) == ['{"dev":"a","v":1.5}', '{"dev":"b","v":2}']
