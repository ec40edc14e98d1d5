"""Every source in docs/sources reads what its kind of device sends; the messages are invented."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from common.intake.sources import Sources
from common.intake.sources.outcome import Outcome
from common.runtime.errors import RejectedEvent
from lean_ops.environment.source_files import lint, load_source, overlaps, source_files

from ...support.sources import ARRIVED_MS, PARSER, events, ids, keys, payloads, record, times

FOLDER = Path(__file__).parents[3] / "docs/sources"
ALL = {name: load_source(path) for name, path in source_files(FOLDER).items()}
US = 1_792_483_200_000_000
AT = "2026-10-20T08:00:00.000000Z"


def read(body: Any, **how: Any) -> Outcome:
    """By whichever example the message is for."""
    text = body if isinstance(body, str) else json.dumps(body)
    return Sources(ALL.values()).read(record(text, **how), PARSER)


def mqtt(topic: str, content: bytes, client: str = "c-1") -> Outcome:
    """A message that AWS IoT's rule has put on the queue."""
    data = base64.b64encode(content).decode()
    return read({"data": data, "mqtt_topic": topic, "client_id": client, "mqtt_time": ARRIVED_MS - 5})


@pytest.mark.parametrize("path", source_files(FOLDER).values(), ids=lambda path: path.stem)
def test_an_example_has_no_finding_but_the_one_that_is_true(path: Path) -> None:
    """A device of ThingsBoard may leave its time to the platform: a message that comes twice has two then."""
    expected = ["key"] if path.stem == "thingsboard-device" else []
    assert [finding.where for finding in lint(path)] == expected


def test_examples_are_for_different_messages() -> None:
    assert [str(finding) for finding in overlaps(ALL) if finding.severity == "error"] == []


def test_senml_in_cbor() -> None:
    outcome = read(
        "gaUhcHVybjpkZXY6b3M6OS1wNDoiGmrXH4AAZHRlbXABY0NlbALEgiEZECI=", attributes={"format": "senml-cbor"}
    )
    assert keys(outcome) == [f"urn:dev:os:9-p4:temp|{AT}"]
    assert payloads(outcome) == ['{"name":"urn:dev:os:9-p4:temp","unit":"Cel","value":41.30}']


def test_senml_in_json() -> None:
    body = (
        '[{"bn":"urn:dev:os:9-p4:","bt":1792483200},{"n":"temp","u":"Cel","v":41.30},'
        '{"n":"temp","t":-60,"v":41.1},'
        '{"n":"run","vb":true},{"n":"door","new_":1},{"bn":"","n":null,"v":1}]'
    )
    outcome = read(body, attributes={"format": "senml"})
    assert times(outcome) == [US, US - 60_000_000, US]
    assert payloads(outcome)[0] == '{"name":"urn:dev:os:9-p4:temp","unit":"Cel","value":41.30}'
    assert payloads(outcome)[2] == '{"name":"urn:dev:os:9-p4:run","value":true}'
    assert [refusal.place for refusal in outcome.refused] == ["[4]", "[5]"]
    relative = read('[{"n":"x","v":1,"t":-10},{"n":"y","bv":2,"v":0.5}]', attributes={"format": "senml"})
    assert times(relative) == [ARRIVED_MS * 1000 - 10_000_000, ARRIVED_MS * 1000]
    assert json.loads(payloads(relative)[1])["value"] == 2.5


def test_thingsboard_in_its_three_forms() -> None:
    topic = "v1/devices/me/telemetry"
    plain = mqtt(topic, b'{"temp":21.40,"serial":"0012E4"}', client="b-1")
    assert (keys(plain)[0][:4], payloads(plain)) == ("b-1|", ['{"temp":21.40,"serial":"0012E4"}'])
    mixed = mqtt(topic, b'[{"ts":1792483200512,"values":{"temp":21.4}},{"temp":22}]', client="b-1")
    assert keys(mixed)[0] == "b-1|2026-10-20T08:00:00.512000Z"
    assert payloads(mixed) == ['{"temp":21.4}', '{"temp":22}']
    body = b'{"boiler-7":[{"ts":1792483200512,"values":{"temp":61}},{"ts":1792483200,"values":{}}],"b-8":[]}'
    gateway = mqtt("v1/gateway/telemetry", body)
    assert keys(gateway) == ["boiler-7|2026-10-20T08:00:00.512000Z"]
    assert payloads(gateway) == ['{"temp":61,"device":"boiler-7"}']
    assert [refusal.place for refusal in gateway.refused] == ["[0][1]"]
    assert gateway.skipped == {"empty": 1}


def test_a_list_of_metrics_like_sparkplugs() -> None:
    metrics = [
        {"name": "Line/Temp", "alias": 5, "timestamp": 1792483200100, "dataType": "Float", "value": 41.3},
        {"name": "Run", "value": True},
        {"alias": 6, "isNull": True},
        {"name": "Count", "timestamp": {"low": 1481837691, "high": 417, "unsigned": True}, "value": 7},
        {"name": "Line/Temp", "timestamp": 1792479600000, "isHistorical": True, "value": 40},
    ]
    body = json.dumps({"timestamp": 1792483200900, "seq": 255, "metrics": metrics}).encode()
    outcome = mqtt("spBv1.0/plant/DDATA/n1/press", body)
    assert keys(outcome)[0] == "plant|n1|press|Line/Temp|2026-10-20T08:00:00.100000Z"
    assert times(outcome) == [US + 100_000, US + 900_000, US + 123_000, US - 3_600_000_000]
    assert [refusal.place for refusal in outcome.refused] == ["[2]"]
    assert {event["correlation_id"] for event in events(outcome)} == {"255"}
    dead = mqtt("spBv1.0/plant/NDEATH/n1/press", b"\x08\x01")
    assert (dead.events, dead.skipped) == ([], {"deaths": 1})


def test_an_update_of_a_shadow() -> None:
    topic = "$aws/things/lamp-4/shadow/update/documents"
    body = {
        "previous": {"state": {}, "version": 6},
        "current": {"state": {"desired": {"lamp": 1}, "reported": {"lamp": 0}}, "version": 7},
        "timestamp": 1792483200,
    }
    outcome = mqtt(topic, json.dumps(body).encode())
    assert (keys(outcome), payloads(outcome)) == (["lamp-4"], ['{"lamp":0,"thing":"lamp-4"}'])
    assert ids(mqtt(topic, json.dumps({**body, "previous": {}}).encode())) == ids(outcome)
    wish = mqtt(topic, json.dumps({**body, "current": {"state": {"desired": {}}}}).encode())
    assert wish.skipped == {"wishes only": 1}


def test_a_message_that_iot_hub_has_routed() -> None:
    body: dict[str, Any] = {
        "EnqueuedTimeUtc": "2026-10-20T08:00:00.4560000Z",
        "Properties": {},
        "SystemProperties": {"connectionDeviceId": "press-2", "connectionAuthMethod": '{"scope":"device"}'},
        "Body": "eyJ0Ijo0MS4zMH0=",
    }
    assert payloads(read(body)) == ['{"t":41.30,"device":"press-2","scope":"device"}']
    assert payloads(read({**body, "Body": {"t": 1.5}})) == ['{"t":1.5,"device":"press-2","scope":"device"}']
    with pytest.raises(RejectedEvent, match="NOT_UNPACKED"):
        read({**body, "Body": base64.b64encode(b"t=41").decode()})


def test_a_gateways_batch_of_lines() -> None:
    lines = b'{"gw":"g5","unit":17,"reg":40001,"at":"2026-10-20T10:00:00+02:00","val":65535}\r\n{"gw":"g5"'
    for content in (gzip.compress(lines), lines, gzip.compress(lines[:9]) + gzip.compress(lines[9:])):
        outcome = read(base64.b64encode(content).decode(), attributes={"format": "registers"})
        assert keys(outcome) == [f"g5|17|40001|{AT}"]
        assert [refusal.place for refusal in outcome.refused] == ["[1]"]


def test_a_fleets_protobuf() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((FOLDER / "fleet.binpb").read_bytes()).file:
        pool.Add(file)
    track: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("fleet.Track"))()
    track.firmware = "7.1"
    track.positions.add(at_ms=1792483200000, lat=48.1, lon=11.5)
    track.positions.add(at_ms=0, lat=1.0)
    outcome = mqtt("fleet/v-9/track", track.SerializeToString())
    assert keys(outcome) == [f"v-9|{AT}"]
    assert json.loads(payloads(outcome)[0]) == {
        "at_ms": "1792483200000", "lat": 48.1, "lon": 11.5, "fuel_percent": 0, "vehicle": "v-9",
        "firmware": "7.1",
    }  # fmt: skip
    assert [refusal.place for refusal in outcome.refused] == ["[1]"]


@pytest.mark.parametrize(
    ("content", "state"),
    [(b"21.4", "21.4"), (b"on", '"on"'), (b'"on"', '"on"'), (b"nan", '"nan"'), (b"unavailable", None)],
)
def test_a_state_of_home_assistant(content: bytes, state: str | None) -> None:
    outcome = mqtt("ha/sensor/boiler/state", content)
    assert payloads(outcome) == ([] if state is None else [f'{{"entity":"boiler","state":{state}}}'])
    assert outcome.skipped == ({"unavailable": 1} if state is None else {})
