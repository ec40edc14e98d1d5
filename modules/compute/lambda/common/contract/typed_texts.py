"""Exact text to typed values, a column at a time; what does not denote a value of the type becomes null.

The grammar of numbers is JSON's (RFC 8259, section 6), whether the payload had a number or a string; no
rounding takes place except to the nearest double. Regular texts are cast by Arrow; texts of unusual form
(exponents, many digits) are read one by one in Python, each distinct one once.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from math import floor, isfinite
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from common.contract.temporal_formats import TemporalFormat
from common.runtime.errors import TableMismatch

# A pyarrow Array: its stubs have no signatures for arrays whose type is known at run time only.
Column: TypeAlias = Any
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
# Decimals have at most 38 digits: what is beyond this is no column's value, and never written out.
_LARGEST_EXPONENT: Final = 400
_WIDE: Final = Context(prec=50)
_MICRO: Final = 1_000_000
_DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are counted from it
# The years 1 to 9999 UTC, in seconds since 1970: what RFC 3339 and SQL can write.
FIRST_SECOND: Final = -62_135_596_800
LAST_SECOND: Final = 253_402_300_799


def arrow_type(column_type: PrimitiveType) -> pa.DataType:
    """The Arrow type of a contract's column type."""
    if isinstance(column_type, DecimalType):
        return pa.decimal128(column_type.precision, column_type.scale)
    return _ARROW_TYPES[type(column_type)]


def as_texts(column: Column, name: str) -> Column:
    """A Curated column as the text that an event would carry; a moment becomes RFC 3339, UTC.

    Payload columns are text; the envelope has moments, and somebody may have given a column another type by
    hand. Raises TableMismatch, naming column ``name``, for a type that has no text (a struct, a list).
    """
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_timestamp(column.type):
        # Without its zone: Arrow writes a zone only where the system has a time zone database.
        plain = column.cast(pa.timestamp("us")).cast(pa.string())
        suffix = "" if column.type.tz is None else "Z"
        texts: Column = pc.binary_join_element_wise(pc.replace_substring(plain, " ", "T"), suffix, "")
        return texts
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise TableMismatch(
            f"column {name} of Curated: expected text, found {column.type}, which no property can be read "
            "from; give the column its type string again, or rebuild Curated"
        ) from error


def read_texts(
    texts: Column, logical_type: str, value_type: PrimitiveType, temporal_format: TemporalFormat | None
) -> Column:
    """Values of ``value_type`` for a string column; null where a text is null or denotes no such value."""
    if temporal_format is not None:
        if not isinstance(value_type, DateType):
            return _in_turn(texts, temporal_format, value_type)
        days: Any = texts.dictionary_encode()  # however many rows, there are few of them
        dates: Column = _in_turn(days.dictionary, temporal_format, value_type).take(days.indices)
        return dates
    if logical_type in ("array", "object"):
        return _json(texts, list if logical_type == "array" else dict)
    if isinstance(value_type, StringType):
        return texts
    if isinstance(value_type, BooleanType):
        known = pc.is_in(texts, pa.array(["true", "false"]))
        return pc.if_else(known, pc.equal(texts, pa.scalar("true")), pa.scalar(None, pa.bool_()))
    return _numeric(texts, value_type)


def _numeric(texts: Column, value_type: PrimitiveType) -> Column:
    """Numbers: texts of a regular form by Arrow, the others one by one."""
    target = arrow_type(value_type)
    form, excess = _regular_form(value_type)
    regular = pc.match_substring_regex(texts, form)
    plain = pc.if_else(regular, texts, pa.scalar(None, pa.string()))
    if excess is not None:
        longer = pc.match_substring_regex(plain, excess[0])
        if pc.any(longer).as_py():
            plain = pc.if_else(longer, pc.replace_substring_regex(plain, excess[0], excess[1]), plain)
    values = plain.cast(target)
    return _with_odd_ones(texts, values, pc.invert(regular), lambda text: _number(text, value_type))


def _regular_form(value_type: PrimitiveType) -> tuple[str, tuple[str, str] | None]:
    """Texts that Arrow casts exactly, and how to drop the zeros that the type has no digits for."""
    if isinstance(value_type, DoubleType):
        return r"^-?(?:0|[1-9][0-9]{0,16})(?:\.[0-9]{1,17})?$", None
    if isinstance(value_type, DecimalType):
        whole, scale = value_type.precision - value_type.scale, value_type.scale
    else:
        whole, scale = 9 if isinstance(value_type, IntegerType) else 18, 0
    before = rf"^-?(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "^-?0"
    if not scale:
        return before + r"(?:\.0+)?$", (r"\.0+$", "")
    return before + rf"(?:\.[0-9]{{1,{scale}}}0*)?$", (rf"(\.[0-9]{{{scale}}})0+$", r"\1")


def _number(text: str, value_type: PrimitiveType) -> object:
    """The number that a text denotes; None where the type cannot hold it (exactly, but for a double)."""
    if not _NUMBER.fullmatch(text):
        return None
    if isinstance(value_type, DoubleType):
        value = float(text)
        return value if isfinite(value) else None
    number = _exact(text)
    if number is None:
        return None
    if isinstance(value_type, DecimalType):
        digits, exponent = number
        fits = exponent >= -value_type.scale and abs(digits) * 10 ** (exponent + value_type.scale) < (
            10**value_type.precision
        )
        return Decimal(digits).scaleb(exponent, _WIDE) if fits else None
    whole = number[0] * 10 ** number[1] if number[1] >= 0 else None
    bits = 31 if isinstance(value_type, IntegerType) else 63
    return whole if whole is not None and -(2**bits) <= whole < 2**bits else None


def _exact(text: str) -> tuple[int, int] | None:
    """A number as digits and a power of ten, no trailing zeros; None beyond what any type here can hold."""
    significand, _, power = text.lower().partition("e")
    whole, _, fraction = significand.partition(".")
    digits = (whole + fraction).rstrip("0")
    dropped = len(whole + fraction) - len(digits)
    if not digits.strip("-0"):
        return 0, 0
    if len(digits.lstrip("-0")) > _LARGEST_EXPONENT or len(power.lstrip("+-0")) > len(str(_LARGEST_EXPONENT)):
        return None
    exponent = int(power or 0) - len(fraction) + dropped
    return None if abs(exponent) > _LARGEST_EXPONENT else (int(digits), exponent)


def _json(texts: Column, kind: type) -> Column:
    """Texts that are a JSON array (or object), as they are."""
    decode = msgspec.json.Decoder(list[msgspec.Raw] if kind is list else dict[str, msgspec.Raw]).decode

    def read(text: str) -> str | None:
        try:
            decode(text)
        except (msgspec.MsgspecError, RecursionError):
            return None
        return text

    nothing = pa.nulls(len(texts), pa.string())
    return _with_odd_ones(texts, nothing, texts.is_valid(), read)


def _with_odd_ones(texts: Column, values: Column, odd: Column, read: Callable[[str], object]) -> Column:
    """``values`` with the texts marked ``odd`` read by ``read``, each distinct one once."""
    odd = pc.fill_null(odd, False)  # noqa: FBT003 - the value to fill in
    if not pc.any(odd).as_py():
        return values
    encoded: Any = texts.filter(odd).dictionary_encode()
    read_once: Column = pa.array([read(text) for text in encoded.dictionary.to_pylist()], values.type)
    replaced: Column = pc.replace_with_mask(values, odd, read_once.take(encoded.indices))
    return replaced


def _in_turn(texts: Column, written: TemporalFormat, value_type: PrimitiveType) -> Column:
    """Dates or timestamps by the first way that reads each text."""
    values = _one_way(texts, written, value_type)
    for other in written.then:
        left = pc.if_else(values.is_null(), texts, pa.scalar(None, pa.string()))
        if left.null_count == len(left):
            break
        values = pc.coalesce(values, _one_way(left, other, value_type))
    return values


def _one_way(texts: Column, written: TemporalFormat, value_type: PrimitiveType) -> Column:
    if isinstance(value_type, StringType):
        return _times_of_day(texts, written)
    if written.a_second is None:
        return _temporal(texts, written, value_type)
    return _since_1970(texts, written.a_second).cast(arrow_type(value_type))


def _since_1970(texts: Column, a_second: int) -> Column:
    """Numbers of units since 1970 as microseconds; nanoseconds are cut to them, nothing else is rounded."""
    whole = _numeric(texts, LongType())
    bounds = (FIRST_SECOND * a_second, (LAST_SECOND + 1) * a_second - 1)
    first, last = (pa.scalar(max(-(2**63), min(2**63 - 1, bound))) for bound in bounds)
    inside = pc.and_(pc.greater_equal(whole, first), pc.less_equal(whole, last))
    units = pc.if_else(inside, whole, pa.scalar(None, pa.int64()))
    if a_second <= _MICRO:
        micros: Column = pc.multiply(units, pa.scalar(_MICRO // a_second))
    else:
        micros = _floor_divided(units, a_second // _MICRO)
    others = pc.and_(texts.is_valid(), whole.is_null())
    return _with_odd_ones(texts, micros, others, lambda text: _micros(text, a_second))


def _floor_divided(units: Column, by: int) -> Column:
    numbers = pc.fill_null(units, 0).to_numpy()
    return pa.array(numbers // by, pa.int64(), mask=units.is_null().to_numpy(zero_copy_only=False))


def _micros(text: str, a_second: int) -> int | None:
    """Microseconds since 1970 of a number that is no whole one; None where they are not whole."""
    exact = _exact(text) if _NUMBER.fullmatch(text) else None
    if exact is None:
        return None
    micros = Fraction(exact[0]) * Fraction(10) ** exact[1] * Fraction(_MICRO, a_second)
    whole = floor(micros)
    lost = whole != micros and a_second <= _MICRO
    return None if lost or not FIRST_SECOND <= whole // _MICRO <= LAST_SECOND else whole


def _temporal(texts: Column, written: TemporalFormat, value_type: PrimitiveType) -> Column:
    """Dates (days) or timestamps (microseconds UTC) that exist in the calendar."""
    parts: Any = pc.extract_regex(texts, written.expression)
    matched = parts.is_valid().to_numpy(zero_copy_only=False)
    if not matched.any():
        return pa.array([None] * len(texts), arrow_type(value_type))

    def part(name: str) -> Integers:
        if name not in written.fields:
            return np.zeros(len(texts), dtype=np.int64)
        return _integers(pc.if_else(parts.is_valid(), parts.field(name), pa.scalar("0")))

    month = ((part("year") - 1970) * 12 + part("month") - 1).astype("datetime64[M]")
    day = month.astype("datetime64[D]") + (part("day") - 1)
    exists = matched & (day.astype("datetime64[M]") == month) & (part("year") > 0)
    if isinstance(value_type, DateType):
        return pa.array(day.astype(np.int32), pa.int32(), mask=~exists).cast(pa.date32())
    nanoseconds = _nanoseconds(parts, written, len(texts))
    exists &= nanoseconds % 1000 == 0
    seconds = ((day.astype(np.int64) * 24 + part("hour")) * 60 + part("minute")) * 60 + part("second")
    if written.zone is None:
        seconds -= _offset_seconds(parts, written, len(texts))
    else:
        offsets, known = _offsets_in_zone(seconds, exists, ZoneInfo(written.zone))
        seconds -= offsets
        exists &= known
    # An offset may move the last hours of year 9999 into year 10000, which no reader of a timestamp expects.
    exists &= (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)
    moments = pa.array(seconds * 1_000_000 + nanoseconds // 1000, pa.int64(), mask=~exists)
    return moments.cast(arrow_type(value_type))


def _offsets_in_zone(local: Integers, exists: Mask, zone: ZoneInfo) -> tuple[Integers, Mask]:
    """Seconds east of UTC of local times (seconds since 1970), and where there is exactly one answer.

    There is none for a time that clocks show twice, or skip. Days on which nothing changes, which is nearly
    all, are looked up once.
    """
    days, of_day = np.unique(np.where(exists, local // _DAY_S, 0), return_inverse=True)
    ends = [
        (_readings(day * _DAY_S, zone) | _readings((day + 1) * _DAY_S - 1, zone)) for day in days.tolist()
    ]
    steady = np.array([len(offsets) == 1 for offsets in ends])
    offsets = np.array([min(offsets) for offsets in ends], dtype=np.int64)[of_day]
    known = steady[of_day]
    odd = exists & ~known
    if odd.any():
        moments, of_moment = np.unique(local[odd], return_inverse=True)
        readings = [_readings(moment, zone) for moment in moments.tolist()]
        offsets[odd] = np.array([min(one) for one in readings], dtype=np.int64)[of_moment]
        known[odd] = np.array([len(one) == 1 for one in readings])[of_moment]
    return offsets, known


def _readings(local: int, zone: ZoneInfo) -> set[int]:
    """Offsets in seconds that a local time can have: two where clocks show it twice, or skip it (PEP 495)."""
    moment = _EPOCH + timedelta(seconds=local)
    offsets = (moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return {int(offset.total_seconds()) for offset in offsets if offset is not None}


def _times_of_day(texts: Column, written: TemporalFormat) -> Column:
    """Times of day as ISO 8601 writes them, ``HH:mm:ss`` and, if there is a fraction, six digits of it."""
    parts: Any = pc.extract_regex(texts, written.expression)
    nothing = pa.repeat(pa.scalar(""), len(texts))
    second: Any = (
        parts.field("second") if "second" in written.fields else pa.repeat(pa.scalar("00"), len(texts))
    )
    minutes = pc.binary_join_element_wise(parts.field("hour"), parts.field("minute"), second, pa.scalar(":"))
    fraction: Any = pc.utf8_rpad(parts.field("fraction") if "fraction" in written.fields else nothing, 9, "0")
    micros = pc.utf8_slice_codeunits(fraction, 0, 6)
    point: Any = pc.if_else(
        pc.equal(micros, pa.scalar("000000")),
        nothing,
        pc.binary_join_element_wise(pa.scalar("."), micros, pa.scalar("")),
    )
    exact = pc.and_(parts.is_valid(), pc.equal(pc.utf8_slice_codeunits(fraction, 6, 9), pa.scalar("000")))
    written_out = pc.binary_join_element_wise(minutes, point, pa.scalar(""))
    times: Column = pc.if_else(exact, written_out, pa.scalar(None, pa.string()))
    return times


def _nanoseconds(parts: Any, written: TemporalFormat, rows: int) -> Integers:
    if "fraction" not in written.fields:
        return np.zeros(rows, dtype=np.int64)
    digits = pc.utf8_rpad(pc.fill_null(parts.field("fraction"), ""), 9, "0")
    return _integers(pc.if_else(parts.is_valid(), digits, pa.scalar("0")))


def _integers(digits: Column) -> Integers:
    integers: Integers = digits.cast(pa.int64()).to_numpy()
    return integers


def _offset_seconds(parts: Any, written: TemporalFormat, rows: int) -> Integers:
    """Seconds east of UTC; a format without an offset means UTC, the standard's default time zone."""
    if "offset" not in written.fields:
        return np.zeros(rows, dtype=np.int64)
    encoded = parts.field("offset").dictionary_encode()
    known = [_offset(text) for text in encoded.dictionary.to_pylist()]
    seconds = np.array(known or [0], dtype=np.int64)[pc.fill_null(encoded.indices, 0).to_numpy()]
    return np.where(parts.is_valid().to_numpy(zero_copy_only=False), seconds, 0)


def _offset(text: str | None) -> int:
    if not text or text in "Zz":
        return 0
    seconds = int(text[1:3]) * 3600 + int(text[-2:]) * 60
    return -seconds if text[0] == "-" else seconds


_ARROW_TYPES: Final[dict[type[PrimitiveType], pa.DataType]] = {
    StringType: pa.string(),
    BooleanType: pa.bool_(),
    IntegerType: pa.int32(),
    LongType: pa.int64(),
    DoubleType: pa.float64(),
    DateType: pa.date32(),
    TimestamptzType: pa.timestamp("us", tz="UTC"),
}
