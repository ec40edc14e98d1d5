"""Messages of every codec, mutilated at random: delivered, skipped by rule, or refused with a reason.

A few hundred of each in `make test`; `make fuzz-sources` makes 100,000 of each (FUZZ_MESSAGES, FUZZ_SEED).
"""

import base64
import gzip
import json
import os
import random
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
import pytest

from common.intake.events import MAX_RECORD_BYTES, RejectCode
from common.intake.sources import Sources, compile_source
from common.intake.sources.unpacking import MAX_READINGS
from common.runtime.errors import RejectedEvent

from ...support.sources import ARRIVED_MS, PARSER, record
from .test_messages_of_sources_are_unpacked_in_bounds import FLEET, fleet_message

_payload = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "150"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CODES = {str(code) for code in RejectCode} - {RejectCode.UNPROCESSABLE, RejectCode.TWO_SOURCES}
EVENT: dict[str, Any] = {
    "version": 1,
    "match": "others",
    "topic": {"first": ["topic", {"constant": "events"}]},
    "key": [{"first": ["dev", "name"]}, "$time"],
    "time": [
        {"at": "t", "as": "ms"},
        {"at": "at"},
        {"at": "s", "as": "s", "plus": [{"at": "ns", "as": "ns"}]},
        "$arrived",
    ],
    "skip": [{"reason": "joins", "when": {"of": "join", "present": True}}],
    "id": {"without": ["rssi"]},
    "payload": {
        "without": ["rssi"],
        "with": {
            "twice": {"scale": "v", "by": 2},
            "low": {"low_high": "pair"},
            "all": {"product": ["v", "t"]},
        },
    },
    "delete": "gone",
}


def reading(draw: random.Random) -> dict[str, Any]:
    """One reading as a device may send it: most of it good."""
    found: dict[str, Any] = {"dev": f"d-{draw.randrange(9)}", "v": round(draw.uniform(-50, 50), 3)}
    found |= draw.choice(
        [
            {"t": ARRIVED_MS - draw.randrange(10**9)},
            {"at": "2026-10-20T08:00:00.123456789Z"},
            {"t": 0},
            {"t": "x"},
            {"s": 1_792_483_200, "ns": 5},
            {"at": "2026-10-20"},
            {"t": 10 ** draw.randrange(30)},
            {},
        ]
    )
    found |= draw.choice(
        [
            {},
            {},
            {"rssi": -70},
            {"join": 1},
            {"gone": True},
            {"topic": "nowhere"},
            {"v": None},
            {"v": "21,4"},
            {"pair": {"low": -1, "high": 3}},
            {"name": "é|\\"},
            {"dev": ""},
        ]
    )
    return found


def text(draw: random.Random) -> bytes:
    return json.dumps(reading(draw), ensure_ascii=draw.random() < 0.5).encode()


def lines(draw: random.Random) -> bytes:
    return draw.choice([b"\n", b"\r\n", b"\n\n"]).join(text(draw) for _ in range(draw.randrange(5)))


def cells(draw: random.Random) -> bytes:
    rows = [
        f"{r['dev']};{str(r['v']).replace('.', ',')};{r.get('t', '')}"
        for r in (reading(draw) for _ in range(3))
    ]
    return "\r\n".join(["dev;v;t", *rows]).encode()


def cbor(draw: random.Random) -> bytes:
    found = {
        draw.choice([1, "dev"]): "d",
        2: draw.choice([1, 2.5, b"\1", float("nan"), [1, {}], cbor2.CBORTag(4, [-2, 2150])]),
        3: cbor2.CBORTag(1, ARRIVED_MS // 1000),
    }
    return cbor2.dumps(found, canonical=draw.random() < 0.5)


def protobuf(draw: random.Random) -> bytes:
    return fleet_message(
        dev=f"d-{draw.randrange(9)}", temp=draw.uniform(-50, 50), at_ms=ARRIVED_MS, raw=draw.randbytes(3)
    )


def delimited(draw: random.Random) -> bytes:
    return b"".join(bytes([len(one)]) + one for one in (protobuf(draw) for _ in range(draw.randrange(4))))


def senml(draw: random.Random) -> bytes:
    records: list[dict[str, Any]] = [{"bn": "urn:d:", "bt": draw.choice([1_792_483_200, -5, 0, 1e99])}]
    records += [
        draw.choice([{"n": "t", "v": 1.5, "t": -6}, {"n": "run", "vb": True}, {"bn": "x"}, {"v": 1}])
        for _ in range(3)
    ]
    return json.dumps(records).encode()


def entries(draw: random.Random) -> bytes:
    return json.dumps({f"b-{i}": [reading(draw)] * draw.randrange(3) for i in range(3)}).encode()


def scalar(draw: random.Random) -> bytes:
    return draw.choice([b"21.4", b"on", b'"on"', b"nan", b"", b"true", b"1e999", b"[1]", b"{}"])


def nan(draw: random.Random) -> bytes:
    return text(draw).replace(b'"v": ', draw.choice([b'"v": nan, "w": ', b'"v": ']))


CBOR = {"cbor": {"names": {"1": "dev", "2": "v", "3": "s"}}}
KINDS: dict[str, tuple[dict[str, Any], Callable[[random.Random], bytes], bool]] = {
    # By name: what a source adds, what makes a message, and whether it is packed as base64.
    "json": ({}, text, False),
    "short way": (
        {
            "topic": "events",
            "time": [{"at": "t", "as": "ms"}, "$arrived"],
            "key": ["dev"],
            "payload": "@",
            "id": None,
            "skip": None,
        },
        text,
        False,
    ),
    "bare nan": ({"unpack": [{"json": {"nan": "null"}}]}, nan, False),
    "ndjson": ({"unpack": ["ndjson"]}, lines, False),
    "csv": ({"unpack": [{"csv": {"delimiter": ";", "decimal": ","}}]}, cells, False),
    "base64 and gzip": (
        {"unpack": ["base64", {"gzip": {"optional": True}}, "ndjson"]},
        lambda d: gzip.compress(lines(d), 1),
        True,
    ),
    "base64 and zlib": ({"unpack": ["base64", "zlib"]}, lambda d: zlib.compress(text(d), 1), True),
    "hex": ({"unpack": ["hex"]}, lambda d: text(d).hex().encode(), False),
    "cbor": ({"unpack": ["base64", CBOR]}, cbor, True),
    "cbor in a row": (
        {"unpack": ["base64", {"cbor": {**CBOR["cbor"], "sequence": True}}]},
        lambda d: cbor(d) + cbor(d),
        True,
    ),
    "protobuf": (
        {
            "unpack": ["base64", {"protobuf": {"descriptor": "f", "message": "fleet.Reading"}}],
            "time": {"at": "at_ms", "as": "ms"},
        },
        protobuf,
        True,
    ),
    "protobuf in a row": (
        {
            "unpack": [
                "base64",
                {
                    "protobuf": {
                        "descriptor": "f",
                        "message": "fleet.Reading",
                        "delimited": True,
                        "unknown": "ignore",
                    }
                },
            ]
        },
        delimited,
        True,
    ),
    "binary": (
        {"unpack": ["hex", {"binary": {"layout": "<Qfb", "names": ["t", "v", "dev"]}}]},
        lambda d: struct.pack("<Qfb", ARRIVED_MS, d.uniform(-9, 9), d.randrange(9)).hex().encode(),
        False,
    ),
    "scalar": ({"unpack": ["scalar"], "key": {"constant": "k"}}, scalar, False),
    "senml": (
        {
            "each": {"in": "@", "carry": ["bn", "bt"]},
            "key": {"join": ["bn", "n"]},
            "time": {"at": "bt", "as": "s", "plus": [{"at": "t", "as": "s"}], "relative_below": 268435456},
        },
        senml,
        False,
    ),
    "entries": (
        {"each": [{"in": "@", "entries": True, "as": "boiler"}, "@"], "key": ["$boiler_key", "dev"]},
        entries,
        False,
    ),
    "expressions": (
        {
            "correlation": "to_number(v) && abs(v)",
            "skip": [{"reason": "odd", "when": "length(keys(@)) > `6`"}],
            "payload": {"object": {"v": "max([v, `0`])", "all": "$message.[dev, v][?@ > `1`]"}},
        },
        text,
        False,
    ),
    "a part": (
        {"unpack": [{"at": "name", "when": {"of": "name", "present": True}, "unpack": ["base64", "json"]}]},
        text,
        False,
    ),
}
_TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"\\",
    b"\\ud800",
    b"null",
    b"-",
    b"1e999",
    b"9" * 40,
    b"\xff",
    b"\0",
    b"\x9f",
    b"\xbf",
    b"\xd8\x1c",
    b"\x1f\x8b",
    b"[" * 600,
    b"dev",
    b"\xc4\x82",
    "\u2028".encode(),
]


def mutilated(draw: random.Random, content: bytes) -> bytes:
    """Two in three messages, a few times: cut, changed, repeated, or with something strange inside."""
    for _ in range(draw.choice([0, 1, 1, 2, 4, 0])):
        at = draw.randrange(len(content) + 1)
        match draw.randrange(6):
            case 0:
                content = content[:at]
            case 1:
                content = content[:at] + draw.randbytes(1) + content[at + 1 :]
            case 2:
                content = content[:at] + draw.choice(_TOKENS) + content[at:]
            case 3:
                content = content[:at] + content[at + draw.randrange(9) :]
            case 4:
                content = content[:at] + content[: draw.randrange(40)] + content[at:]
            case 5 if content:
                i = draw.randrange(len(content))
                content = content[:i] + bytes([content[i] ^ 1 << draw.randrange(8)]) + content[i + 1 :]
    return content


@pytest.mark.parametrize("name", KINDS)
def test_a_message_ends_in_one_of_three_ways(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    more, make, packed = KINDS[name]
    described = {field: value for field, value in {**EVENT, **more}.items() if value is not None}
    sources = Sources([compile_source("device", described, {"f": FLEET})])
    draw = random.Random(f"{SEED} {name}")
    ends: Counter[str] = Counter()
    for _ in range(MESSAGES):
        content = mutilated(draw, make(draw))
        if packed:
            content = (
                mutilated(draw, base64.b64encode(content))
                if draw.random() < 0.1
                else base64.b64encode(content)
            )
        body = content.decode("utf-8", draw.choice(["replace", "surrogateescape"]))
        ends.update(end(sources, body))
    assert ends["delivered"]
    assert ends["dead letter"]
    if "FUZZ_MESSAGES" in os.environ:
        with capsys.disabled():
            sys.stdout.write(f"\n{name}: {MESSAGES:,} messages, {dict(ends)}\n")


def end(sources: Sources, body: str) -> list[str]:
    """How a message ended: delivered, skipped, dead letter, or several of them for its readings."""
    try:
        outcome = sources.read(record(body), PARSER)
    except RejectedEvent as reason:
        assert reason.code in CODES, (body, str(reason))
        return ["dead letter"]
    for made in outcome.events:
        row = msgspec.json.decode(made.record)
        assert len(made.record) <= MAX_RECORD_BYTES
        assert 0 < len(row["message_id"]) <= 128, body
        assert 0 < len(row["idempotency_key"]) <= 256, body
        assert row["json_payload"] is None or _payload(row["json_payload"]) is not None, body
    assert {refusal.code for refusal in outcome.refused} <= CODES, (body, outcome.refused)
    assert len(outcome.events) + len(outcome.refused) <= MAX_READINGS + 1
    ways = [("delivered", outcome.events), ("skipped", outcome.skipped), ("dead letter", outcome.refused)]
    return [way for way, found in ways if found] or ["nothing in it"]
