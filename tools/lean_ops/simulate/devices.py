"""Devices: five types, where they stand, and the payloads they send.

Every payload carries ``device.id|type|firmware``, ``reading.value|unit|quality``, ``site.country|name``,
``counter`` and mostly ``operator.email``; each type adds fields of its own. Payloads are built as JSON text,
because exact text is what the tables must keep: ``1.10`` stays ``1.10``, exponents and integers beyond 64
bits stay as written.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class Site:
    """Where devices stand. ``offset_min`` is the site's offset from UTC in minutes, all year."""

    country: str
    name: str
    offset_min: int

    @property
    def offset(self) -> str:
        """The offset as RFC 3339 writes it: ``Z`` or ``+05:30``."""
        if self.offset_min == 0:
            return "Z"
        hours, minutes = divmod(abs(self.offset_min), 60)
        return f"{'-' if self.offset_min < 0 else '+'}{hours:02d}:{minutes:02d}"


# Names with accents, quotes and other scripts: text that a careless step would break.
SITES: Final = (
    Site("DE", "Köln Süd", 60),
    Site("JP", "東京・港区", 540),
    Site("US", 'Dallas "East"', -360),
    Site("BR", "São Paulo \\ Doca 4", -180),
    Site("IN", "Pune 🏭", 330),
    Site("GB", "Leeds", 0),
)


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What a reading depends on, besides its device.

    ``daily`` runs from -1 (02:00 local time) to 1 (14:00); ``yearly`` from -1 (January) to 1 (July).
    ``noise`` holds four independent whole numbers from 0 to 65,535.
    """

    daily: float
    yearly: float
    noise: tuple[int, int, int, int]


@dataclass(frozen=True)
class DeviceType:
    """One type of device. ``read`` gives the text of ``reading.value`` and the type's own JSON members.

    ``counter_base`` is what its counter starts from; ``battery`` says whether readings carry its charge.
    """

    name: str
    unit: str
    read: Callable[[Moment], tuple[str, str]]
    counter_base: int = 0
    battery: bool = False


def _thermostat(moment: Moment) -> tuple[str, str]:
    a, b, c, _ = moment.noise
    value = 20.5 + 1.5 * moment.daily + 2.0 * moment.yearly + (a - 32768) / 65536
    mode = "cool" if moment.yearly > 0.5 else ("heat", "eco")[b & 1]
    humidity = f"{35 + c % 300 / 10:.1f}"
    own = (
        f'"thermostat":{{"setpoint":{19 + b % 5}.50,"mode":"{mode}","humidity_pct":{humidity}}},"fault":null'
    )
    return f"{value:.2f}", own


def _air_quality(moment: Moment) -> tuple[str, str]:
    a, b, c, d = moment.noise
    value = 14 + 6 * moment.daily - 3 * moment.yearly + (a & 1023) / 100
    nitrogen = f'{{"name":"NO₂","value":{c % 4000 / 10000:.4f}}}'
    ozone = f'{{"name":"O₃","value":{d % 3000 / 10000:.4f}}}'
    return f"{value:.2f}", f'"air":{{"co2_ppm":{420 + b % 900},"pollutants":[{nitrogen},{ozone}]}}'


def _smart_meter(moment: Moment) -> tuple[str, str]:
    a, b, c, d = moment.noise
    value = 0.9 + 0.4 * moment.daily - 0.2 * moment.yearly + (a & 2047) / 10000
    tariff = "day" if moment.daily > -0.3 else "night"
    phases = f"[{230 + d % 7}.10,{229 + d % 5}.00,{231 + d % 3}.90]"
    own = f'"meter":{{"tariff":"{tariff}","price":"{b % 3}.{c % 10}0","phases_v":{phases}}}'
    return f"{value:.3f}", own


def _vehicle(moment: Moment) -> tuple[str, str]:
    a, b, c, d = moment.noise
    value = max(0.0, 38 + 30 * moment.daily + (a & 4095) / 100)
    position = f'"lat":{35 + b / 4096:.6f},"lon":-{c / 1024:.6f}'
    fix = f'{{"satellites":{4 + d % 12},"hdop":{1 + d % 90 / 10:.1f}e0}}'
    return f"{value:.1f}", f'"gps":{{{position},"fix":{fix}}},"odometer_km":{a * 7}.10'


def _pump(moment: Moment) -> tuple[str, str]:
    a, b, c, d = moment.noise
    value = 5.5 + 0.3 * moment.daily + (a & 511) / 1000
    running = "true" if b & 7 else "false"
    vibration = f"[{c % 900 / 100:.2f},{d % 900 / 100:.2f},{c % 90}E-3]"
    own = f'"pump":{{"running":{running},"rpm":{1400 + b % 120},"vibration_mm_s":{vibration},"alarm":null}}'
    return f"{value:.3f}", own


# A meter's counter has 20 digits: more than a 64-bit integer holds.
DEVICE_TYPES: Final = (
    DeviceType("thermostat", "Cel", _thermostat, battery=True),
    DeviceType("air_quality", "ug/m3", _air_quality),
    DeviceType("smart_meter", "kWh", _smart_meter, counter_base=98_765_432_100_000_000_000),
    DeviceType("vehicle", "km/h", _vehicle, battery=True),
    DeviceType("pump", "bar", _pump),
)

# JSON members that new firmware adds to a payload, one after the other: the tables must grow by themselves.
NEW_FIELDS: Final = (
    ',"battery":{"health_pct":97.50,"cycles":412}',
    ',"network":{"rssi_dbm":-71,"gateway":{"id":"gw-7","mesh":["gw-7","gw-2"]}}',
    ',"calibration":{"due":"2031-01-31","drift_ppm":1.10}',
)
_NEW_MEMBERS: Final = tuple("".join(NEW_FIELDS[:known]) for known in range(len(NEW_FIELDS) + 1))
OUTSIDE_ENUM: Final = "toaster"
_NOT_NUMBERS: Final = ('"n/a"', '"12,5"', "true", "[]")


# The contract rules that a well-formed event may break: critical elements missing or uncastable.
VALUE_MISSING: Final = "reading.value:missing"
VALUE_NOT_A_NUMBER: Final = "reading.value:not_a_number"
TYPE_NOT_IN_ENUM: Final = "device.type:not_in_enum"
VIOLATIONS: Final = (VALUE_MISSING, VALUE_NOT_A_NUMBER, TYPE_NOT_IN_ENUM)


class Device:
    """One device; what never changes about its payloads is rendered once."""

    def __init__(self, number: int) -> None:
        self.type: Final = DEVICE_TYPES[number % len(DEVICE_TYPES)]
        self.site: Final = SITES[number // len(DEVICE_TYPES) % len(SITES)]
        self.id: Final = f"{self.type.name.replace('_', '-')}-{number:05d}"
        self.offset_us: Final = self.site.offset_min * 60_000_000
        self.offset: Final = self.site.offset
        name = msgspec.json.encode(self.site.name).decode()
        self._site: Final = f'"site":{{"country":"{self.site.country}","name":{name}}}'
        # One device in nine has no operator at all, one has an operator without an address.
        email = f'"email":"operator.{number % 97}@{self.site.country.lower()}.example.org",'
        self._operator: Final = (
            "" if number % 9 == 3 else f'"operator":{{{"" if number % 9 == 6 else email}"shift":"B"}},'
        )

    def season(self, publish_us: int) -> tuple[float, float]:
        """(daily, yearly) of a time in microseconds UTC, see Moment."""
        day = (publish_us + self.offset_us) / _DAY_US
        return (
            -math.cos(2 * math.pi * (day - 2 / 24)),
            -math.cos(2 * math.pi * day / 365.2425),
        )

    def payload(
        self,
        publish_us: int,
        noise: tuple[int, int, int, int],
        sequence: int,
        *,
        firmware: int = 0,
        members: str = "",
        violation: str = "",
    ) -> str:
        """JSON text of the payload of one reading.

        ``sequence`` is the device's counter; ``firmware`` the number of NEW_FIELDS its firmware knows;
        ``members`` further JSON members, each with its leading comma; ``violation`` a rule to break.
        """
        kind = self.type
        daily, yearly = self.season(publish_us)
        text, own = kind.read(Moment(daily, yearly, noise))
        value = f'"value":{text},'
        name = kind.name
        if violation == VALUE_MISSING:
            value = ""
        elif violation == VALUE_NOT_A_NUMBER:
            value = f'"value":{_NOT_NUMBERS[noise[0] % len(_NOT_NUMBERS)]},'
        elif violation == TYPE_NOT_IN_ENUM:
            name = OUTSIDE_ENUM
        battery = f'"battery_pct":{noise[2] % 10_000 / 100:.2f},' if kind.battery else ""
        rank = noise[3] & 127
        quality = "good" if rank > 4 else "suspect" if rank else "bad"
        return (
            f'{{"device":{{"id":"{self.id}","type":"{name}","firmware":"2.{firmware}.0"}},'
            f'"reading":{{{value}{battery}"unit":"{kind.unit}","quality":"{quality}"}},{self._site},{self._operator}'
            f'"counter":{kind.counter_base + sequence},{own}{_NEW_MEMBERS[firmware]}{members}}}'
        )


def fleet(devices: int) -> Sequence[Device]:
    """The first ``devices`` devices, the same in every run."""
    return [Device(number) for number in range(devices)]
