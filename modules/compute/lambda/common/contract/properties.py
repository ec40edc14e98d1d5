"""One property of a data contract: its type, its limits, its treatment, and where it is read from.

The type table and the list of options are data here, so that the documentation can be held to them
(``docs/contracts.md``). Only what the pipeline enforces is accepted; see ``common.contract.contracts``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from sys import float_info
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from open_data_contract_standard.model import SchemaProperty
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

from common.contract import physical_types
from common.contract.physical_types import PhysicalType, physical_type
from common.contract.problems import Problems
from common.contract.temporal_formats import (
    ISO_DATE,
    ISO_TIME,
    LOCAL,
    RFC3339,
    TemporalFormat,
    in_turn,
    time_of_day,
)
from common.payload.leaves import NOT_FOR_LEAVES, PARTITION_FIELDS
from common.runtime.errors import ContractError

# The columns of modules/storage/tables/semantic.json, which every Semantic row carries (a test compares).
LINEAGE_COLUMNS: Final = (
    "message_id",
    "idempotency_key",
    "topic_name",
    "period_reference",
    "correlation_id",
    "publish_time",
    "ingestion_ts",
    "_contract_version",
    "_source_merge_seq",
    "_merge_seq",
)
# The columns of modules/storage/tables/curated.json that an event's envelope fills (a test compares).
# Semantic repeats all of them as lineage columns, in clear.
ENVELOPE_TEXTS: Final = ("message_id", "idempotency_key", "topic_name", "period_reference", "correlation_id")
ENVELOPE_MOMENTS: Final = ("publish_time", "ingestion_ts")
# Names that no payload field gives a column: it is kept in _rescued.
_NEVER_IN_CURATED: Final = NOT_FOR_LEAVES - set(ENVELOPE_TEXTS + ENVELOPE_MOMENTS)
PII_TREATMENT: Final = "piiTreatment"
TIME_FORMATS: Final = "timeFormats"
PROPERTY_CUSTOM: Final = frozenset({PII_TREATMENT, TIME_FORMATS})

PiiTreatment = Literal["hash", "mask", "drop"]
Bound = Decimal | date | datetime | time

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,126}")
_SOURCE: Final = re.compile(r"[a-z][a-z0-9_]{0,254}")
_DECIMAL: Final = re.compile(r"decimal\(([0-9]{1,2}),\s?([0-9]{1,2})\)")
# Arrow counts the characters of a text in 32 bits.
_LONGEST_TEXT: Final = 2**31 - 1


# IEEE 754, binary32: (2 - 2**-23) * 2**127.
_LARGEST_FLOAT: Final = 2**128 - 2**104


@dataclass(frozen=True)
class TypeRule:
    """One line of the type table: what a contract says, and the Iceberg type of the Semantic column.

    ``by`` is how the contract chooses the line: a ``logicalTypeOptions.format`` or a ``physicalType``; None
    is the line for a property that says neither. ``bounds`` are the smallest and largest value of a format.
    """

    logical_type: str
    by: Literal["format", "physicalType"] | None
    value: str
    column_type: PrimitiveType | None
    bounds: tuple[int, int] | None = None


# decimal(p,s) stands for a family; its column type comes from the text.
TYPE_RULES: Final = (
    TypeRule("string", None, "", StringType()),
    TypeRule("boolean", None, "", BooleanType()),
    TypeRule("integer", None, "", LongType()),
    TypeRule("integer", "format", "i8", IntegerType(), (-(2**7), 2**7 - 1)),
    TypeRule("integer", "format", "i16", IntegerType(), (-(2**15), 2**15 - 1)),
    TypeRule("integer", "format", "i32", IntegerType()),
    TypeRule("integer", "format", "i64", LongType()),
    TypeRule("integer", "format", "u8", IntegerType(), (0, 2**8 - 1)),
    TypeRule("integer", "format", "u16", IntegerType(), (0, 2**16 - 1)),
    TypeRule("integer", "format", "u32", LongType(), (0, 2**32 - 1)),
    TypeRule("integer", "format", "u64", DecimalType(20, 0), (0, 2**64 - 1)),
    TypeRule("integer", "physicalType", "int", IntegerType()),
    TypeRule("integer", "physicalType", "long", LongType()),
    TypeRule("integer", "physicalType", "decimal(p,0)", None),
    TypeRule("number", None, "", DoubleType()),
    TypeRule("number", "format", "f32", DoubleType(), (-_LARGEST_FLOAT, _LARGEST_FLOAT)),
    TypeRule("number", "format", "f64", DoubleType()),
    TypeRule("number", "physicalType", "double", DoubleType()),
    TypeRule("number", "physicalType", "int", IntegerType()),
    TypeRule("number", "physicalType", "long", LongType()),
    TypeRule("number", "physicalType", "decimal(p,s)", None),
    TypeRule("date", None, "", DateType()),
    TypeRule("timestamp", None, "", TimestamptzType()),
    TypeRule("time", None, "", StringType()),
    TypeRule("object", None, "", StringType()),
    TypeRule("array", None, "", StringType()),
)
LOGICAL_TYPES: Final = tuple(dict.fromkeys(rule.logical_type for rule in TYPE_RULES))

_RANGE: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# What a moment of the envelope can be published as.
_MOMENT_TYPES: Final = ("timestamp", "date", "string")
# logicalTypeOptions that the pipeline enforces; any other is refused.
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength", "pattern"),
    "boolean": (),
    "integer": ("format", *_RANGE, "multipleOf"),
    "number": ("format", *_RANGE, "multipleOf"),
    "date": ("format", *_RANGE),
    "timestamp": ("format", *_RANGE, "timezone", "defaultTimezone"),
    "time": ("format", *_RANGE, "timezone"),
    "object": ("minProperties", "maxProperties", "required"),
    "array": ("minItems", "maxItems", "uniqueItems"),
}
# Those of the standard that say something to readers and nothing that is checked.
SAID_ONLY: Final[Mapping[str, tuple[str, ...]]] = {"string": ("format",), "time": ("defaultTimezone",)}
_TIMES: Final = ("date", "timestamp", "time")


@dataclass(frozen=True)
class Limits:
    """What a value must keep to. Bounds have the property's own kind: Decimal, date, datetime (UTC) or time.

    ``min_items``, ``max_items``: entries of an array, or fields of an object. ``fields``: of an object that
    has to have them.
    """

    minimum: Bound | None = None
    maximum: Bound | None = None
    exclusive_minimum: Bound | None = None
    exclusive_maximum: Bound | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    multiple_of: Decimal | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Property:
    """One property of a contract.

    ``value_type`` is the type of the clear value; ``column_type`` that of the Semantic column (text for
    hashed or masked values, None where the value is dropped). ``source`` is the Curated column. ``enum``
    holds the allowed values as text. ``temporal_format`` is set for dates, timestamps and times of day only.
    """

    name: str
    source: str
    logical_type: str
    value_type: PrimitiveType
    required: bool = False
    critical: bool = False
    pii: PiiTreatment | None = None
    enum: tuple[str, ...] = ()
    limits: Limits = Limits()
    temporal_format: TemporalFormat | None = None
    description: str | None = None
    classification: str | None = None

    @property
    def column_type(self) -> PrimitiveType | None:
        """Type of the Semantic column; None where the contract drops the value."""
        if self.pii is None:
            return self.value_type
        return None if self.pii == "drop" else StringType()

    @property
    def reads(self) -> str:
        """What a text must be, for people: a type, and of times how they are written."""
        return (
            f"{self.value_type} as {self.temporal_format}" if self.temporal_format else str(self.value_type)
        )


def is_property_name(name: str) -> bool:
    """Whether a property, and so a column of Semantic, can be called this."""
    taken = {*LINEAGE_COLUMNS, *PARTITION_FIELDS}
    return _NAME.fullmatch(name) is not None and name not in taken


def is_source(column: str) -> bool:
    """Whether a property can be read from a column of Curated that is called this."""
    return _SOURCE.fullmatch(column) is not None and column not in _NEVER_IN_CURATED


def read_property(source: SchemaProperty, problems: Problems) -> Property | None:
    """The property that one entry of a contract's schema describes; None where ``problems`` were found in it.

    All of them are said, as far as one does not rest on another.
    """
    before = problems.errors
    name = (source.name or "").lower()  # as Curated names its columns, and AWS Glue all
    column, pii, logical_type = name, None, ""
    with problems.at("name"):
        _check_name(name, source.name)
    if source.transformSourceObjects is not None or problems.errors == before:
        with problems.at("transformSourceObjects"):
            column = _source_column(source, name)
    with problems.at("classification"):
        pii = _pii(source)
    with problems.at("logicalType"):
        logical_type = _logical_type(source)
    if not logical_type:
        return None
    options: dict[str, Any] = {}
    with problems.at("logicalTypeOptions"):
        options = _options(source, logical_type)
    with problems.at("transformSourceObjects"):
        _check_envelope_source(column, logical_type, options, pii)
    enum: tuple[str, ...] = ()
    with problems.at("enum"):
        enum = _enum(source, logical_type)
    rule, value_type, temporal_format = None, None, None
    with problems.at("physicalType" if source.physicalType else "logicalTypeOptions"):
        rule, value_type = _type(source, logical_type, options)
    with problems.at("logicalTypeOptions"):
        temporal_format = _temporal_format(source, logical_type, options, column)
    limits = Limits()
    with problems.at("logicalTypeOptions"):
        limits = _limits(logical_type, rule, options, temporal_format)
        physical = _physical(source, logical_type) if rule else None
        if physical is not None and physical.max_length is not None:
            longest = min(
                physical.max_length, _LONGEST_TEXT if limits.max_length is None else limits.max_length
            )
            limits = replace(limits, max_length=longest)
    if value_type is None or problems.errors > before:
        return None
    return Property(
        name=name,
        source=column,
        logical_type=logical_type,
        value_type=value_type,
        required=bool(source.required),
        critical=bool(source.criticalDataElement),
        pii=pii,
        enum=enum,
        limits=limits,
        temporal_format=temporal_format,
        description=source.description,
        classification=source.classification,
    )


def _check_name(name: str, found: str | None) -> None:
    if not _NAME.fullmatch(name):
        raise ContractError(f"name: expected {_NAME.pattern} (starting with a letter), found {found!r}")
    if name in LINEAGE_COLUMNS:
        raise ContractError(
            f"name: expected none of the lineage columns {', '.join(LINEAGE_COLUMNS)}, found {name!r}"
        )
    if name in PARTITION_FIELDS:
        raise ContractError(
            f"name: expected none of the partition fields {', '.join(sorted(PARTITION_FIELDS))} (Athena and "
            f"Spark refuse a table with such a column), found {name!r}"
        )


def _logical_type(source: SchemaProperty) -> str:
    """The logical type that is said, or that the ``physicalType`` says by itself."""
    said = source.logicalType
    if said is None and source.physicalType:
        said = physical_types.logical_type(source.physicalType)
    if said not in LOGICAL_TYPES:
        raise ContractError(
            f"logicalType: expected one of {', '.join(LOGICAL_TYPES)}, found {source.logicalType!r}"
        )
    return said


def _options(source: SchemaProperty, logical_type: str) -> dict[str, Any]:
    """What ``logicalTypeOptions`` say and the pipeline enforces."""
    stated = dict(source.logicalTypeOptions or {})
    known = {*OPTIONS[logical_type], *SAID_ONLY.get(logical_type, ())}
    if unknown := sorted(str(option) for option in stated.keys() - known):
        allowed = ", ".join(OPTIONS[logical_type]) or "no option"
        raise ContractError(
            f"logicalTypeOptions of {logical_type}: expected {allowed}, found {', '.join(unknown)}"
        )
    return {name: value for name, value in stated.items() if name in OPTIONS[logical_type]}


def _check_envelope_source(
    column: str, logical_type: str, options: Mapping[str, Any], pii: PiiTreatment | None
) -> None:
    """A property that reads the envelope: typed as what the field is, and not personal data."""
    if column in ENVELOPE_MOMENTS and (logical_type not in _MOMENT_TYPES or "format" in options):
        raise ContractError(
            f"transformSourceObjects: expected {column}, a moment of the envelope, as "
            f"{', '.join(_MOMENT_TYPES)} without a format (string: RFC 3339, UTC), found logicalType "
            f"{logical_type}" + (" with a format" if "format" in options else "")
        )
    if pii is not None and column in ENVELOPE_TEXTS + ENVELOPE_MOMENTS:
        raise ContractError(
            f"classification PII: expected a source in the payload, found {column}, which Semantic carries "
            "in clear as a lineage column whatever the treatment; put no personal data into the envelope "
            "(a device can send a pseudonym as its key)"
        )


def _type(
    source: SchemaProperty, logical_type: str, options: Mapping[str, Any]
) -> tuple[TypeRule, PrimitiveType]:
    """The line of the type table that applies, and the type of the clear value."""
    numeric = logical_type in ("integer", "number")
    physical = _physical(source, logical_type)
    number_format = options.get("format") if numeric else None
    family = logical_type
    if number_format is None and physical is not None and physical.number_format is not None:
        number_format, family = physical.number_format, "integer"
    if numeric and physical is not None and (parts := _DECIMAL.fullmatch(physical.name)):
        precision, scale = int(parts[1]), int(parts[2])
        if not 1 <= precision <= 38 or scale > precision or (logical_type == "integer" and scale):
            raise ContractError(
                f"physicalType: expected decimal(p,s) with p from 1 to 38 and s from 0 to p "
                f"(0 for an integer), found {source.physicalType!r}"
            )
        if number_format is None:
            return TypeRule(logical_type, "physicalType", physical.name, None), DecimalType(precision, scale)
        bounds = _rule(logical_type, "format", str(number_format)).bounds
        return TypeRule(logical_type, "format", str(number_format), None, bounds), DecimalType(
            precision, scale
        )
    if number_format is None:
        by: Literal["physicalType"] | None = "physicalType" if numeric and physical is not None else None
        rule = _rule(logical_type, by, physical.name if by and physical else "")
    else:
        rule = _rule(family, "format", str(number_format))
        if physical is not None:  # the format bounds values of the type that is stored
            stored = _rule(logical_type, "physicalType", physical.name)
            rule = replace(rule, column_type=stored.column_type)
    if rule.column_type is None:
        raise ContractError(
            f"physicalType of {logical_type}: expected a type of a column, found {rule.value!r}"
        )
    return rule, rule.column_type


def _temporal_format(
    source: SchemaProperty, logical_type: str, options: Mapping[str, Any], column: str
) -> TemporalFormat | None:
    """How dates, timestamps and times of day are written; None for anything else."""
    ways = _formats_in_turn(source, logical_type, options)
    if logical_type not in _TIMES:
        return None
    if column in ENVELOPE_MOMENTS:
        return RFC3339  # of a date too: the day of that moment, UTC
    has_offset = options.get("timezone")
    if not isinstance(has_offset, bool | None):
        raise ContractError(f"logicalTypeOptions.timezone: expected true or false, found {has_offset!r}")
    if "format" in options:
        ways = [str(options["format"])]
    if logical_type == "date":
        return in_turn(ways, with_time=False) if ways else ISO_DATE
    if logical_type == "time":
        return _time_of_day(ways, has_offset=bool(has_offset))
    return _moment(ways, _zone(options.get("defaultTimezone")), has_offset)


def _time_of_day(ways: list[str], *, has_offset: bool) -> TemporalFormat:
    if has_offset:
        raise ContractError(
            "logicalTypeOptions.timezone: expected false or nothing on a time, found true; a time of day "
            "with an offset is no moment that sorts: send a timestamp"
        )
    first, *others = [time_of_day(way) for way in ways] or [ISO_TIME]
    return replace(first, then=tuple(others))


def _moment(ways: list[str], zone: str | None, has_offset: bool | None) -> TemporalFormat:
    """The ways of a timestamp. ``has_offset``: whether all have one; None where the contract does not say."""
    if ways:
        written = in_turn(ways, with_time=True)
    elif has_offset is False:
        written = LOCAL
    else:
        written = replace(RFC3339, then=(LOCAL,)) if zone and has_offset is None else RFC3339
    patterns = [way for way in (written, *written.then) if way.a_second is None]
    if has_offset is not None and any(way.says_no_offset == has_offset for way in patterns):
        wanted, word = ("an", "Z or XXX") if has_offset else ("no", "no XXX")
        raise ContractError(
            f"logicalTypeOptions.timezone: expected formats with {wanted} offset ({word}) beside "
            f"timezone: {str(has_offset).lower()}, found another; mend the one or the other"
        )
    return written.within(zone)


def _zone(name: object) -> str | None:
    """A time zone of the IANA database."""
    if name is None or name == "UTC":
        return None
    if not isinstance(name, str) or not _is_zone(name):
        raise ContractError(
            "logicalTypeOptions.defaultTimezone: expected a name of the IANA time zone database, such as "
            f"Europe/Paris, found {name!r}"
        )
    return name


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _formats_in_turn(source: SchemaProperty, logical_type: str, options: Mapping[str, Any]) -> list[str]:
    """The formats of the custom property ``timeFormats``, none where there is none."""
    stated = [c.value for c in source.customProperties or [] if c.property == TIME_FORMATS]
    if not stated:
        return []
    ways: Any = stated[0]
    listed = isinstance(ways, list) and ways and all(isinstance(way, str) for way in ways)
    if len(stated) > 1 or not listed or logical_type not in _TIMES or "format" in options:
        raise ContractError(
            f"{TIME_FORMATS}: expected one list of formats on a date, timestamp or time without "
            f"logicalTypeOptions.format, found {stated} on a {logical_type}"
        )
    if twice := repeated(ways):
        raise ContractError(f"{TIME_FORMATS}: expected each format once, found {', '.join(twice)} again")
    return list(ways)


def _physical(source: SchemaProperty, logical_type: str) -> PhysicalType | None:
    """What the property's ``physicalType`` says; raises ContractError where it says nothing that is known."""
    if source.physicalType is None:
        return None
    found = physical_type(logical_type, source.physicalType)
    if found is None:
        known = [
            rule.value
            for rule in TYPE_RULES
            if rule.logical_type == logical_type and rule.by == "physicalType"
        ]
        default = str(_rule(logical_type, None, "").column_type)
        raise ContractError(
            f"physicalType of {logical_type}: expected {' or '.join(known) or default}, or what databases "
            f"call that, found {source.physicalType!r}; leave it out for {default}"
        )
    return found


def understood(source: SchemaProperty) -> Iterator[str]:
    """What a property is taken for, where that is not what it says."""
    text = source.physicalType
    if text is None:
        return
    said = source.logicalType or physical_types.logical_type(text)
    if said and source.logicalType is None:
        yield f"no logicalType: physicalType {text} is understood as {said}"
    found = physical_type(said or "", text)
    if found is not None and text.replace(" ", "") != str(found).replace(" ", ""):
        yield f"physicalType {text} is understood as {found}"


def _rule(logical_type: str, by: Literal["format", "physicalType"] | None, value: str) -> TypeRule:
    rules = [r for r in TYPE_RULES if r.logical_type == logical_type and r.by == by]
    rule = next((r for r in rules if r.value == value and r.column_type), None)
    if rule is None:
        allowed = ", ".join(r.value for r in rules)
        raise ContractError(f"{by} of {logical_type}: expected one of {allowed}; found {value!r}")
    return rule


def _limits(
    logical_type: str,
    rule: TypeRule | None,
    options: Mapping[str, Any],
    temporal_format: TemporalFormat | None,
) -> Limits:
    """The bounds and shape that values keep to, each read in the property's own kind."""
    # Times without an offset are of the zone, UTC by default: so is a bound without an offset.
    ways = (temporal_format, *temporal_format.then) if temporal_format is not None else ()
    zone = next((way.zone or "UTC" for way in ways if way.says_no_offset), None)
    read_bound: dict[str, Callable[[str, Any], Bound]] = {
        "date": _date_bound,
        "timestamp": partial(_time_bound, zone=zone),
        "time": _time_of_day_bound,
    }
    bounds = {
        name: read_bound.get(logical_type, _number_bound)(name, options[name])
        for name in _RANGE
        if name in options
    }
    minimum, maximum = bounds.get("minimum"), bounds.get("maximum")
    if rule is not None and rule.bounds:
        smallest, largest = (Decimal(bound) for bound in rule.bounds)
        minimum = max(minimum, smallest) if isinstance(minimum, Decimal) else smallest
        maximum = min(maximum, largest) if isinstance(maximum, Decimal) else largest
    pattern = options.get("pattern")
    if pattern is not None:
        _check_pattern(pattern)
    step = _number_bound("multipleOf", options["multipleOf"]) if "multipleOf" in options else None
    if step is not None and step <= 0:
        raise ContractError(f"logicalTypeOptions.multipleOf: expected a number above 0, found {step}")
    kind = "Properties" if logical_type == "object" else "Items"
    return Limits(
        minimum=minimum,
        maximum=maximum,
        exclusive_minimum=bounds.get("exclusiveMinimum"),
        exclusive_maximum=bounds.get("exclusiveMaximum"),
        min_length=_length("minLength", options),
        max_length=_length("maxLength", options),
        pattern=pattern,
        multiple_of=step,
        min_items=_length(f"min{kind}", options, "entries"),
        max_items=_length(f"max{kind}", options, "entries"),
        unique_items=_unique(options.get("uniqueItems", False)),
        fields=_fields(options.get("required", [])),
    )


def _unique(value: object) -> bool:
    if not isinstance(value, bool):
        raise ContractError(f"logicalTypeOptions.uniqueItems: expected true or false, found {value!r}")
    return value


def _fields(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ContractError(f"logicalTypeOptions.required: expected a list of names, found {value!r}")
    return tuple(value)


def _time_of_day_bound(name: str, value: object) -> time:
    try:
        bound = time.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        bound = None
    if bound is None or bound.tzinfo is not None:
        raise ContractError(
            f'logicalTypeOptions.{name}: expected a time of day in quotes, such as "08:30", found {value!r}'
        )
    return bound


def _number_bound(name: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractError(f"logicalTypeOptions.{name}: expected a number, found {value!r}")
    if not abs(value) <= float_info.max:  # NaN too; an integer is compared exactly, whatever its size
        raise ContractError(
            f"logicalTypeOptions.{name}: expected a number that a double holds (up to {float_info.max}), "
            "found one beyond; leave the limit out"
        )
    return Decimal(repr(value))


def _date_bound(name: str, value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):  # YAML reads a bare date as one
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise ContractError(
            f"logicalTypeOptions.{name}: expected a date YYYY-MM-DD, found {value!r}"
        ) from error


def _time_bound(name: str, value: object, *, zone: str | None) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ContractError(
            f"logicalTypeOptions.{name}: expected an RFC 3339 timestamp, found {value!r}"
        ) from error
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    if moment.tzinfo is None:
        raise ContractError(
            f"logicalTypeOptions.{name}: expected a timestamp with an offset, found {value!r}"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ContractError(
            f"logicalTypeOptions.{name}: expected a moment of the years 1 to 9999 in UTC, found {value!r}"
        ) from error


def _length(name: str, options: Mapping[str, Any], what: str = "characters") -> int | None:
    value = options.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ContractError(f"logicalTypeOptions.{name}: expected a whole number of {what}, found {value!r}")
    if value is not None and value > _LONGEST_TEXT:
        raise ContractError(
            f"logicalTypeOptions.{name}: expected at most {_LONGEST_TEXT} {what}, found more; no message "
            "holds so many, so leave the limit out"
        )
    return value


def _check_pattern(pattern: object) -> None:
    """Arrow applies patterns with RE2, which has no look-around and no back-references."""
    if not isinstance(pattern, str):
        raise ContractError(f"logicalTypeOptions.pattern: expected text, found {pattern!r}")
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ContractError(
            f"logicalTypeOptions.pattern: expected an expression that RE2 accepts (no look-around, "
            f"no back-reference), found {pattern!r}: {error}"
        ) from error


def _enum(source: SchemaProperty, logical_type: str) -> tuple[str, ...]:
    """The allowed values as text; YAML's own reading of ``no`` or ``1.10`` is refused, not guessed."""
    if source.enum is None:
        return ()
    if logical_type not in ("string", "integer", "number"):
        raise ContractError(f"enum: expected on a string, integer or number, found on a {logical_type}")
    expected: tuple[type, ...] = (str,) if logical_type == "string" else (int, float)
    values = []
    for entry in source.enum:
        if isinstance(entry.value, bool) or not isinstance(entry.value, expected):
            raise ContractError(
                f"enum: expected every value as {'quoted text' if logical_type == 'string' else 'a number'}, "
                f"found {entry.value!r} (YAML reads unquoted yes, no and numbers as something else)"
            )
        values.append(str(entry.value))
    if not values or repeated(values):
        raise ContractError(f"enum: expected at least one value and each once, found {values}")
    return tuple(values)


def _source_column(source: SchemaProperty, name: str) -> str:
    columns = [name] if source.transformSourceObjects is None else source.transformSourceObjects
    if len(columns) != 1 or not _SOURCE.fullmatch(columns[0]):
        raise ContractError(
            "transformSourceObjects: expected one Curated column such as reading__value "
            f"(lower case, path joined with __), found {columns}"
        )
    if columns[0] in _NEVER_IN_CURATED:
        raise ContractError(
            f"transformSourceObjects: expected a column that Curated can have, found {columns[0]}, which is "
            "a reserved name: a payload field of that name is kept in _rescued"
        )
    return columns[0]


def _pii(source: SchemaProperty) -> PiiTreatment | None:
    treatments = [c.value for c in source.customProperties or [] if c.property == PII_TREATMENT]
    if (source.classification or "").casefold() != "pii":
        if treatments:
            raise ContractError(
                f"{PII_TREATMENT}: expected classification: PII beside it, found {source.classification!r}"
            )
        return None
    allowed: tuple[PiiTreatment, ...] = get_args(PiiTreatment)
    if len(treatments) != 1 or treatments[0] not in allowed:
        raise ContractError(
            f"classification PII: expected one custom property {PII_TREATMENT} with {', '.join(allowed)}, "
            f"found {treatments}"
        )
    return allowed[allowed.index(treatments[0])]


def repeated(names: Iterator[str] | list[str]) -> list[str]:
    """The names that occur again, once for each time."""
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # add returns None on purpose
