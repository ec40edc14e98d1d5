"""Uses what ``sqs_processor`` loads for sources alone, so that trimming cannot take it away unnoticed.

``make build`` runs this file in an interpreter that sees one function's code and its layers, nothing else.
It reaches no network.
"""

import importlib.resources

from google.protobuf import descriptor_pb2

from common.intake.events import EventParser
from common.intake.sources import Sources, compile_source

FIELD = descriptor_pb2.FieldDescriptorProto
file = descriptor_pb2.FileDescriptorProto(name="trial.proto", package="trial", syntax="proto3")
file.message_type.add(name="Reading").field.add(
    name="dev", number=1, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL
)
descriptors = {"trial.binpb": descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()}

common = {"version": 1, "topic": "events", "key": "dev", "correlation": "length(keys(@))"}
local = {"at": {"constant": "2026-01-02 03:04"}, "as": "yyyy-MM-dd HH:mm", "zone": "Europe/Berlin"}
protobuf = {"protobuf": {"descriptor": "trial.binpb", "message": "trial.Reading"}}
kinds: dict[str, dict[str, object]] = {
    "cbor": {"unpack": ["base64", "cbor"], "time": local},
    "protobuf": {"unpack": ["base64", protobuf], "time": "$arrived"},
    "csv": {"unpack": ["csv"], "time": "$arrived"},
}
sources = Sources(
    compile_source(name, {**common, "match": {"attributes": {"kind": name}}, **more}, descriptors)
    for name, more in kinds.items()
)
for kind, body in {"cbor": "oWNkZXZhZA==", "protobuf": "CgFk", "csv": "dev\nd\n"}.items():
    record = {
        "body": body,
        "attributes": {"SentTimestamp": "1792483200000"},
        "messageAttributes": {"kind": {"dataType": "String", "stringValue": kind}},
    }
    if len(sources.read(record, EventParser(frozenset({"events"}))).events) != 1:
        raise AssertionError(f"{kind}: expected one event")

if not importlib.resources.files("tzdata").joinpath("zoneinfo/Europe/Berlin").is_file():
    raise AssertionError("time zones: expected those of tzdata")
