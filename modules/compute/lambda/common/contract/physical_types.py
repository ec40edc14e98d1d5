"""What databases call a type, as the type table of contracts has it (``properties.TYPE_RULES``).

``physicalType`` is free text in the standard (Open Data Contract Standard v3, "Schema"); people write what
their database says. A word that says the same as a line of the table stands for it, and what it says of
values beside (``varchar(20)``, ``smallint``) is enforced. A word that can mean two things (``int8``) is none.
"""

import re
from dataclasses import dataclass
from typing import Final

_WORDS: Final = re.compile(r"([a-z][a-z0-9_ ]*?) ?(?:\(([0-9, ]+)\)|\[([0-9, ]+)\]|<.*>)?")
_TEXTS: Final = (
    "string",
    "text",
    "varchar",
    "nvarchar",
    "char",
    "nchar",
    "character",
    "bpchar",
    "varchar2",
    "nvarchar2",
    "clob",
    "uuid",
    "xml",
)
_TIMES: Final = ("timestamp", "timestamptz", "timestamp_tz", "timestamp_ltz", "timestamp_ntz", "datetime")
_DECIMALS: Final = dict.fromkeys(("decimal", "numeric", "number", "dec"), "decimal")
_INTS: Final = {
    **dict.fromkeys(("int", "integer", "int4", "int32", "serial"), "int"),
    **dict.fromkeys(("smallint", "int2", "int16", "short", "tinyint"), "int"),
    **dict.fromkeys(("long", "bigint", "int64", "bigserial"), "long"),
}
_DOUBLES: Final = ("double", "double precision", "float8", "float64", "float", "real", "float4", "float32")
_SYNONYMS: Final[dict[str, dict[str, str]]] = {
    "string": dict.fromkeys((*_TEXTS, "character varying"), "string"),
    "boolean": dict.fromkeys(("boolean", "bool"), "boolean"),
    "date": {"date": "date"},
    "timestamp": dict.fromkeys(
        (*_TIMES, "timestamp with time zone", "timestamp without time zone"), "timestamptz"
    ),
    # Spark and Athena read no column of a time of day: it is a text that sorts as the day goes.
    "time": dict.fromkeys(("time", "time without time zone", "string"), "string"),
    "array": dict.fromkeys(("array", "list", "json", "jsonb", "string"), "string"),
    "object": dict.fromkeys(
        ("object", "struct", "record", "map", "json", "jsonb", "variant", "string"), "string"
    ),
    "integer": _INTS | _DECIMALS,
    "number": dict.fromkeys(_DOUBLES, "double") | _INTS | _DECIMALS,
}
_SMALLER: Final = {**dict.fromkeys(("smallint", "int2", "int16", "short"), "i16"), "tinyint": "i8"}
# How many numbers may stand in brackets.
_DIGITS: Final = {"decimal": (1, 2), "timestamptz": (0, 1), "double": (0, 2)}


@dataclass(frozen=True)
class PhysicalType:
    """``name``: as the type table has it. ``number_format`` and ``max_length``: what else the word says.

    ``not_kept``: the digits of a ``float(p,s)``, which rounds as databases do and a double does not.
    """

    name: str
    number_format: str | None = None
    max_length: int | None = None
    not_kept: str = ""

    def __str__(self) -> str:
        """As a sentence of the linter."""
        more = f", format {self.number_format}" if self.number_format else ""
        more += f", at most {self.max_length} characters" if self.max_length else ""
        more += f"; the digits {self.not_kept} are not kept to" if self.not_kept else ""
        return f"{self.name}{more}"


def logical_type(text: str) -> str | None:
    """The logical type that a ``physicalType`` says by itself; None where it can be several, or none."""
    fitting = {name: found for name in _SYNONYMS if (found := physical_type(name, text)) is not None}
    if "string" not in fitting and fitting.keys() >= {"array", "object"}:
        return None
    if "integer" in fitting and fitting["integer"].name.startswith("decimal"):
        return "number"
    return next(iter(fitting), None)


def physical_type(logical_type: str, text: str) -> PhysicalType | None:
    """What a ``physicalType`` says; None where it says nothing that a column of ``logical_type`` can be."""
    parts = _WORDS.fullmatch(" ".join(text.casefold().split()))
    name = _SYNONYMS.get(logical_type, {}).get(parts[1]) if parts else None
    if parts is None or name is None:
        return None
    digits = parts[2] or parts[3]
    numbers = [number.strip() for number in digits.split(",")] if digits else []
    # A precision of seconds says nothing: all that are read are microseconds.
    fewest, most = _DIGITS.get(name, (0, int(logical_type == "string")))
    if not fewest <= len(numbers) <= most or not all(number.isdecimal() for number in numbers):
        return None
    if name == "decimal":
        return PhysicalType(f"decimal({','.join([*numbers, '0'][:2])})")
    longest = int(numbers[0]) if logical_type == "string" and numbers else None
    not_kept = f"({','.join(numbers)})" if name == "double" and numbers else ""
    return PhysicalType(name, _SMALLER.get(parts[1]), longest, not_kept)
