"""How a date or timestamp is written: a JDK date pattern, turned into a regular expression.

A contract names the format of a date or timestamp in the pattern language of Java's ``DateTimeFormatter``
(Open Data Contract Standard v3, ``logicalTypeOptions.format``). The part of that language that has exactly
one reading is supported: ``yyyy MM dd HH mm ss``, a fraction ``S`` to ``SSSSSS`` after the seconds, an
offset ``XXX`` (``Z`` or ``+02:00``), ``XX`` (``Z`` or ``+0200``) or ``Z`` (``+0200``), quoted literals and
punctuation. ``[ ] { } #`` are not punctuation:
Java reads the first two as an optional part and reserves the others, so they are refused unless quoted. The
outcome is an RE2 expression with one named group a field, so that a whole column is taken apart in one call.

Devices count as well: ``epoch-s``, ``epoch-ms``, ``epoch-us`` and ``epoch-ns`` are numbers since 1970, UTC.
``RFC3339`` names the way without a format. A property may be written in several ways, tried in turn. What
is written without an offset is UTC, or of a time zone that the contract names.

A time of day (logical type ``time``) has no date, and no offset.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final

from common.runtime.errors import ContractError

_FIELDS: Final = {
    "yyyy": r"(?P<year>[0-9]{4})",
    "MM": r"(?P<month>0[1-9]|1[0-2])",
    "dd": r"(?P<day>0[1-9]|[12][0-9]|3[01])",
    "HH": r"(?P<hour>[01][0-9]|2[0-3])",
    "mm": r"(?P<minute>[0-5][0-9])",
    "ss": r"(?P<second>[0-5][0-9])",
    "XXX": r"(?P<offset>Z|[+-](?:0[0-9]|1[0-8]):[0-5][0-9])",
    "XX": r"(?P<offset>Z|[+-](?:0[0-9]|1[0-8])[0-5][0-9])",
    "Z": r"(?P<offset>[+-](?:0[0-9]|1[0-8])[0-5][0-9])",
}
# Optional sections and what Java keeps for later (DateTimeFormatter, "Patterns for Formatting and Parsing").
_RESERVED: Final = frozenset("[]{}#")
_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|(?P<letters>([A-Za-z])\2*)|[^A-Za-z']")


@dataclass(frozen=True)
class TemporalFormat:
    """A way to write a date or timestamp: ``expression`` (RE2, anchored) and the ``fields`` it captures.

    ``a_second``: of a number since 1970, how many units a second has; None of a pattern. ``then``: the ways
    to try, in turn, on what this one does not read. ``zone``: the time zone (IANA) of what is written without
    an offset; None: UTC. ``word``: how a contract writes it.
    """

    expression: str
    fields: frozenset[str]
    a_second: int | None = None
    then: tuple["TemporalFormat", ...] = ()
    zone: str | None = None
    word: str = field(default="", compare=False)

    def __str__(self) -> str:
        """All ways, the first one first, for people."""
        return " or ".join(way.word for way in (self, *self.then))

    @property
    def says_no_offset(self) -> bool:
        """Whether what it reads is of the zone, and not of an offset of its own."""
        return self.a_second is None and "offset" not in self.fields

    def within(self, zone: str | None) -> "TemporalFormat":
        """The same ways, for times of that zone where they say no offset."""
        ways = tuple(way.within(zone) for way in self.then)
        return replace(self, then=ways, zone=zone if self.says_no_offset else None)


# RFC 3339 full-date, and date-time with up to nanoseconds written (casting refuses what microseconds
# cannot hold). Both "T" and a space are allowed between date and time (RFC 3339, section 5.6, note).
ISO_DATE: Final = TemporalFormat("^" + "-".join((_FIELDS["yyyy"], _FIELDS["MM"], _FIELDS["dd"])) + "$",
                                 frozenset({"year", "month", "day"}), word="yyyy-MM-dd")  # fmt: skip
STANDARD: Final = "RFC3339"
RFC3339: Final = TemporalFormat(
    ISO_DATE.expression[:-1]
    + "[Tt ]"
    + ":".join((_FIELDS["HH"], _FIELDS["mm"], _FIELDS["ss"]))
    + r"(?:\.(?P<fraction>[0-9]{1,9}))?(?P<offset>[Zz]|[+-](?:0[0-9]|1[0-8]):[0-5][0-9])$",
    frozenset({"year", "month", "day", "hour", "minute", "second", "fraction", "offset"}),
    word=STANDARD,
)


# The same without the offset: ISO 8601's local date and time.
LOCAL: Final = TemporalFormat(
    RFC3339.expression[: RFC3339.expression.index("(?P<offset>")] + "$",
    RFC3339.fields - {"offset"},
    word="yyyy-MM-dd HH:mm:ss",
)
# RFC 3339 partial-time.
ISO_TIME: Final = TemporalFormat(
    "^" + LOCAL.expression[LOCAL.expression.index("(?P<hour>") :],
    frozenset({"hour", "minute", "second", "fraction"}),
    word="HH:mm:ss",
)


EPOCHS: Final = {
    f"epoch-{unit}": TemporalFormat("", frozenset(), a_second, word=f"epoch-{unit}")
    for unit, a_second in (("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000))
}


def in_turn(words: list[str], *, with_time: bool) -> TemporalFormat:
    """Several ways to write a date or timestamp, the first one first; raises ContractError as for one."""
    first, *others = (named_format(word, with_time=with_time) for word in words)
    return replace(first, then=tuple(others))


def named_format(word: str, *, with_time: bool) -> TemporalFormat:
    """The way that a word or a pattern names; raises ContractError where it names none."""
    if word in EPOCHS:
        if not with_time:
            raise ContractError(
                f"format {word}: expected it on a timestamp, found it on a date, which would lose the time "
                "of day; use logicalType timestamp"
            )
        return EPOCHS[word]
    if word == STANDARD:
        return RFC3339 if with_time else ISO_DATE
    return compile_format(word, with_time=with_time)


def compile_format(pattern: str, *, with_time: bool) -> TemporalFormat:
    """The expression for a JDK date pattern.

    ``with_time`` says whether the value is a timestamp (date, hour and minute are needed) or a date
    (time fields are refused: dropping them would lose something). Raises ContractError naming the part
    of the pattern that is unknown, repeated or missing.
    """
    expression, fields = _compiled(pattern)
    needed = {"year", "month", "day"} | ({"hour", "minute"} if with_time else set())
    if missing := needed - fields:
        raise ContractError(f"format {pattern!r}: expected the {', '.join(sorted(missing))} too, found none")
    if not with_time and fields - needed:
        raise ContractError(
            f"format {pattern!r}: expected date fields only, found the {', '.join(sorted(fields - needed))}; "
            "use logicalType timestamp to keep a time"
        )
    return TemporalFormat(expression, fields, word=pattern)


def time_of_day(pattern: str) -> TemporalFormat:
    """The expression for a JDK pattern of a time of day; raises ContractError as for one of a date."""
    if pattern in (STANDARD, *EPOCHS):
        raise ContractError(f"format {pattern}: expected one of a time of day, such as HH:mm, found another")
    expression, fields = _compiled(pattern)
    if missing := {"hour", "minute"} - fields:
        raise ContractError(f"format {pattern!r}: expected the {', '.join(sorted(missing))} too, found none")
    if others := fields - ISO_TIME.fields:
        raise ContractError(
            f"format {pattern!r}: expected fields of a time of day, found the {', '.join(sorted(others))}; "
            "use logicalType timestamp for a moment"
        )
    return TemporalFormat(expression, fields, word=pattern)


def _compiled(pattern: str) -> tuple[str, frozenset[str]]:
    """The expression of any JDK pattern, and its fields."""
    expression, fields = "", set[str]()
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise ContractError(f"format {pattern!r}: expected a closing quote after {pattern[position:]!r}")
        position = token.end()
        letters = token["letters"]
        if letters is None:
            expression += re.escape(_literal(pattern, token[0]))
            continue
        if set(letters) == {"S"} and len(letters) <= 6:
            name, group = "fraction", f"(?P<fraction>[0-9]{{{len(letters)}}})"
        elif letters in _FIELDS:
            group = _FIELDS[letters]
            name = group[4 : group.index(">")]
        else:
            raise ContractError(
                f"format {pattern!r}: expected fields among {', '.join(_FIELDS)}, S to SSSSSS; "
                f"found {letters!r}"
            )
        if name in fields:
            raise ContractError(f"format {pattern!r}: expected every field once, found the {name} again")
        fields.add(name)
        expression += group
    if "fraction" in fields and "second" not in fields:
        raise ContractError(f"format {pattern!r}: expected ss before a fraction of a second, found none")
    return f"^{expression}$", frozenset(fields)


def _literal(pattern: str, token: str) -> str:
    """The text that a token without letters stands for."""
    if token in _RESERVED:
        raise ContractError(
            f"format {pattern!r}: expected {token} in quotes ('{token}') or left out, found it bare; it "
            "stands for no text in a date pattern"
        )
    return token[1:-1].replace("''", "'") or "'" if token[0] == "'" else token
