"""Times as files write them → microseconds since 1970 UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from common.runtime.errors import InvalidInput

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
# Year first or, with dots, day first. What may be day or month first (03/04/2026) needs a format.
_DATE_TIME: Final = re.compile(
    r"(?:(?P<year>[0-9]{4})[-/](?P<month>[0-9]{1,2})[-/](?P<day>[0-9]{1,2})"
    r"|(?P<day_dot>[0-9]{1,2})\.(?P<month_dot>[0-9]{1,2})\.(?P<year_dot>[0-9]{4}))"
    r"(?:[T ](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?)?"
    r" ?(?P<offset>Z|z|[+-][0-9]{2}:?[0-9]{2})?"
)
# An epoch number tells its unit by its size: seconds reach 10**11 in 5138, milliseconds pass it in 1973.
_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))


class TimeReader:
    """Reads the times of one column.

    ``zone`` (IANA name, or an offset such as ``-08:00``) applies to times without offset; a time in
    an hour that a zone has twice is taken as its first, and counted in ``ambiguous``. ``time_format``
    (``datetime.strptime``) replaces the formats known here. Raises InvalidInput for a timezone that does not
    exist.
    """

    def __init__(self, zone: str = "UTC", time_format: str | None = None) -> None:
        self._zone: Final = _zone(zone)
        self._zone_name: Final = zone
        self._format: Final = time_format
        self.ambiguous = 0

    def microseconds(self, text: str) -> int:
        """Microseconds since 1970 UTC, finer digits cut off; raises ValueError saying what was expected."""
        text = text.strip()
        if self._format is not None:
            return _microseconds(self._placed(datetime.strptime(text, self._format)))  # noqa: DTZ007 - placed next
        if _NUMBER.fullmatch(text):
            return _of_epoch(Decimal(text))
        match = _DATE_TIME.fullmatch(text)
        if match is None:
            raise ValueError(
                "expected RFC 3339, year-month-day or day.month.year with or without time, or an epoch "
                f"number, found {text[:40]!r}"
            )
        part = match.groupdict()
        local = datetime(  # noqa: DTZ001 - placed next
            int(part["year"] or part["year_dot"]),
            int(part["month"] or part["month_dot"]),
            int(part["day"] or part["day_dot"]),
            int(part["hour"] or 0),
            int(part["minute"] or 0),
            int(part["second"] or 0),
            int((part["fraction"] or "")[:6].ljust(6, "0")),
        )
        offset = part["offset"]
        return _microseconds(local.replace(tzinfo=_zone(offset)) if offset else self._placed(local))

    def _placed(self, local: datetime) -> datetime:
        """A time without offset in the column's timezone; raises ValueError if clocks skip it there."""
        if local.tzinfo is not None:
            return local
        placed = local.replace(tzinfo=self._zone)
        if placed.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != local:
            raise ValueError(
                f"expected a time that exists in {self._zone_name}, found {local}, which clocks skip"
            )
        if placed.utcoffset() != placed.replace(fold=1).utcoffset():
            self.ambiguous += 1
        return placed


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _of_epoch(number: Decimal) -> int:
    for limit, factor in _UNITS:
        if abs(number) < limit:
            return int(number * factor)
    return int(number) // 1_000  # nanoseconds


def _zone(name: str) -> tzinfo:
    if name in {"UTC", "Z", "z"}:
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        distance = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-distance if offset[1] == "-" else distance)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"timezone: expected a name such as Europe/Berlin or an offset such as -08:00, found {name!r}; "
            "correct it, or install the tzdata package where the system has no timezones"
        ) from error
