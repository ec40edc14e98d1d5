"""Whatever a payload holds, flattening, casting and setting aside 1 MiB of it takes about a second at most.

Counted is the time of this thread on a processor, which the load of other processes changes by a factor of
two or three; so much is allowed. What is linear then stays below the bound (1 MiB of 175,000 members, the
most that fit, takes 0.8 s), what is quadratic passes it many times over. Sizes grow, so that it fails soon.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.contract.casting import cast_rows
from common.contract.contracts import load_contract
from common.payload.flattening import flatten

from ...support.generated import cases

SIZES = (2**15, 2**18)
ALLOWED_S_PER_BYTE = 3 / 2**20
CONTRACT = load_contract(
    """
apiVersion: v3.0.2
kind: DataContract
id: t
name: t
version: 1.0.0
status: active
schema:
  - name: t
    properties:
      - {name: id, logicalType: integer, required: true, criticalDataElement: true}
      - {name: n, logicalType: number, criticalDataElement: true}
      - {name: d, logicalType: timestamp}
      - {name: s, logicalType: string, logicalTypeOptions: {pattern: "^(a|ab)*$", maxLength: 5}}
""",
    "t",
)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def alone(payload: str) -> None:
    flatten(pa.array([payload.encode("utf-8", "surrogatepass")]).view(pa.string()))


def among_others(payload: str) -> None:
    """As often as it takes for a shape to be learned, together as long."""
    part = payload.encode("utf-8", "surrogatepass")
    flatten(pa.array([part] * 20).view(pa.string()))


def cast(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    envelope = {
        "message_id": "m",
        "idempotency_key": "k",
        "topic_name": "t",
        "period_reference": "2026-05",
        "correlation_id": "",
    }
    times = {"publish_time": NOW, "ingestion_ts": NOW}
    row = envelope | times | {"_merge_seq": 1, "_rescued": text} | dict.fromkeys(("id", "n", "d", "s"), text)
    assert cast_rows(pa.Table.from_pylist([row]), CONTRACT, b"").rejected.num_rows == 1


READERS = {"alone": (alone, 1), "among others": (among_others, 20), "cast": (cast, 5)}
FRAMES = {
    "as it is": "{}",
    "a member": '{{"a":{}}}',
    "a text": '{{"a":"{}"}}',
    "a key": '{{"{}":1}}',
    "a key of objects": '{{"{}":{{"a":1,"b":{{"c":1}}}}}}',
    "members": '{{{}"z":1}}',
    "members far down": '{{"a":' * 400 + '{{{}"z":1}}' + "}}" * 400,
    "members below the depth limit": '{{"a":' * 7 + '{{{}"z":1}}' + "}}" * 7,
    "members below a long key": '{{"' + "k" * 2000 + '":{{{}"z":1}}}}',
    "members below a key of full length": '{{"' + "k" * 240 + '":{{{}"z":1}}}}',
    "an array": '{{"a":[{}1]}}',
    "after the end": '{{"a":1}}{}',
}


def grows_with_its_bytes(reader: str, frame: str, unit: Callable[[int], str]) -> None:
    read, share = READERS[reader]
    for size in SIZES:
        body: list[str] = []
        length, number = 0, 0
        while length < size // share:
            body.append(unit(number))
            length += len(body[-1].encode("utf-8", "surrogatepass"))
            number += 1
        text = FRAMES[frame].format("".join(body))
        started = time.thread_time()
        read(text)
        spent = time.thread_time() - started
        allowed = 1 + size * ALLOWED_S_PER_BYTE  # a second for what the first call of anything costs
        assert spent <= allowed, f"{reader}: {spent:.1f} s for {size:,} bytes of {unit(0)!r} in {frame}"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("frame", "unit"),
    [
        pytest.param("members", lambda _: '"a":1,', id="one key written again and again"),
        pytest.param("members", lambda n: f'"a#{n}":1,"a":1,', id="keys like those that repetition makes"),
        pytest.param("members", lambda n: f'"k{n}":1,', id="wide"),
        pytest.param("members", lambda n: f'"k{n}":{{"a":1}},', id="wide, two levels"),
        pytest.param("members", lambda n: f'"_{n}":null,', id="nulls"),
        pytest.param("members far down", lambda n: f'"k{n}":1,', id="wide and deep"),
        pytest.param("members below the depth limit", lambda n: f'"k{n}":1,', id="wide at the limit"),
        pytest.param("members below a long key", lambda n: f'"k{n}":1,', id="wide below a long key"),
        pytest.param(
            "members below a key of full length", lambda _: '"a":1,', id="a pointer again and again"
        ),
        pytest.param(
            "members below a key of full length", lambda n: f'"a#{n}":1,"a":1,', id="and others like it"
        ),
        pytest.param(
            "members below a key of full length", lambda n: f'"k{n}":1,', id="wide below a key of full length"
        ),
        pytest.param("a member", lambda _: '{"a":', id="deep objects that never end"),
        pytest.param("a member", lambda _: "[", id="deep arrays that never end"),
        pytest.param("a member", lambda _: "1", id="long number"),
        pytest.param("a member", lambda _: " ", id="white space"),
        pytest.param("a text", lambda _: '\\"', id="escapes"),
        pytest.param("a text", lambda _: "\\ud800", id="halves of surrogate pairs"),
        pytest.param("a text", lambda _: "\\ud83d\\ude00", id="surrogate pairs"),
        pytest.param("a text", lambda _: "😀", id="characters of four bytes"),
        pytest.param("a key", lambda _: "k", id="long key"),
        pytest.param("a key", lambda _: "~/", id="long key of what pointers escape"),
        pytest.param("a key of objects", lambda _: "é", id="long key of objects"),
        pytest.param("an array", lambda _: "[],", id="array of arrays"),
        pytest.param("an array", lambda _: '{"a":1,"a":2},', id="array of objects"),
        pytest.param("after the end", lambda _: " ", id="white space after the end"),
    ],
)
def test_a_known_kind_of_hostile_payload_takes_linear_time(
    reader: str, frame: str, unit: Callable[[int], str]
) -> None:
    grows_with_its_bytes(reader, frame, unit)


UNITS = [
    *('"a":1,', '"a":{},', '"a":[],', '"a":null,', '"":"",', '"a":{"b":1},', '" ":1 ,', '"\\u0061":1,'),
    *("[", "]", "{", "}", '"', ":", ",", "\\", '\\"', '{"a":', '[{"a":', "[],", "{},", "1", "-", "0.", "e"),
    *(
        " ",
        "\n",
        "\t",
        "\0",
        "\x1f",
        "é",
        "\u2028",
        "\ud800",
        "😀",
        "\\ud800",
        "\\u0000",
        "~",
        "/",
        "#2",
        "_",
    ),
    *("true", "null,", "NaN"),
]


@settings(max_examples=cases(20), deadline=None)
@given(
    reader=st.sampled_from(sorted(READERS)),
    frame=st.sampled_from(sorted(FRAMES)),
    units=st.lists(st.sampled_from(UNITS), min_size=1, max_size=3),
)
def test_any_repetition_takes_linear_time(reader: str, frame: str, units: list[str]) -> None:
    grows_with_its_bytes(reader, frame, lambda _: "".join(units))
