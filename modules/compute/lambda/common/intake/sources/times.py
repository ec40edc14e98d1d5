"""When a reading was taken: candidates in order, each a number or a text in one form, the last perhaps the
queue's.

A candidate that is absent, unset or before ``not_before`` leaves the word to the next one; one that is
there and cannot be read refuses the reading, since another time would be a guess. Sums are made in
decimals, so that ``…200.29`` seconds are 290,000 microseconds, and what microseconds cannot hold is cut."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from common.intake.events import RejectCode
from common.intake.sources import slices
from common.intake.sources.expressions import Place, decimal, described, listed, only, value, words
from common.intake.sources.paths import Reference
from common.intake.sources.scope import Scope
from common.runtime.errors import RejectedEvent

UNITS: Final[Mapping[str, int | Decimal]] = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": Decimal("0.001")}
_RFC3339: Final = "rfc3339"
ARRIVED: Final = "$arrived"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Clocks that were never set begin at 1970, 1980 or 2000, and run on from there.
USUAL_NOT_BEFORE_US: Final = int(datetime(2001, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_UNSET: Final = frozenset({b"null", b'""', b"0", b"0.0", b'"0"', b'"0001-01-01T00:00:00Z"'})
_MICROSECOND: Final = timedelta(microseconds=1)

_FIELDS: Final = {
    "yyyy": r"(?P<year>[0-9]{4})",
    "yy": r"(?P<short_year>[0-9]{2})",
    "MM": r"(?P<month>[0-9]{2})",
    "M": r"(?P<month>[0-9]{1,2})",
    "dd": r"(?P<day>[0-9]{2})",
    "d": r"(?P<day>[0-9]{1,2})",
    "HH": r"(?P<hour>[0-9]{2})",
    "H": r"(?P<hour>[0-9]{1,2})",
    "mm": r"(?P<minute>[0-9]{2})",
    "ss": r"(?P<second>[0-9]{2})",
    "XXX": r"(?P<offset>[Zz]|[+-][0-9]{2}:?[0-9]{2})",
    "X": r"(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)",
}
_TOKEN: Final = re.compile(r"'((?:[^']|'')*)'|(([A-Za-z])\3*)|(.)", re.DOTALL)
_RFC3339_FORM: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ]"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A time in microseconds since 1970 UTC; ``measured``: the device said it, and not the queue."""

    us: int
    measured: bool = True


Clock = Callable[[Scope], Found]
_Candidate = Callable[[Scope], Found | None]
# The time of a value that is not unset, in microseconds (not yet whole).
_Reader = Callable[[msgspec.Raw, Scope], Decimal | int]


def clock(written: object, not_before: object, place: Place) -> Clock:
    """Compile the time of a source; raises SourceError."""
    parts = written if isinstance(written, list) else [written]
    if not parts:
        raise place.at("time").error("expected a time or several, found none")
    candidates = []
    for i, part in enumerate(parts):
        at = place.at("time").at(i) if isinstance(written, list) else place.at("time")
        candidates.append(_candidate(part, at, earliest(not_before, place.at("not_before"))))
        if part == ARRIVED and i + 1 < len(parts):
            raise at.error(
                f"expected {ARRIVED} as the last time, found one after it: the queue always has one"
            )

    if len(candidates) == 1:
        only_one = candidates[0]

        def find(scope: Scope) -> Found:
            found = only_one(scope)
            if found is None:
                raise _missing()
            return found

        return find

    def find_first(scope: Scope) -> Found:
        for candidate in candidates:
            found = candidate(scope)
            if found is not None:
                return found
        raise _missing()

    return find_first


def _missing() -> RejectedEvent:
    return RejectedEvent(RejectCode.MISSING_FIELD, "time: expected one, found none that is there and set")


def earliest(written: object, place: Place) -> int:
    """The time before which a clock was not set, in microseconds since 1970; raises SourceError."""
    if written is None:
        return USUAL_NOT_BEFORE_US
    match = _RFC3339_FORM.fullmatch(words(written, place))
    if match is None or not match["offset"]:
        raise place.error("expected a time with its offset, such as 2015-01-01T00:00:00Z; found another text")
    try:
        return int(_moment(match.groupdict(), None, None, "refuse"))
    except RejectedEvent as error:
        raise place.error(error.detail) from None


def _candidate(written: object, place: Place, not_before_us: int) -> _Candidate:
    if written == ARRIVED:
        return lambda scope: Found(scope.message.transport.arrived_us, measured=False)
    if isinstance(written, str):
        written = {"at": written}
    if not isinstance(written, Mapping) or "at" not in written:
        raise place.error(f"expected a path, or a mapping with at:, found {described(written)}")
    only(written, place, "at", "as", "zone", "ambiguous", "plus", "relative_below", "unset")
    at = value(written["at"], place.at("at"))
    form = words(written.get("as", _RFC3339), place.at("as"))
    read = _reader(form, written, place)
    plus = [_addend(part, place.at("plus").at(i)) for i, part in enumerate(_several(written, "plus", place))]
    unset = _UNSET.union(slices.canonical(slices.of(one)) for one in _several(written, "unset", place))
    relative_below = _relative(written, form, place)
    if form in UNITS and not plus and relative_below is None:
        return _count(at, UNITS[form], read, unset, not_before_us)

    def find(scope: Scope) -> Found | None:
        found = at(scope)
        absent = found is None or bytes(found) in unset
        if absent and relative_below is None:
            return None
        us: Decimal | int = 0 if found is None or absent else read(found, scope)
        for add in plus:
            us = slices.EXACT.add(Decimal(us), Decimal(add(scope)))
        if relative_below is not None and us < relative_below:
            found_us, measured = int(scope.message.transport.arrived_us + us), False
        else:
            found_us, measured = int(us), True  # what is finer than microseconds is cut
        return Found(found_us, measured) if found_us >= not_before_us else None

    return find


def _relative(written: Mapping[str, Any], form: str, place: Place) -> Decimal | None:
    """Below what, in microseconds, a time counts from arrival."""
    if "relative_below" not in written:
        return None
    at = place.at("relative_below")
    if form not in UNITS:
        raise at.error(f"expected it beside a unit, found as: {form}")
    return decimal(written["relative_below"], at) * UNITS[form]


def _count(
    at: Reference, unit: int | Decimal, read: _Reader, unset: frozenset[bytes], not_before_us: int
) -> _Candidate:
    """A count since 1970, which most devices have."""

    def find(scope: Scope) -> Found | None:
        found = at(scope)
        if found is None or (written := bytes(found)) in unset:
            return None
        if written.isdigit() and len(written) < 20 and isinstance(unit, int):
            us = int(written) * unit
        else:
            us = int(read(found, scope))
        return Found(us) if us >= not_before_us else None

    return find


def _several(written: Mapping[str, Any], name: str, place: Place) -> list[Any]:
    if name not in written:
        return []
    return listed(written[name], place.at(name)) if isinstance(written[name], list) else [written[name]]


def _addend(written: object, place: Place) -> Callable[[Scope], Decimal | int]:
    if not isinstance(written, Mapping) or written.keys() != {"at", "as"} or written["as"] not in UNITS:
        raise place.error(f"expected at: with as: one of {', '.join(UNITS)}; found another")
    at = value(written["at"], place.at("at"))
    unit = UNITS[written["as"]]

    def find(scope: Scope) -> Decimal | int:
        found = at(scope)
        return 0 if found is None or bytes(found) == b"null" else _counted(found, unit)

    return find


def _reader(form: str, written: Mapping[str, Any], place: Place) -> _Reader:
    """Of a unit, of RFC 3339, or of a pattern."""
    ambiguous = written.get("ambiguous", "refuse")
    if ambiguous not in {"refuse", "arrival"}:
        raise place.at("ambiguous").error(f"expected refuse or arrival, found {described(ambiguous)}")
    zone_name = written.get("zone")
    zone = None if zone_name is None else _zone(words(zone_name, place.at("zone")), place.at("zone"))
    if form in UNITS:
        for name in ("zone", "ambiguous"):
            if name in written:
                raise place.at(name).error(f"expected none beside as: {form}, which has no zone; found one")
        unit = UNITS[form]
        return lambda found, _scope: _counted(found, unit)
    expression, default = (
        (_RFC3339_FORM, "RFC 3339") if form == _RFC3339 else (_pattern(form, place), "its pattern")
    )
    has_offset = "offset" in expression.groupindex
    if not has_offset and zone is None:
        raise place.error(
            "expected a zone beside a pattern without an offset, found none; name it: zone: Europe/Paris"
        )

    def read(found: msgspec.Raw, scope: Scope) -> int:
        text = slices.text(found)
        match = None if text is None else expression.fullmatch(text.strip())
        if match is None:
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD,
                f"time: expected {default}, found {slices.kind(found)} that is not",
            )
        return _moment(match.groupdict(), zone, scope.message.transport.arrived_us, ambiguous)

    return read


def _counted(found: msgspec.Raw, unit: int | Decimal) -> Decimal | int:
    number = slices.number(found)
    if number is None:
        raise RejectedEvent(
            RejectCode.MALFORMED_FIELD, f"time: expected a number since 1970, found {slices.kind(found)}"
        )
    return slices.EXACT.multiply(number, Decimal(unit))


def _zone(name: str, place: Place) -> Any:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - loaded by those who use it

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise place.error(
            "expected a name of the IANA time zone database, such as Europe/Paris; found another"
        ) from None


def _pattern(form: str, place: Place) -> re.Pattern[str]:
    """The expression of a pattern in the letters of a contract's (docs/contracts.md), and some more."""
    expression, seen = "", set[str]()
    for quoted, letters, _, mark in _TOKEN.findall(form):
        if not letters:
            expression += re.escape(quoted.replace("''", "'") if mark == "" else mark)
            continue
        group = r"(?P<fraction>[0-9]{1,9})" if set(letters) == {"S"} else _FIELDS.get(letters)
        if group is None:
            raise place.at("as").error(
                f"expected s, ms, us, ns, {_RFC3339} or a pattern of {', '.join(_FIELDS)} and S; "
                f"found {letters!r}"
            )
        name = group[4 : group.index(">")].removeprefix("short_")
        if name in seen:
            raise place.at("as").error(f"expected each field once, found the {name} again")
        seen.add(name)
        expression += group
    if missing := {"year", "month", "day", "hour", "minute"} - seen:
        raise place.at("as").error(f"expected the {', '.join(sorted(missing))} too, found none")
    return re.compile(expression)


def _moment(parts: Mapping[str, str | None], zone: Any, arrived_us: int | None, ambiguous: str) -> int:
    """Microseconds since 1970 of what was written; raises RejectedEvent."""
    year = parts.get("year") or f"20{parts.get('short_year')}"
    written_offset = parts.get("offset")
    fraction = int((parts.get("fraction") or "").ljust(6, "0")[:6] or 0)
    try:
        month, day, hour, minute, seconds = (
            int(parts.get(name) or 0) for name in ("month", "day", "hour", "minute", "second")
        )
        naive = datetime(int(year), month, day, hour, minute, seconds, fraction)  # noqa: DTZ001 - zone follows
        if written_offset:
            return (naive.replace(tzinfo=UTC) - _offset(written_offset) - EPOCH) // _MICROSECOND
        if zone is None:
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD,
                "time: expected an offset, found none; name the device's zone in the source (zone:)",
            )
        first, second = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first.astimezone(zone).replace(tzinfo=None) != naive:
            raise RejectedEvent(
                RejectCode.MALFORMED_FIELD,
                "time: expected a local time that exists, found one that clocks skip",
            )
    except (ValueError, OverflowError):
        raise RejectedEvent(
            RejectCode.MALFORMED_FIELD, "time: expected a date and time that exist, found one that does not"
        ) from None
    early, late = ((moment - EPOCH) // _MICROSECOND for moment in (first, second))
    if early == late:
        return early
    if ambiguous == "refuse" or arrived_us is None:
        raise RejectedEvent(
            RejectCode.MALFORMED_FIELD,
            "time: expected an hour that clocks show once, found one that they show twice; "
            "ambiguous: arrival picks one of the two",
        )
    return late if late <= arrived_us else early


def _offset(written: str) -> timedelta:
    if written in {"Z", "z"}:
        return timedelta(0)
    digits = written[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 18 or minutes > 59:
        raise ValueError
    return timedelta(hours=hours, minutes=minutes) * (-1 if written[0] == "-" else 1)
