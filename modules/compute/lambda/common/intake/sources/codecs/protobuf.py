"""Protobuf → JSON, by a compiled descriptor set (``protoc --include_imports -o fleet.binpb fleet.proto``).

The form is Protobuf's own JSON mapping with the names of the .proto file: 64-bit integers are texts, bytes
are base64, enums their names, a Timestamp is RFC 3339. Fields without presence that are zero, false or
empty are written as such: a reading of 0 is a reading. A field that the descriptor does not know refuses
the message, since it would be lost, unless the source says ``unknown: ignore``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, unknown_fields
from google.protobuf.message import DecodeError, Message

from common.intake.sources import slices
from common.intake.sources.expressions import Place, described, only, words
from common.intake.sources.rows import Document, Rows
from common.intake.sources.scope import MessageRefused
from common.intake.sources.unpacking import MAX_READINGS, Volume, too_many, unpacked
from common.runtime.errors import RejectedEvent

_UNKNOWN: Final = ("refuse", "ignore")


def parser(
    options: Mapping[str, Any], place: Place, descriptors: Mapping[str, bytes]
) -> Callable[[bytes, Volume], Document]:
    """Compile the step: ``descriptor`` (a file beside it), ``message``, ``unknown``, ``delimited``."""
    only(options, place, "descriptor", "message", "unknown", "delimited")
    name = words(options.get("descriptor"), place.at("descriptor"))
    unknown = options.get("unknown", "refuse")
    if unknown not in _UNKNOWN:
        raise place.at("unknown").error(f"expected refuse or ignore, found {described(unknown)}")
    delimited = options.get("delimited", False)
    if not isinstance(delimited, bool):
        raise place.at("delimited").error(f"expected true or false, found {described(delimited)}")
    if name not in descriptors:
        raise place.at("descriptor").error(
            "expected a file of compiled descriptors beside the source, found none"
        )
    kind = _kind(descriptors[name], words(options.get("message"), place.at("message")), place)

    def one(content: bytes, volume: Volume) -> msgspec.Raw:
        return _read(kind, content, volume, strict=unknown == "refuse")

    return (lambda content, volume: _several(one, content, volume)) if delimited else one


def _several(one: Callable[[bytes, Volume], msgspec.Raw], content: bytes, volume: Volume) -> Rows:
    rows: list[msgspec.Raw | RejectedEvent] = []
    parts = _parts(content)
    while True:
        try:
            if (part := next(parts, None)) is None:
                return Rows(rows)
            if len(rows) == MAX_READINGS:
                raise too_many()
            rows.append(one(part, volume))
        except MessageRefused:
            raise
        except RejectedEvent as reason:
            rows.append(reason)


def _kind(descriptors: bytes, name: str, place: Place) -> type[Message]:
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
            pool.Add(file)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except KeyError:
        raise place.at("message").error(
            "expected a message of the descriptor set, found another name"
        ) from None
    except (DecodeError, TypeError) as error:
        raise place.at("descriptor").error(
            "expected a descriptor set with all that it imports (protoc --include_imports -o), found "
            f"{type(error).__name__}"
        ) from None


def _read(kind: type[Message], content: bytes, volume: Volume, *, strict: bool) -> msgspec.Raw:
    try:
        found = kind.FromString(content)
        if strict and _has_unknown(found):
            raise unpacked(
                "expected fields of the descriptor, found one that it does not know: another version?"
            )
        plain = json_format.MessageToDict(
            found,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            descriptor_pool=kind.DESCRIPTOR.file.pool,  # type: ignore[arg-type]  # the stub knows one of two pools
        )
    except (DecodeError, json_format.Error, ValueError, TypeError, RecursionError) as error:
        raise unpacked(f"expected a message of the descriptor, found {type(error).__name__}") from None
    made = slices.of(plain)
    volume.add(len(memoryview(made)))
    return made


def _has_unknown(message: Message) -> bool:
    if len(unknown_fields.UnknownFieldSet(message)):
        return True
    return any(_has_unknown(inner) for inner in _messages_in(message))


def _messages_in(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                yield from value.values()
        elif field.is_repeated:
            yield from value
        else:
            yield value


def _parts(content: bytes) -> Iterator[bytes]:
    """Messages in a row, each after its length as a varint."""
    position = 0
    while position < len(content):
        size = shift = 0
        while True:
            if position >= len(content) or shift > 28:
                raise unpacked("expected the length of a message, found none")
            byte = content[position]
            position += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if position + size > len(content):
            raise unpacked("expected a message as long as its length says, found it cut off")
        yield content[position : position + size]
        position += size
