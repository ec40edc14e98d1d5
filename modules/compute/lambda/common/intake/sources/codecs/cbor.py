"""CBOR (RFC 8949) → JSON: integer labels get names, byte strings become base64, numbers stay exact.

NaN and the infinities, which JSON has none of, become the texts ``NaN``, ``Infinity`` and ``-Infinity``. A
tag says how its content is to be taken: bignums and decimal fractions are numbers; of any other (times,
base64 hints, self-description) the content counts. References to shared values are refused: a few bytes of
them are a value without end."""

import base64
import io
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import cbor2
import msgspec

from common.intake.sources import slices
from common.intake.sources.expressions import Place, described, mapping, only
from common.intake.sources.rows import Document, Rows
from common.intake.sources.scope import MessageRefused
from common.intake.sources.unpacking import MAX_READINGS, Volume, too_many, unpacked
from common.runtime.errors import RejectedEvent

MAX_DEPTH: Final = 100
_MOST_EXPONENT: Final = 1_000

SENML: Final[Mapping[str, str]] = {
    "-6": "bs", "-5": "bv", "-4": "bu", "-3": "bt", "-2": "bn", "-1": "bver", "0": "n", "1": "u", "2": "v",
    "3": "vs", "4": "vb", "5": "s", "6": "t", "7": "ut", "8": "vd",
}  # fmt: skip
"""Names of the labels of SenML (RFC 8428, section 6)."""


class _Refused(Exception):  # noqa: N818 - never seen outside
    """Something that is valid CBOR and cannot be JSON."""


def parser(options: Mapping[str, Any], place: Place) -> Callable[[bytes, Volume], Document]:
    """Compile the step: ``names`` of integer labels (or ``senml``), ``sequence`` for items in a row."""
    only(options, place, "names", "sequence")
    names = _names(options.get("names"), place.at("names"))
    sequence = options.get("sequence", False)
    if not isinstance(sequence, bool):
        raise place.at("sequence").error(f"expected true or false, found {described(sequence)}")

    def one(content: bytes, volume: Volume) -> Document:
        stream = io.BytesIO(content)
        found = _next(stream, names, volume)
        if stream.tell() != len(content):
            raise unpacked("expected one item, found more after it; sequence: true takes items in a row")
        return found

    def several(content: bytes, volume: Volume) -> Document:
        stream = io.BytesIO(content)
        rows: list[msgspec.Raw | RejectedEvent] = []
        while stream.tell() < len(content):
            if len(rows) == MAX_READINGS:
                raise too_many()
            try:
                rows.append(_next(stream, names, volume))
            except MessageRefused:
                raise
            except RejectedEvent as reason:
                rows.append(reason)
                break  # where the next item begins, nobody knows now
        return Rows(rows)

    return several if sequence else one


def _names(written: object, place: Place) -> Mapping[str, str]:
    if written is None:
        return {}
    if written == "senml":
        return SENML
    names = {str(label): str(name) for label, name in mapping(written, place).items()}
    if len(set(names.values())) < len(names):
        raise place.error("expected each name once, found one for two labels")
    return names


def _next(stream: io.BytesIO, names: Mapping[str, str], volume: Volume) -> msgspec.Raw:
    before = stream.tell()
    try:
        found = cbor2.CBORDecoder(
            stream, semantic_decoders=_TAGS, max_depth=MAX_DEPTH, allow_duplicate_keys=False
        ).decode()
        made = slices.of(_plain(found, names, 0))
    except _Refused as reason:
        raise unpacked(str(reason)) from None
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        reason_of = error.__cause__ if isinstance(error.__cause__, _Refused) else type(error).__name__
        raise unpacked(f"expected CBOR, found {reason_of} in the item that begins at byte {before}") from None
    volume.add(len(memoryview(made)))
    return made


def _plain(value: Any, names: Mapping[str, str], depth: int) -> Any:  # noqa: PLR0911 - one line a kind
    """The value as JSON has it; raises _Refused."""
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return slices.of_number(value) if value.is_finite() else _not_finite(float(value))
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [_plain(item, names, depth + 1) for item in value]
        case dict():
            made = {_label(label, names): _plain(item, names, depth + 1) for label, item in value.items()}
            if len(made) < len(value):
                raise _Refused("expected each label once, found one as number and as its name")
            return made
        case cbor2.CBORTag():
            return _plain(value.value, names, depth + 1)
    if value is cbor2.undefined:
        return None
    raise _Refused(f"expected values that JSON has, found {type(value).__name__}")


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _label(label: object, names: Mapping[str, str]) -> str:
    if isinstance(label, str) or (isinstance(label, int) and not isinstance(label, bool)):
        return names.get(str(label), str(label)) if isinstance(label, int) else label
    raise _Refused(f"expected labels that are texts or whole numbers, found {type(label).__name__}")


def _content(value: Any, _immutable: bool) -> Any:
    return value


def _fraction(value: Any, _immutable: bool) -> Decimal:
    """A decimal fraction (RFC 8949, section 3.4.4), digit by digit."""
    exponent, mantissa = value
    if not isinstance(exponent, int) or not isinstance(mantissa, int) or abs(exponent) > _MOST_EXPONENT:
        raise _Refused(f"expected a decimal fraction with an exponent within {_MOST_EXPONENT}, found another")
    return Decimal((mantissa < 0, tuple(int(digit) for digit in str(abs(mantissa))), exponent))


def _no_reference(_value: Any, _immutable: bool) -> Any:
    raise _Refused("expected no shared values and no binary fractions, found one")


_TAGS: Final = {
    **dict.fromkeys((0, 1, 21, 22, 23, 30, 35, 36, 37, 100, 258, 260, 261, 1004, 43000, 55799), _content),
    4: _fraction,
    **dict.fromkeys((5, 25, 28, 29, 256), _no_reference),
}
