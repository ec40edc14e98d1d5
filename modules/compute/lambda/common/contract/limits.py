"""Limits of a property: which values keep to them, a column at a time, and whether any value can.

Exact also for limits that the column's type could not hold; a double is held against the double that is
nearest to the limit. ``impossible_values`` and ``contradiction`` are the linter's questions.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from math import inf, nextafter
from sys import float_info
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.types import (
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from common.contract.properties import Bound, Property
from common.contract.typed_texts import Column, read_texts

# Bounds are written by people; decimals have at most 38 digits. Nothing is rounded within this many.
_WIDE: Final = Context(prec=800)
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_ANY_DAY: Final = date(2000, 1, 1)


def rules(of: Property, values: Column) -> Iterator[tuple[str, str, Column]]:
    """Rules beyond the type: name, what is expected, and where it holds (null: nothing to hold for)."""
    limits = of.limits
    if of.enum:
        yield "enum", "one of " + ", ".join(of.enum), pc.is_in(_without_minus_zero(values), _allowed(of))
    if limits.min_length is not None:
        yield (
            "minLength",
            f"at least {limits.min_length} characters",
            pc.greater_equal(pc.utf8_length(values), pa.scalar(limits.min_length)),
        )
    if limits.max_length is not None:
        yield (
            "maxLength",
            f"at most {limits.max_length} characters",
            pc.less_equal(pc.utf8_length(values), pa.scalar(limits.max_length)),
        )
    if limits.pattern is not None:
        yield "pattern", f"a match of {limits.pattern}", pc.match_substring_regex(values, limits.pattern)
    yield from _of_entries(of, values)
    if (step := limits.multiple_of) is not None:
        yield (
            "multipleOf",
            f"a multiple of {step}",
            _one_by_one(
                values,
                lambda value: (
                    not _WIDE.remainder(Decimal(repr(value) if isinstance(value, float) else value), step)
                ),
            ),
        )
    for rule, words, operator, bound in (
        ("minimum", "at least", ">=", limits.minimum),
        ("exclusiveMinimum", "above", ">", limits.exclusive_minimum),
        ("maximum", "at most", "<=", limits.maximum),
        ("exclusiveMaximum", "below", "<", limits.exclusive_maximum),
    ):
        if bound is not None:
            yield rule, f"{words} {bound}", _compare(of.value_type, values, operator, bound)


def _of_entries(of: Property, values: Column) -> Iterator[tuple[str, str, Column]]:
    """Rules about the entries of an array, or the fields of an object, which is JSON text."""
    limits, words = of.limits, "fields" if of.logical_type == "object" else "entries"
    kind = "Properties" if of.logical_type == "object" else "Items"
    if (least := limits.min_items) is not None:
        yield (
            f"min{kind}",
            f"at least {least} {words}",
            _one_by_one(values, lambda text: len(_decoded(text)) >= least),
        )
    if (most := limits.max_items) is not None:
        yield (
            f"max{kind}",
            f"at most {most} {words}",
            _one_by_one(values, lambda text: len(_decoded(text)) <= most),
        )
    if limits.unique_items:
        yield "uniqueItems", "entries that differ", _one_by_one(values, _all_differ)
    if limits.fields:
        wanted = set(limits.fields)
        yield (
            "required",
            f"the fields {', '.join(limits.fields)}",
            _one_by_one(values, lambda text: wanted <= set(_decoded(text))),
        )


def _one_by_one(values: Column, holds: Callable[[Any], bool]) -> Column:
    """Where values keep to a rule that Arrow has no function for; each distinct value is asked once."""
    encoded: Any = values.dictionary_encode()
    answers = pa.array([holds(value) for value in encoded.dictionary.to_pylist()], pa.bool_())
    return answers.take(encoded.indices)


def _as_decimal(number: float | Decimal) -> Decimal:
    """A number as it is written: of a double, the shortest text that reads as it."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def _decoded(text: str) -> Any:
    return _DECODER.decode(text)


def _all_differ(text: str) -> bool:
    """Whether no entry of an array comes twice, as JSON has it: 1 and 1.0 are one number."""
    entries = [_comparable(entry) for entry in _decoded(text)]
    return len(set(entries)) == len(entries)


def _comparable(value: Any) -> Any:
    """A JSON value that equals, and hashes as, what is the same value."""
    if isinstance(value, dict):
        return "object", frozenset((name, _comparable(one)) for name, one in value.items())
    if isinstance(value, list):
        return "array", tuple(_comparable(one) for one in value)
    return (
        "number" if isinstance(value, int | Decimal) and not isinstance(value, bool) else type(value)
    ), value


def impossible_values(of: Property) -> list[str]:
    """Values of the enum that the type or another limit rules out, as they are written."""
    if not of.enum:
        return []
    written: Column = pa.array(of.enum, pa.string())
    values = read_texts(written, of.logical_type, of.value_type, of.temporal_format)
    possible: Column = values.is_valid()
    for _rule, _expected, holds in rules(of, values):
        possible = pc.and_(possible, pc.fill_null(holds, False))  # noqa: FBT003 - the value to fill in
    impossible: list[str] = written.filter(pc.invert(possible)).to_pylist()
    return impossible


def contradiction(of: Property) -> str | None:
    """Why no value at all can keep to the limits; None where some can (what a pattern leaves is not told)."""
    if of.enum and len(impossible_values(of)) == len(of.enum):
        return f"enum: expected a value that type and limits allow, found none in {', '.join(of.enum)}"
    limits = of.limits
    shortest, longest = limits.min_length, limits.max_length
    if shortest is not None and longest is not None and shortest > longest:
        return f"expected minLength up to maxLength, found {shortest} and {longest}"
    fewest, most = max(limits.min_items or 0, len(set(limits.fields))), limits.max_items
    if most is not None and fewest > most:
        return f"expected at least as many entries as at most, found {fewest} and {most}"
    bounds = (limits.minimum, limits.exclusive_minimum, limits.maximum, limits.exclusive_maximum)
    if all(bound is None for bound in bounds) or _leave_a_value(of.value_type, *bounds):
        return None
    stated = ", ".join(str(bound) for bound in bounds if bound is not None)
    return f"expected limits with a {of.value_type} between them, found {stated}"


def _allowed(of: Property) -> Column:
    """The values of the enum, as the column has them."""
    written: Column = pa.array(of.enum, pa.string())
    return _without_minus_zero(read_texts(written, of.logical_type, of.value_type, None).drop_null())


def _without_minus_zero(values: Column) -> Column:
    """Doubles with 0 for -0, which is equal to it and yet another member of a set."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.equal(values, pa.scalar(0.0)), pa.scalar(0.0), values)


def _compare(value_type: PrimitiveType, values: Column, operator: str, bound: Bound) -> Column:
    """Where values keep to a bound."""
    compare: Any = {">=": pc.greater_equal, ">": pc.greater, "<=": pc.less_equal, "<": pc.less}[operator]
    if isinstance(bound, time):  # times of day are texts that sort as the day goes
        return compare(values, pa.scalar(bound.isoformat()))
    if isinstance(bound, date | datetime):
        return compare(values, pa.scalar(bound, values.type))
    if isinstance(value_type, DoubleType):
        return compare(values, pa.scalar(float(bound)))
    # v >= b is v >= ceil(b), and v > b is v > floor(b), at the scale of the values; likewise from above.
    nearest = _on_scale(value_type, bound, ROUND_CEILING if operator in (">=", "<") else ROUND_FLOOR)
    smallest, largest = _range(value_type)
    if not smallest <= nearest <= largest:
        always = (nearest < smallest) == (operator in (">=", ">"))
        return pa.repeat(pa.scalar(always), len(values))
    exact = nearest if isinstance(value_type, DecimalType) else int(nearest)
    return compare(values, pa.scalar(exact, values.type))


def _leave_a_value(value_type: PrimitiveType, minimum: Any, above: Any, maximum: Any, below: Any) -> bool:
    """Whether the least value that the lower bounds allow keeps to the upper ones."""
    if isinstance(value_type, StringType):  # times of day
        minimum, above, maximum, below = (
            None if bound is None else datetime.combine(_ANY_DAY, bound, UTC)
            for bound in (minimum, above, maximum, below)
        )
        of_day = (datetime.combine(_ANY_DAY, time.min, UTC), datetime.combine(_ANY_DAY, time.max, UTC))
        least, greatest = of_day
        value_type = TimestamptzType()
    else:
        least, greatest = _range(value_type)
    after: Any = None
    try:
        if isinstance(value_type, DoubleType):
            minimum, above, maximum, below = (
                None if bound is None else float(bound) for bound in (minimum, above, maximum, below)
            )
            after = None if above is None else nextafter(above, inf)
        elif isinstance(value_type, DateType | TimestamptzType):
            step = timedelta(days=1) if isinstance(value_type, DateType) else timedelta(microseconds=1)
            after = None if above is None else above + step
        else:
            minimum = None if minimum is None else _on_scale(value_type, minimum, ROUND_CEILING)
            if above is not None:
                after = _WIDE.add(_on_scale(value_type, above, ROUND_FLOOR), _unit(value_type))
    except OverflowError:  # nothing comes after the last day
        return False
    least = max(bound for bound in (least, minimum, after) if bound is not None)
    return bool(
        least <= greatest and (maximum is None or least <= maximum) and (below is None or least < below)
    )


def _on_scale(value_type: PrimitiveType, bound: Decimal, rounding: str) -> Decimal:
    return bound.quantize(_unit(value_type), rounding, context=_WIDE)


def _unit(value_type: PrimitiveType) -> Decimal:
    return Decimal(1).scaleb(-value_type.scale if isinstance(value_type, DecimalType) else 0)


def _range(value_type: PrimitiveType) -> tuple[Any, Any]:
    """Smallest and largest value of a type that has an order."""
    if isinstance(value_type, DoubleType):
        return -float_info.max, float_info.max
    if isinstance(value_type, DateType):
        return date.min, date.max
    if isinstance(value_type, TimestamptzType):
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    if isinstance(value_type, DecimalType):
        largest = Decimal(10**value_type.precision - 1).scaleb(-value_type.scale)
        return -largest, largest
    bits = 31 if isinstance(value_type, IntegerType) else 63
    return Decimal(-(2**bits)), Decimal(2**bits - 1)
