"""base64, gzip, NDJSON, CSV, CBOR, Protobuf: the good becomes readings, the rest is named; all is bounded."""

import base64
import gzip
import json
import zlib
from typing import Any

import cbor2
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from common.intake.sources import SourceError, compile_source
from common.intake.sources.unpacking import MAX_READINGS, MAX_UNPACKED_BYTES
from common.runtime.errors import RejectedEvent

from ...support.sources import SIMPLE, keys, payloads, read


def source(*unpack: Any, **fields: Any) -> dict[str, Any]:
    return {**SIMPLE, "unpack": list(unpack), **fields}


def gzipped(content: bytes) -> bytes:
    """The same bytes whenever it is made: they name the test."""
    return gzip.compress(content, mtime=0)


def packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


GOOD = b'{"dev":"d","v":1.10}'


@pytest.mark.parametrize(
    ("unpack", "body"),
    [
        ([], GOOD.decode()),
        (["json"], "\ufeff" + GOOD.decode()),
        (["base64"], packed(GOOD)),
        (["base64", "json"], base64.urlsafe_b64encode(GOOD).decode().rstrip("=")),
        (["base64"], "\n".join(packed(GOOD)[i : i + 8] for i in range(0, 40, 8))),
        ([{"base64": {"optional": True}}], GOOD.decode()),
        (["hex"], GOOD.hex()),
        (["base64", "gzip"], packed(gzipped(GOOD))),
        (["base64", "gzip"], packed(gzipped(GOOD[:7]) + gzipped(b"") + gzipped(GOOD[7:]))),
        (["base64", "gzip"], packed(gzipped(GOOD) + bytes(20))),
        (["base64", {"gzip": {"optional": True}}], packed(GOOD)),
        (["base64", "zlib"], packed(zlib.compress(GOOD))),
        (["base64", {"zlib": {"raw": True}}], packed(zlib.compress(GOOD)[2:-4])),
    ],
)  # fmt: skip
def test_a_chain_ends_at_the_bytes_that_were_packed(unpack: list[Any], body: str) -> None:
    assert payloads(read(source(*unpack), body)) == [GOOD.decode()]


@pytest.mark.parametrize(
    ("unpack", "body", "code", "step"),
    [
        (["base64"], "no base64!", "NOT_UNPACKED", "base64"),
        (["base64"], "A", "NOT_UNPACKED", "base64"),
        (["hex"], "0g", "NOT_UNPACKED", "hex"),
        (["base64", "gzip"], packed(GOOD), "NOT_UNPACKED", "gzip"),
        (["base64", "gzip"], packed(gzipped(GOOD)[:-9]), "NOT_UNPACKED", "gzip"),
        (["base64", "gzip"], packed(gzipped(GOOD)[:12] + b"xxxxxxxxx"), "NOT_UNPACKED", "gzip"),
        (["base64", "gzip"], packed(gzipped(GOOD) + b"more"), "NOT_UNPACKED", "gzip"),
        (["base64", "zlib"], packed(b"\x78\x9c"), "NOT_UNPACKED", "zlib"),
        (["base64", "gzip"], packed(gzipped(bytes(MAX_UNPACKED_BYTES + 1))), "TOO_LARGE", "gzip"),
        (["base64", "gzip", "gzip"], packed(gzipped(gzipped(bytes(2**24)))), "TOO_LARGE", "gzip"),
        (["base64", "gzip"], packed(gzipped(bytes(9 * 2**20)) * 2), "TOO_LARGE", "gzip"),
        (["base64", "json"], packed(b'{"a":"\xff"}'), "NOT_UNPACKED", "json"),
        (["base64", "json"], packed(b'{"a":nan}'), "NOT_UNPACKED", "json"),
        (["base64", "json"], packed(b"[" * 600 + b"]" * 600), "NOT_UNPACKED", "json"),
        (["base64", "scalar"], packed(b"\xff"), "NOT_UNPACKED", "scalar"),
        (["base64", "cbor"], packed(b"\xff"), "NOT_UNPACKED", "cbor"),
        (["ndjson"], "{}\n" * (MAX_READINGS + 1), "TOO_LARGE", "ndjson"),
        (["json"], "\ud800", "NOT_UNPACKED", "json"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_done_refuses_the_message_and_is_named(
    unpack: list[Any], body: str, code: str, step: str
) -> None:
    with pytest.raises(RejectedEvent) as caught:
        read(source(*unpack), body)
    assert caught.value.code == code
    assert caught.value.detail.startswith(f"source device@1: step {step}: ")


def test_an_array_of_too_many_readings_is_refused_as_a_whole() -> None:
    body = "[" + ",".join(["1"] * 100_000) + "]"
    with pytest.raises(RejectedEvent, match=r"TOO_LARGE.*10,000 readings"):
        read({**SIMPLE, "each": "@", "key": "$index", "payload": {"object": {"v": "@"}}}, body)


def test_an_expression_that_asks_for_the_message_in_every_reading_is_bounded() -> None:
    body = {"l": [{"dev": i} for i in range(500)], "pad": "x" * 200_000}
    described = {**SIMPLE, "each": "l", "correlation": "$message.l[?dev == `5`] | [0].dev"}
    with pytest.raises(RejectedEvent, match=r"TOO_LARGE.*look through"):
        read(described, body)


def test_bare_nan_is_null_where_the_source_allows_it_and_texts_stay() -> None:
    body = '{"dev":"nan","v":nan,"w":[NaN,-Infinity,"a nan \\" nan"],"n":1}'
    assert payloads(read(source({"json": {"nan": "null"}}), body)) == [
        '{"dev":"nan","v":null,"w":[null,null,"a nan \\" nan"],"n":1}'
    ]


def test_a_bad_line_is_named_and_the_others_are_delivered() -> None:
    lines = b'\xef\xbb\xbf{"dev":1}\r\n\r\n{"dev":2}\n{"dev"\n{"dev":4}\n{"dev":5'
    outcome = read(source("base64", "gzip", "ndjson"), packed(gzipped(lines)))
    assert keys(outcome) == ["1", "2", "4"]
    assert [refusal.place for refusal in outcome.refused] == ["[2]", "[4]"]


@pytest.mark.parametrize(
    ("body", "value"),
    [("21.4", "21.4"), ("on", '"on"'), ('"on"', '"on"'), ("unavailable", '"unavailable"'), ("nan", '"nan"'),
     (" 7 ", "7"), ("true", "true"), ("", '""'), ("0012E4", '"0012E4"')],
)  # fmt: skip
def test_a_bare_scalar_becomes_an_object(body: str, value: str) -> None:
    outcome = read(source("scalar", key={"constant": "k"}), body)
    assert payloads(outcome) == [f'{{"value":{value}}}']


def test_rows_of_csv_are_texts_with_points() -> None:
    body = 'dev;temp;note\r\na;41,30;"x;y"\r\nb;1\r\n\r\nc;0012,5;\r\n'
    outcome = read(source({"csv": {"delimiter": ";", "decimal": ","}}), body)
    assert payloads(outcome) == [
        '{"dev":"a","temp":"41.30","note":"x;y"}',
        '{"dev":"c","temp":"0012.5","note":""}',
    ]
    assert [refusal.place for refusal in outcome.refused] == ["[1]"]
    without_header = source({"csv": {"columns": ["dev", "v"]}}, payload={"object": {"v": {"number": "v"}}})
    assert payloads(read(without_header, "a,1.10")) == ['{"v":1.10}']


def test_a_part_of_a_message_is_unpacked_where_it_is_a_text() -> None:
    described = source(
        {"at": "Body", "when": {"of": "Body", "kind": "text"}, "unpack": ["base64", "json"]},
        {"at": "Sys.method", "unpack": ["json"]},
        key="Sys.method.scope",
        payload="Body",
    )
    wrapped = {"Body": packed(b'{"t":41.30}'), "Sys": {"method": '{"scope":"device"}'}}
    assert payloads(read(described, wrapped)) == ['{"t":41.30}']
    assert payloads(read(described, {**wrapped, "Body": {"t": 1}})) == ['{"t": 1}']
    assert keys(read(described, wrapped)) == ["device"]
    with pytest.raises(RejectedEvent, match="NOT_UNPACKED"):
        read(described, {**wrapped, "Body": packed(b"no JSON")})
    with pytest.raises(RejectedEvent, match="expected a text to unpack, found number"):
        read(described, {"Body": {}, "Sys": {"method": 5}})


def test_a_part_of_each_reading_is_unpacked_beside_its_neighbours() -> None:
    described = {**SIMPLE, "each": {"in": "@", "unpack": [{"at": "attributes", "unpack": ["json"]}]}}
    rows = [{"dev": 1, "attributes": '{"u":"°C"}'}, {"dev": 2, "attributes": "{"}, {"dev": 3}]
    outcome = read(described, rows)
    assert keys(outcome) == ["1", "3"]
    assert json.loads(payloads(outcome)[0])["attributes"] == {"u": "°C"}
    assert [refusal.place for refusal in outcome.refused] == ["[1]"]


SENSOR = {"cbor": {"names": {"1": "dev", "2": "at", "3": "t", "4": "raw", "5": "lux"}}}


def test_cbor_keeps_numbers_exact_and_names_its_labels() -> None:
    body = "pQFkay0xOQLBGmrXH4ADGQhmBEIBAgX5fgA="
    outcome = read(source("base64", SENSOR, time={"at": "at", "as": "s"}), body)
    assert payloads(outcome) == ['{"dev":"k-19","at":1792483200,"t":2150,"raw":"AQI=","lux":"NaN"}']


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (bytes.fromhex("a16161c48221191022"), '{"a":41.30}'),
        (bytes.fromhex("bf61619f0102ffff"), '{"a":[1,2]}'),
        (bytes.fromhex("a161617f62e282 61acff".replace(" ", "")), None),
        (bytes.fromhex("a161615f42010243030405ff"), '{"a":"AQIDBAU="}'),
        (bytes.fromhex("a16161c249010000000000000000"), '{"a":18446744073709551616}'),
        (bytes.fromhex("a16161f7"), '{"a":null}'),
        (bytes.fromhex("a16161f0"), None),
        (bytes.fromhex("a1616100") + b"\x00", None),
        (bytes.fromhex("a2616100616101"), None),
        (bytes.fromhex("a16161d81c81d81d00"), None),
        (bytes.fromhex("a1a0 00".replace(" ", "")), None),
        (bytes.fromhex("a16161c4821b7fffffffffffffff01"), None),
        (bytes.fromhex("a16161c5821b7fffffffffffffff01"), None),
        (b"\x81" * 200 + b"\x00", None),
        (bytes.fromhex("9bffffffffffffffff"), None),
        (bytes.fromhex("a16161fb7ff0000000000000"), '{"a":"Infinity"}'),
        (bytes.fromhex("a201006161 01".replace(" ", "")), '{"1":0,"a":1}'),
        (bytes.fromhex("a2010061 3101".replace(" ", "")), None),
    ],
)
def test_cbor_becomes_json_or_is_refused(content: bytes, payload: str | None) -> None:
    described = source("base64", "cbor", key={"constant": "k"})
    if payload is None:
        with pytest.raises(RejectedEvent, match="NOT_UNPACKED"):
            read(described, packed(content))
    else:
        assert payloads(read(described, packed(content))) == [payload]


def test_items_of_cbor_in_a_row_are_rows_until_one_cannot_be_read() -> None:
    body = packed(cbor2.dumps({"dev": 1}) + cbor2.dumps({"dev": 2}) + b"\x1c" + cbor2.dumps({"dev": 3}))
    outcome = read(source("base64", {"cbor": {"sequence": True}}), body)
    assert keys(outcome) == ["1", "2"]
    assert [refusal.place for refusal in outcome.refused] == ["[2]"]


def descriptors(*, fields: dict[str, int], name: str = "Reading") -> bytes:
    """A set as ``protoc`` compiles it: a message of texts, doubles and 64-bit integers."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="fleet.proto", package="fleet", syntax="proto3")
    message = file.message_type.add(name=name)
    for number, (field, type_) in enumerate(fields.items(), start=1):
        message.field.add(
            name=field, number=number, type=kind.Type.ValueType(type_), label=kind.LABEL_OPTIONAL
        )
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


FLEET = descriptors(fields={"dev": 9, "temp": 1, "at_ms": 3, "raw": 12})


def fleet_message(**values: Any) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(FLEET).file:
        pool.Add(file)
    return bytes(
        message_factory.GetMessageClass(pool.FindMessageTypeByName("fleet.Reading"))(
            **values
        ).SerializeToString()
    )


PROTOBUF = {"protobuf": {"descriptor": "fleet.binpb", "message": "fleet.Reading"}}


def test_protobuf_is_read_by_its_descriptor_and_zero_is_a_value() -> None:
    body = packed(fleet_message(dev="d", at_ms=1_792_483_200_512, raw=b"\1\2"))
    described = source("base64", PROTOBUF, time={"at": "at_ms", "as": "ms"})
    outcome = read(described, body, descriptors={"fleet.binpb": FLEET})
    assert payloads(outcome) == ['{"dev":"d","at_ms":"1792483200512","raw":"AQI=","temp":0.0}']


def test_protobuf_of_another_descriptor_is_refused_unless_unknown_fields_may_go() -> None:
    fewer = descriptors(fields={"dev": 9})
    body = packed(fleet_message(dev="d", temp=4.5))
    with pytest.raises(RejectedEvent, match=r"NOT_UNPACKED.*does not know"):
        read(source("base64", PROTOBUF), body, descriptors={"fleet.binpb": fewer})
    tolerant = {"protobuf": {**PROTOBUF["protobuf"], "unknown": "ignore"}}
    assert keys(read(source("base64", tolerant), body, descriptors={"fleet.binpb": fewer})) == ["d"]
    with pytest.raises(RejectedEvent, match="NOT_UNPACKED"):
        read(source("base64", PROTOBUF), packed(b"\x0a\xff\x01"), descriptors={"fleet.binpb": FLEET})


def test_messages_of_protobuf_in_a_row_are_rows() -> None:
    rows = [fleet_message(dev="a"), fleet_message(dev="b")]
    content = b"".join(bytes([len(row)]) + row for row in rows) + b"\x05\x0a"
    described = source("base64", {"protobuf": {**PROTOBUF["protobuf"], "delimited": True}})
    outcome = read(described, packed(content), descriptors={"fleet.binpb": FLEET})
    assert keys(outcome) == ["a", "b"]
    assert [refusal.place for refusal in outcome.refused] == ["[2]"]


@pytest.mark.parametrize("broken", [b"\xff\xff", descriptors(fields={"x": 9}, name="Other")])
def test_a_descriptor_that_does_not_fit_is_named(broken: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        compile_source("device", source("base64", PROTOBUF), {"fleet.binpb": broken})
    assert caught.value.where.startswith("unpack[1].protobuf")


BINARY = {"binary": {"layout": ">hHBx", "names": ["temp", "hum", "battery"]}}


def test_fields_of_fixed_size_are_read_by_their_layout() -> None:
    composed = {"object": {"temp": {"scale": "temp", "by": "0.01"}, "hum": "hum"}}
    described = source("hex", BINARY, payload=composed, key={"constant": "k"})
    assert payloads(read(described, "ff9c 0258 64 00")) == ['{"temp":-1.00,"hum":600}']
    with pytest.raises(RejectedEvent, match="expected 6 bytes, found 5"):
        read(described, "ff9c025864")
    floats = source("hex", {"binary": {"layout": "<ff", "names": ["a", "b"]}}, key={"constant": "k"})
    assert payloads(read(floats, "0000c07f" + "0000803f")) == ['{"a":"nan","b":1.0}']


@pytest.mark.parametrize("options", [
    {"layout": "hH", "names": ["a", "b"]}, {"layout": ">h9s", "names": ["a", "b"]},
    {"layout": ">hH", "names": ["a"]},
    {"layout": ">hH", "names": ["a", "a"]}, {"layout": ">" + "q" * 201, "names": ["a"]}, {"layout": ">h"},
])  # fmt: skip
def test_a_layout_that_cannot_be_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="binary"):
        compile_source("device", source({"binary": options}))
