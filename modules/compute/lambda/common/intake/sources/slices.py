"""JSON that stays as it was sent: a value is the slice of the text that holds it, read one level at a time.

Numbers keep their exact text that way (``1.10``, 19 digits) and a sub-object its bytes. A slice is a
``msgspec.Raw``; ``None`` stands for what is absent, ``NULL`` for a null that was sent.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any, Final

import msgspec

from common.intake.events import MAX_NESTING, RejectCode, nested_too_deep
from common.runtime.errors import RejectedEvent

type_of: Final = {"{": "object", "[": "array", '"': "text", "t": "boolean", "f": "boolean", "n": "null"}
"""What a value is, by its first character; anything else is a number."""

# What a decimal may be worth: beyond, arithmetic would make numbers of a billion digits out of ten
# characters.
_MOST_DIGITS: Final = 60
EXACT: Final = Context(prec=400, traps=[Inexact, InvalidOperation, Overflow])
"""For arithmetic on ``number``: what it cannot say exactly it refuses (decimal.DecimalException)."""
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text: Final = msgspec.json.Decoder(str).decode
_whole: Final = msgspec.json.Decoder(msgspec.Raw).decode
# A number and a text of the same characters make one canonical text: they are one value in Curated too.
_ordered: Final = msgspec.json.Decoder(float_hook=str).decode
_exact: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode

NULL: Final = msgspec.Raw(b"null")


def document(content: bytes) -> msgspec.Raw:
    """The slice of a whole JSON text; raises RejectedEvent (NOT_JSON) for what is none."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RejectedEvent(
            RejectCode.NOT_JSON, f"expected text in UTF-8, found another byte at {error.start}"
        ) from None
    if text.count("{") + text.count("[") > MAX_NESTING and nested_too_deep(text):
        raise RejectedEvent(
            RejectCode.NOT_JSON, f"expected JSON of at most {MAX_NESTING} levels: nested too deep"
        )
    try:
        return _whole(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RejectedEvent(RejectCode.NOT_JSON, f"expected one JSON text: {error}") from None


def kind(value: msgspec.Raw) -> str:
    """``object``, ``array``, ``text``, ``number``, ``boolean`` or ``null``."""
    return type_of.get(chr(memoryview(value)[0]), "number")


def fields(value: msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """The fields of an object, None of anything else. Raises RejectedEvent where a name is there twice."""
    if memoryview(value)[0] != 0x7B:
        return None
    found = _fields(value)
    # Written again without spaces it is as long as it was, or something is between the fields: a name more?
    if len(_encode(found)) != len(memoryview(value)):
        _check_repeated(bytes(value))
    return found


def items(value: msgspec.Raw) -> list[msgspec.Raw] | None:
    """The items of an array, None of anything else."""
    return _items(value) if memoryview(value)[0] == 0x5B else None


def text(value: msgspec.Raw) -> str | None:
    """The text that a text is, or a number or boolean as it is written; None of null, objects and arrays."""
    first = memoryview(value)[0]
    if first == 0x22:
        return _text(value)
    return None if first in b"{[n" else bytes(value).decode()


def number(value: msgspec.Raw) -> Decimal | None:
    """The number that a number or a numeric text is; None of anything else, and of an absurd one."""
    written = text(value)
    if written is None or not _NUMBER.fullmatch(written := written.strip()):
        return None
    try:
        found = Decimal(written)
    except InvalidOperation:  # an exponent that no decimal has
        return None
    within = len(written) <= _MOST_DIGITS and (not found or abs(found.adjusted()) <= _MOST_DIGITS)
    return found if within else None


def exact(value: msgspec.Raw) -> Any:
    """The value as Python has it: numbers with a point or exponent as decimals, exact."""
    return _exact(value)


def of(value: object) -> msgspec.Raw:
    """The slice of a Python value of JSON's kinds, slices and decimals included."""
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(_encode(value))


def of_number(value: Decimal) -> msgspec.Raw:
    """The slice of a decimal, without an exponent."""
    return msgspec.Raw(format(value, "f").encode())


def of_fields(value: Mapping[str, msgspec.Raw]) -> msgspec.Raw:
    """An object of these fields, in their order."""
    return msgspec.Raw(_encode(value))


def of_items(value: Sequence[msgspec.Raw]) -> msgspec.Raw:
    """An array of these items."""
    return msgspec.Raw(_encode(value))


def canonical(value: msgspec.Raw) -> bytes:
    """One text for all that say the same: fields sorted, no spaces, numbers as they were written."""
    return _encode_sorted(_ordered(value))


def _check_repeated(written: bytes) -> None:
    names: list[str] = []

    def keep(pairs: list[tuple[str, object]]) -> None:
        names[:] = [name for name, _ in pairs]  # the outermost object is the last to be closed

    json.loads(written, object_pairs_hook=keep, parse_int=str, parse_float=str)
    if any(count > 1 for count in Counter(names).values()):
        raise RejectedEvent(
            RejectCode.REPEATED_FIELD, "expected each field of an object once, found one more than once"
        )
