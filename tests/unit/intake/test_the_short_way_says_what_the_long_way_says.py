"""Plain messages take a short way through a source; what it says is what the long way says."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.intake.sources import compile_source
from common.intake.sources.matching import received
from common.intake.sources.outcome import Outcome
from common.runtime.errors import RejectedEvent

from ...support.generated import cases
from ...support.sources import PARSER, SIMPLE, record

US = 1_792_483_300_000_000
PLAIN = {**SIMPLE, "match": {"topic": "{line}/+"}, "time": [{"at": "m.t", "as": "ms"}, "$arrived"],
         "key": ["dev", "m.n", "$line", "$time"], "delete": "gone"}  # fmt: skip


def both(source: dict[str, Any], content: str, line: str = "l4") -> tuple[Outcome | str, Outcome | str, bool]:
    """What a source says with its short way and without, and whether it has one that took the message."""
    compiled = compile_source("device", source)
    _, transport = received(record(content, mqtt_topic=f"{line}/x"))
    captures = {"line": line}
    said: list[Outcome | str] = []
    short = compiled.express
    took = short is not None and short(content, captures, PARSER, US) is not None
    for way in (short, None):
        compiled.express = way
        try:
            said.append(compiled.read(content, transport, captures, PARSER, US))
        except RejectedEvent as reason:
            said.append(str(reason))
    return said[0], said[1], took


GOOD = '{"dev":"d","m":{"t":1792483200512,"n":7},"v":1.10}'


def test_a_plain_message_takes_it() -> None:
    short, long, took = both(PLAIN, GOOD)
    assert took
    assert short == long


T = "1792483200512"


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace('"d"', '"a|b"'),
        GOOD.replace('"d"', '"a\\\\b"'),
        GOOD.replace('"d"', '""'),
        GOOD.replace("7", "-0"),
        GOOD.replace("7", "0"),
        GOOD.replace("7", "true"),
        GOOD.replace("7", "1.10"),
        GOOD.replace("7", "null"),
        GOOD.replace("7", "1e3"),
        GOOD.replace("7", '"x:y"'),
        GOOD.replace("7", "9" * 5000),
        GOOD.replace('"d"', f'"{"x" * 300}"'),
        GOOD.replace('"n":7', '"n":7,"n":8'),
        GOOD.replace('"v":1.10', '"v":1,"v":"\\u003a"'),
        f" {GOOD}",
        f"{GOOD} x",
        "[]",
        GOOD.replace(T, "1792483200512.5"),
        GOOD.replace(T, "0"),
        GOOD.replace(T, '"1792483200512"'),
        GOOD.replace(T, "9" * 18),
        GOOD.replace(T, "true"),
        GOOD.replace('"m"', '"o"'),
        GOOD.replace("{", '{"gone":true,', 1),
        GOOD.replace("{", '{"gone":false,', 1),
        '{"dev":"d","m":5}',
        GOOD[:-1],
        "\ud800",
        GOOD.replace('"d"', '"\ud800"'),
        "",
        "{}",
        GOOD.replace("1.10", "[" * 600 + "]" * 600),
        GOOD.replace("1.10", '"' + "x" * 1_100_000 + '"'),
    ],
)
def test_whatever_is_odd_ends_as_on_the_long_way(content: str) -> None:
    short, long, _ = both(PLAIN, content)
    assert short == long


def test_a_name_of_a_level_may_be_odd_too() -> None:
    for line in ("", "a|b", "\\", "x" * 300):
        short, long, _ = both(PLAIN, GOOD, line)
        assert short == long


@pytest.mark.parametrize(
    "more",
    [
        {"payload": "m"},
        {"id": {"without": ["v"]}},
        {"skip": [{"reason": "x", "when": "x"}]},
        {"correlation": "v"},
        {"period": "v"},
        {"each": "m"},
        {"unpack": ["json"]},
        {"topic": {"path": "v"}},
        {"key": ["dev", {"first": ["v"]}]},
        {"time": "t"},
        {"time": {"at": "t", "as": "ns"}},
        {"time": {"at": "t", "as": "s", "unset": [1]}},
        {"delete": {"of": "v", "equals": 1}},
    ],
)
def test_a_source_that_says_more_has_no_short_way(more: dict[str, Any]) -> None:
    assert compile_source("device", {**PLAIN, **more}).express is None


def test_generations_of_ids_are_told_apart_on_both() -> None:
    short, long, took = both({**PLAIN, "id": {"generation": 2}}, GOOD)
    assert took
    assert short == long != both(PLAIN, GOOD)[0]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=8)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
parts = st.sampled_from(["d", "é:", "a|b", "", 7, 0, -3, 1.5, None, True])


@settings(max_examples=cases(150))
@given(st.dictionaries(st.text(max_size=4), values, max_size=4), parts, parts, st.booleans(), st.booleans())
def test_any_message_ends_the_same(
    more: dict[str, Any], dev: Any, n: Any, escaped: bool, spaces: bool
) -> None:
    body = {**more, "dev": dev, "m": {"t": 1_792_483_200_512, "n": n}}
    content = json.dumps(body, ensure_ascii=escaped, separators=(", ", ": ") if spaces else (",", ":"))
    short, long, _ = both(PLAIN, content)
    assert short == long
