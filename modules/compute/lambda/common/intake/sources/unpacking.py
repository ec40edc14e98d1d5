"""From the bytes of a message to JSON: a chain of steps, each bounded.

Every form becomes JSON, whose slices the rest of a source reads. ``steps`` begin at bytes (``base64``,
``gzip``) and end at a document (``json``, ``ndjson``, ``csv``, ``cbor``, ``protobuf``, ``scalar``); a
chain that ends at bytes is JSON. A chain ``at`` a path takes the text that is there and puts the document
in its place."""

import base64
import binascii
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from common.intake.events import RejectCode
from common.intake.sources import slices
from common.intake.sources.expressions import (
    Condition,
    Place,
    condition,
    described,
    listed,
    mapping,
    only,
    words,
)
from common.intake.sources.paths import plain_names
from common.intake.sources.rows import Document, Rows
from common.intake.sources.scope import MessageRefused, Scope
from common.runtime.errors import RejectedEvent

MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024
"""Bytes that one message may become, all its steps together."""
MAX_READINGS: Final = 10_000
"""Readings that one message may hold: rows, items and entries alike."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_NOT_A_NUMBER: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?\b(?:nan|NaN|NAN|Infinity|inf)\b')
_LAYOUT: Final = re.compile(r"[<>][xbB?hHiIqQefd]{1,200}")
_SPACES: Final = re.compile(rb"[ \t\r\n]+")

_Bytes = Callable[[bytes, "Volume"], bytes]
_Parse = Callable[[bytes, "Volume"], Document]
Chain = Callable[[bytes, "Volume"], Document]
Unpack = Callable[[Scope, "Volume"], msgspec.Raw]


class Volume:
    """Counts the bytes that a message becomes."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_UNPACKED_BYTES

    def add(self, size: int) -> None:
        """Count ``size`` bytes more; raises RejectedEvent (TOO_LARGE)."""
        self.left -= size
        if self.left < 0:
            raise too_large()


def too_large() -> RejectedEvent:
    """Of a message that becomes more than it may."""
    return MessageRefused(
        RejectCode.TOO_LARGE, f"expected at most {MAX_UNPACKED_BYTES:,} bytes after unpacking, found more"
    )


def too_many() -> RejectedEvent:
    """Of a message that holds more readings than it may."""
    return MessageRefused(
        RejectCode.TOO_LARGE,
        f"expected at most {MAX_READINGS:,} readings in a message, found more; send it in parts",
    )


def unpacked(detail: str) -> RejectedEvent:
    """Of a step that cannot be done."""
    return RejectedEvent(RejectCode.NOT_UNPACKED, detail)


def chain(written: object, place: Place, descriptors: Mapping[str, bytes]) -> tuple[Chain, list[Unpack]]:
    """Compile the steps for a whole message: what makes its document, and what is unpacked inside of that."""
    steps = listed(written, place, least=0) if written is not None else []
    of_bytes: list[tuple[str, _Bytes]] = []
    parse: tuple[str, _Parse] | None = None
    inside: list[Unpack] = []
    for i, step in enumerate(steps):
        at = place.at(i)
        if isinstance(step, Mapping) and "at" in step:
            inside.append(part(step, at, descriptors))
            continue
        if inside or parse:
            raise at.error(
                "expected steps on the whole before the document, and parts (at:) after; found another order"
            )
        name, options = _named(step, at)
        if name in _BYTES:
            of_bytes.append((name, _BYTES[name](options, at.at(name))))
        else:
            parse = (name, _parser(name, options, at.at(name), descriptors))
    last = parse or ("json", _parser("json", {}, place, descriptors))

    def run(content: bytes, volume: Volume) -> Document:
        for name, step in of_bytes:
            content = _guarded(name, step, content, volume)
            volume.add(len(content))
        made: Document = _guarded(last[0], last[1], content, volume)
        return made

    if not of_bytes and last[0] == "json" and parse is None:
        return lambda content, _volume: slices.document(content), inside
    return run, inside


def part(written: Mapping[str, Any], place: Place, descriptors: Mapping[str, bytes]) -> Unpack:
    """Compile a chain on a part of a document: gives the document with that part unpacked."""
    only(written, place, "at", "when", "unpack")
    path = words(written["at"], place.at("at"))
    steps = _plain_path(path, place.at("at"))
    when: Condition | None = condition(written["when"], place.at("when")) if "when" in written else None
    run, inside = chain(listed(written.get("unpack"), place.at("unpack")), place.at("unpack"), descriptors)
    if inside:
        raise place.at("unpack").error(
            "expected steps, found a part in a part; write it as a part of its own"
        )

    def unpack(scope: Scope, volume: Volume) -> msgspec.Raw:
        if when is not None and not when(scope):
            return scope.item
        return _replaced(scope.item, steps, lambda found: _document_of(found, run, volume))

    return unpack


def _document_of(found: msgspec.Raw, run: Chain, volume: Volume) -> msgspec.Raw:
    if slices.kind(found) != "text":
        raise unpacked(
            f"expected a text to unpack, found {slices.kind(found)}; unpack it where it is one (when:)"
        )
    made = run((slices.text(found) or "").encode(), volume)
    if isinstance(made, Rows):
        for row in made.rows:
            if isinstance(row, RejectedEvent):
                raise row
        return made.good
    return made


def _replaced(
    value: msgspec.Raw, steps: list[str], make: Callable[[msgspec.Raw], msgspec.Raw]
) -> msgspec.Raw:
    """The document with what stands at the path made anew; as it is where nothing stands there."""
    if not steps:
        return make(value)
    found = slices.fields(value)
    if found is None or steps[0] not in found:
        return value
    found[steps[0]] = _replaced(found[steps[0]], steps[1:], make)
    return slices.of_fields(found)


def _plain_path(path: str, place: Place) -> list[str]:
    names = plain_names(path)
    if names is None:
        raise place.error("expected names with dots between them, found another path")
    return names


def _named(step: object, place: Place) -> tuple[str, Mapping[str, Any]]:
    if isinstance(step, str):
        name, options = step, dict[str, Any]()
    elif isinstance(step, Mapping) and len(step) == 1:
        name, given = next(iter(step.items()))
        options = dict(mapping(given, place.at(str(name))))
    else:
        raise place.error(f"expected the name of a step, or a mapping with one, found {described(step)}")
    if name not in _BYTES and name not in _PARSERS:
        raise place.error(f"expected one of {', '.join((*_BYTES, *_PARSERS))}; found {name!r}")
    return str(name), options


def _guarded(name: str, step: Callable[[bytes, Volume], Any], content: bytes, volume: Volume) -> Any:
    try:
        return step(content, volume)
    except MessageRefused as reason:
        raise MessageRefused(reason.code, f"step {name}: {reason.detail}") from None
    except RejectedEvent as reason:
        raise unpacked(f"step {name}: {reason.detail}") from None


# From bytes to bytes.


def _base64(options: Mapping[str, Any], place: Place) -> _Bytes:
    optional = _optional(options, place)

    def step(content: bytes, _volume: Volume) -> bytes:
        packed = _SPACES.sub(b"", content).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
        except binascii.Error:
            if optional:
                return content
            raise unpacked("expected base64, found a text that is not") from None

    return step


def _hex(options: Mapping[str, Any], place: Place) -> _Bytes:
    optional = _optional(options, place)

    def step(content: bytes, _volume: Volume) -> bytes:
        try:
            return binascii.unhexlify(_SPACES.sub(b"", content))
        except (binascii.Error, ValueError):
            if optional:
                return content
            raise unpacked("expected pairs of hexadecimal digits, found others") from None

    return step


def _gzip(options: Mapping[str, Any], place: Place) -> _Bytes:
    optional = _optional(options, place)

    def step(content: bytes, volume: Volume) -> bytes:
        if not content.startswith(_GZIP_MAGIC):
            if optional:
                return content
            raise unpacked("expected gzip, found another beginning; optional: true takes both")
        whole = b""
        while content.startswith(_GZIP_MAGIC):  # members follow one another (RFC 1952, section 2.2)
            made, content = _inflated(content, zlib.MAX_WBITS | 16, volume.left - len(whole))
            whole += made
        if content.strip(b"\0"):  # zeros that fill a block are no part of it
            raise unpacked("expected nothing after the last member, found something")
        return whole

    return step


def _zlib(options: Mapping[str, Any], place: Place) -> _Bytes:
    only(options, place, "raw")
    bits = -zlib.MAX_WBITS if options.get("raw") is True else zlib.MAX_WBITS

    def step(content: bytes, volume: Volume) -> bytes:
        made, rest = _inflated(content, bits, volume.left)
        if rest:
            raise unpacked("expected nothing after the end, found something")
        return made

    return step


def _inflated(content: bytes, bits: int, most: int) -> tuple[bytes, bytes]:
    """One compressed stream of at most ``most`` bytes, and what follows it."""
    inflate = zlib.decompressobj(bits)
    try:
        made = inflate.decompress(content, most + 1)
    except zlib.error:
        raise unpacked("expected compressed data, found some that is damaged") from None
    if len(made) > most:
        raise too_large()
    if not inflate.eof:
        raise unpacked("expected the end of the compressed data, found it cut off")
    return made, inflate.unused_data


def _optional(options: Mapping[str, Any], place: Place) -> bool:
    only(options, place, "optional")
    given = options.get("optional", False)
    if not isinstance(given, bool):
        raise place.at("optional").error(f"expected true or false, found {described(given)}")
    return given


# From bytes to a document.


def _json(options: Mapping[str, Any], place: Place, _descriptors: Mapping[str, bytes]) -> _Parse:
    only(options, place, "nan")
    if options.get("nan", "refuse") not in {"refuse", "null"}:
        raise place.at("nan").error("expected refuse or null, found another (null in quotes)")
    tolerant = options.get("nan") == "null"

    def step(content: bytes, _volume: Volume) -> Document:
        return _read_json(content.removeprefix(b"\xef\xbb\xbf"), tolerant=tolerant)

    return step


def _read_json(content: bytes, *, tolerant: bool) -> msgspec.Raw:
    try:
        return slices.document(content)
    except RejectedEvent:
        if not tolerant:
            raise
    return slices.document(
        _NOT_A_NUMBER.sub(lambda found: found[0] if found[0][:1] == b'"' else b"null", content)
    )


def _ndjson(options: Mapping[str, Any], place: Place, _descriptors: Mapping[str, bytes]) -> _Parse:
    _json(options, place, {})
    tolerant = options.get("nan") == "null"

    def step(content: bytes, _volume: Volume) -> Document:
        rows: list[msgspec.Raw | RejectedEvent] = []
        for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            if not line.strip():
                continue
            if len(rows) == MAX_READINGS:
                raise too_many()
            try:
                rows.append(_read_json(line.strip(), tolerant=tolerant))
            except RejectedEvent as reason:
                rows.append(reason)
        return Rows(rows)

    return step


def _scalar(options: Mapping[str, Any], place: Place, _descriptors: Mapping[str, bytes]) -> _Parse:
    only(options, place, "as")
    name = words(options.get("as", "value"), place.at("as"))

    def step(content: bytes, _volume: Volume) -> Document:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise unpacked("expected text in UTF-8, found other bytes") from None
        try:
            found = slices.document(content.strip())
            if slices.kind(found) in {"object", "array"}:
                raise unpacked("expected one value, found an object or array; leave this step out")
        except RejectedEvent as reason:
            if reason.code != RejectCode.NOT_JSON:
                raise
            found = slices.of(text.strip())
        return slices.of_fields({name: found})

    return step


def _binary(options: Mapping[str, Any], place: Place, _descriptors: Mapping[str, bytes]) -> _Parse:
    """Fields of fixed size, as Python's ``struct`` writes their layout (its manual, "Format Characters")."""
    only(options, place, "layout", "names")
    layout = words(options.get("layout"), place.at("layout"))
    if not _LAYOUT.fullmatch(layout):
        raise place.at("layout").error(
            "expected < or >, then letters of x b B ? h H i I q Q e f d; found others"
        )
    at = place.at("names")
    names = [words(name, at.at(i)) for i, name in enumerate(listed(options.get("names"), at))]
    shape = struct.Struct(layout)
    if len(names) != len(set(names)) or len(names) != len(shape.unpack(bytes(shape.size))):
        raise at.error("expected a name of its own for each letter of the layout but x, found others")

    def step(content: bytes, _volume: Volume) -> Document:
        if len(content) != shape.size:
            raise unpacked(f"expected {shape.size} bytes, found {len(content)}")
        values = (
            value if not isinstance(value, float) or math.isfinite(value) else str(value)
            for value in shape.unpack(content)
        )
        return slices.of(dict(zip(names, values, strict=True)))

    return step


def _csv(options: Mapping[str, Any], place: Place, _descriptors: Mapping[str, bytes]) -> _Parse:
    from common.intake.sources.codecs import csv_rows  # noqa: PLC0415 - loaded by those who use it

    return csv_rows.parser(options, place)


def _cbor(options: Mapping[str, Any], place: Place, _descriptors: Mapping[str, bytes]) -> _Parse:
    from common.intake.sources.codecs import cbor  # noqa: PLC0415 - loaded by those who use it

    return cbor.parser(options, place)


def _protobuf(options: Mapping[str, Any], place: Place, descriptors: Mapping[str, bytes]) -> _Parse:
    from common.intake.sources.codecs import protobuf  # noqa: PLC0415 - loaded by those who use it

    return protobuf.parser(options, place, descriptors)


_BYTES: Final[Mapping[str, Callable[[Mapping[str, Any], Place], _Bytes]]] = {
    "base64": _base64,
    "hex": _hex,
    "gzip": _gzip,
    "zlib": _zlib,
}
_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any], Place, Mapping[str, bytes]], _Parse]]] = {
    "json": _json,
    "ndjson": _ndjson,
    "csv": _csv,
    "cbor": _cbor,
    "protobuf": _protobuf,
    "scalar": _scalar,
    "binary": _binary,
}


def _parser(name: str, options: Mapping[str, Any], place: Place, descriptors: Mapping[str, bytes]) -> _Parse:
    return _PARSERS[name](options, place, descriptors)
