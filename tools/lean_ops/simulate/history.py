"""History: a reproducible stream of messages, as a fleet of devices would send them.

A history has ``events`` slots. What slot ``i`` holds is a pure function of the scenario and ``i``: most
slots hold an original reading, some the network retry of an earlier slot, a correction of another slot, or
a broken message. So memory stays constant at any volume, a stream can be taken up again at any position,
and a retry or correction needs no memory of what it repeats: it is computed again.

Publish times follow a clock that runs from ``end - days`` to shortly before ``end``, slower by day and on
working days (more readings), faster by night and at weekends. Messages of one key never share a publish
time, so the newest always is well defined: originals have 0 as the remainder of their microseconds by 4,
corrections dated by the clock 1, corrections dated by their original 2.
"""

import hashlib
import math
import random
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from common.runtime.errors import InvalidInput
from lean_ops.accounts.messages import Kind, Message
from lean_ops.simulate.devices import NEW_FIELDS, VIOLATIONS, Device, fleet
from lean_ops.simulate.faults import FAULT_WHEEL

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_OFFSET: Final = _EPOCH.replace(tzinfo=None)  # for times whose offset is written apart
_DAY_US: Final = 86_400_000_000
_WEEK_US: Final = 7 * _DAY_US
_MONDAY_US: Final = 4 * _DAY_US  # 1970-01-05 was a Monday
# The clock's pace varies by these shares of its mean; together below 1, or it would run backwards.
_DAILY_SWING: Final = 0.55
_WEEKLY_SWING: Final = 0.15
_CORRECTION_SPREAD_US: Final = 10 * 60 * 1_000_000  # how long after its original a correction may be dated
_LATEST_US: Final = 3 * _DAY_US  # a late event is at most this old when it is sent
_RETRY_REACH: Final = 2_000  # slots: a network retry follows soon
_EARLY_REACH: Final = 3_000  # slots: how long a correction may be sent before what it corrects
_BLOCK: Final = 1_024  # positions within which messages overtake each other
MAX_DAYS: Final = 3_650
MAX_DEVICES: Final = 1_000_000  # a fleet is in memory
# The random numbers of one slot, in the order of _Draw.
_DRAW: Final = struct.Struct("<4I8H16s")
_FULL: Final = 1 << 32


@dataclass(frozen=True)
class Scenario:
    """What to simulate. Rates are shares of all messages, except ``late_rate`` and ``violation_rate``
    (shares of the good ones) and ``delete_share`` (of the corrections: those that delete).

    ``events`` counts every message sent. ``end`` is the latest possible publish time (aware; default now),
    ``days`` the time that the history covers. ``new_fields_at`` says at which shares of the history the
    firmware starts to send a new field. The same scenario gives the same messages, byte for byte; another
    ``seed``, ``end`` or volume gives other keys, so that histories never mix in one table.
    Raises InvalidInput where the numbers cannot be simulated.
    """

    events: int = 100_000
    seed: int = 1
    end: datetime = field(default_factory=lambda: datetime.now(UTC))
    days: float = 30.0
    devices: int = 500
    topic: str = "events"
    retry_rate: float = 0.01
    correction_rate: float = 0.08
    late_rate: float = 0.03
    broken_rate: float = 0.005
    violation_rate: float = 0.003
    out_of_order_rate: float = 0.05
    delete_share: float = 0.02
    new_fields_at: tuple[float, ...] = (0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.events < 0 or not 1 <= self.devices <= MAX_DEVICES:
            raise InvalidInput(
                f"scenario: expected events >= 0 and 1 to {MAX_DEVICES:,} devices, found {self.events} and "
                f"{self.devices}; choose other numbers"
            )
        if self.end.tzinfo is None:
            raise InvalidInput(f"scenario: expected an end with an offset, found {self.end}; add one")
        if not math.isfinite(self.days) or self.days > MAX_DAYS:
            raise InvalidInput(
                f"scenario: expected at most {MAX_DAYS} days, found {self.days}; choose fewer: "
                "events before the year 2000 are refused"
            )
        if self.days * _DAY_US < max(40 * self.events, _DAY_US / 24):
            raise InvalidInput(
                f"scenario: expected at least an hour and 40 microseconds an event, found {self.days} days "
                f"for {self.events} events; choose more days"
            )
        rates = (self.retry_rate, self.correction_rate, self.broken_rate)
        others = (self.late_rate, self.violation_rate, self.out_of_order_rate, self.delete_share)
        shares = (*rates, *others, *self.new_fields_at)
        if not all(0 <= share <= 1 for share in shares) or sum(rates) > 0.9:
            raise InvalidInput(
                f"scenario: expected shares from 0 to 1, and retries, corrections and broken messages to be "
                f"at most 0.9 together, found {shares}; choose other rates"
            )
        if list(self.new_fields_at) != sorted(self.new_fields_at) or len(self.new_fields_at) > len(
            NEW_FIELDS
        ):
            raise InvalidInput(
                f"scenario: expected at most {len(NEW_FIELDS)} ascending shares in new_fields_at, "
                f"found {self.new_fields_at}; put them in order"
            )

    def description(self) -> Mapping[str, object]:
        """The scenario as JSON values, for the ledger: equal descriptions mean equal messages."""
        return {**asdict(self), "end": self.end.isoformat()}

    @classmethod
    def from_description(cls, description: Mapping[str, object]) -> "Scenario":
        """The scenario of a ledger run, to take it up again; raises InvalidInput for anything else."""
        try:
            return msgspec.convert(description, cls)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"ledger run: expected the description of a scenario, found {error}; "
                "resume the run with the command that began it"
            ) from error


class _Draw(msgspec.Struct, frozen=True, gc=False):
    """The random numbers of one slot."""

    role: int
    device: int
    target: int
    choice: int
    noise: tuple[int, int, int, int]
    spare: tuple[int, int, int, int]
    uid: bytes


class History:
    """The messages of a scenario, by slot or in the order of their delivery."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario: Final = scenario
        self._fleet: Final = fleet(scenario.devices)
        identity = msgspec.json.encode(scenario.description())
        self._randomness: Final = hashlib.blake2b(identity, digest_size=_DRAW.size)
        self._tag: Final = hashlib.blake2b(identity, digest_size=4).hexdigest()
        self._broken_below: Final = round(scenario.broken_rate * _FULL)
        self._retry_below: Final = self._broken_below + round(scenario.retry_rate * _FULL)
        self._correction_below: Final = self._retry_below + round(scenario.correction_rate * _FULL)
        self._late_below: Final = round(scenario.late_rate * 65_536)
        self._delete_below: Final = round(scenario.delete_share * 65_536)
        self._violation_below: Final = round(scenario.violation_rate * _FULL)
        self._firmware_slots: Final = [round(share * scenario.events) for share in scenario.new_fields_at]
        span_us = round(scenario.days * _DAY_US)
        end_us = (scenario.end - _EPOCH) // timedelta(microseconds=1)
        self._start_us: Final = end_us - span_us
        self._step_us: Final = span_us / max(scenario.events, 1)
        self._warp_start: Final = _warp(float(self._start_us))
        # The dates of corrections grow with their slots, so that two of one key never tie.
        self._correction_step_us: Final = max(4, _CORRECTION_SPREAD_US // max(scenario.events, 1) & ~3)
        # Nothing is dated in the future: the clock stops early enough for corrections of the last readings.
        clock_us = span_us - (scenario.events + 1) * self._correction_step_us
        self._warp_scale: Final = clock_us / (_warp(float(end_us)) - self._warp_start)
        self._two_days: Final = max(1, round(2 * _DAY_US / self._step_us))

    def __iter__(self) -> Iterator[Message]:
        """All messages in the order of their delivery."""
        return self.messages()

    def messages(self, start: int = 0) -> Iterator[Message]:
        """The messages in the order of their delivery, from position ``start`` on."""
        for block in range(start // _BLOCK, -(-self.scenario.events // _BLOCK)):
            order = self._delivery_order(block)
            for slot in order[max(0, start - block * _BLOCK) :]:
                yield self.message(slot)

    def message(self, slot: int) -> Message:
        """The message of one slot (0 to ``events - 1``)."""
        draw = self._draw(slot)
        if slot and draw.role < self._correction_below:
            if draw.role < self._broken_below:
                return self._broken(slot, draw)
            if draw.role < self._retry_below:
                return self._retry(slot, draw)
            return self._correction(slot, draw)
        return self._original(slot, draw)

    def _draw(self, slot: int) -> _Draw:
        """The slot's random numbers: a hash of scenario and slot."""
        state = self._randomness.copy()
        state.update(slot.to_bytes(8, "little"))
        role, device, target, choice, a, b, c, d, e, f, g, h, uid = _DRAW.unpack(state.digest())
        return _Draw(role, device, target, choice, (a, b, c, d), (e, f, g, h), uid)

    def _device(self, draw: _Draw) -> Device:
        return self._fleet[draw.device % len(self._fleet)]

    def _is_original(self, draw: _Draw, slot: int) -> bool:
        return slot == 0 or draw.role >= self._correction_below

    def _clock_us(self, slot: int) -> int:
        """When a slot is sent: microseconds UTC, multiples of 4, strictly ascending."""
        warped = _warp(self._start_us + slot * self._step_us)
        return (self._start_us + int((warped - self._warp_start) * self._warp_scale)) & ~3

    def _is_late(self, draw: _Draw) -> bool:
        return draw.spare[0] < self._late_below

    def _publish_us(self, slot: int, draw: _Draw) -> int:
        """The publish time of an original: the clock, or up to three days earlier if it is late."""
        sent_us = self._clock_us(slot)
        if self._is_late(draw):
            return (sent_us - 3_600_000_000 - (_LATEST_US * draw.spare[1] >> 16)) & ~3
        return sent_us

    def _original(self, slot: int, draw: _Draw) -> Message:
        kind = Kind.LATE if self._is_late(draw) else Kind.ORIGINAL
        return self._reading(draw, self._device(draw), slot, kind, publish_us=self._publish_us(slot, draw))

    def _correction(self, slot: int, draw: _Draw) -> Message:
        """A new version of another slot's reading: half of them of the last two days, some sent early."""
        early = draw.spare[2] % 20 == 0
        reach = self._two_days if draw.spare[2] & 1 else slot
        target = slot + draw.target % _EARLY_REACH if early else slot - 1 - draw.target % min(reach, slot)
        target = min(target, self.scenario.events - 1)
        what = self._draw(target)
        while not self._is_original(what, target):
            target -= 1
            what = self._draw(target)
        published_us, device = self._publish_us(target, what), self._device(what)
        deletes = draw.spare[0] < self._delete_below
        if target > slot or draw.spare[3] % 5 < 2:
            publish_us = published_us + (slot + 1) * self._correction_step_us + 2
            return self._reading(
                draw, device, target, Kind.CORRECTION, publish_us=publish_us, deletes=deletes
            )
        # Dated when it was corrected: another day, often another month. Some keep the period they belong to.
        period_us = published_us if draw.spare[3] % 5 == 2 else None
        publish_us = self._clock_us(slot) + 1
        return self._reading(
            draw, device, target, Kind.CORRECTION, publish_us=publish_us, period_us=period_us, deletes=deletes
        )

    def _retry(self, slot: int, draw: _Draw) -> Message:
        """Byte for byte one of the good messages of the slots before."""
        target = slot - 1 - draw.target % min(slot, _RETRY_REACH)
        what = self._draw(target)
        while target and what.role < self._retry_below:
            target -= 1
            what = self._draw(target)
        return msgspec.structs.replace(self.message(target), kind=Kind.RETRY)

    def _broken(self, slot: int, draw: _Draw) -> Message:
        """A good message with one fault in it."""
        good = self._original(slot, draw)
        members = msgspec.json.decode(good.body, type=dict[str, msgspec.Raw])
        fault = FAULT_WHEEL[draw.choice % len(FAULT_WHEEL)]
        body = fault.body({name: bytes(text).decode() for name, text in members.items()})
        return Message(body, self.scenario.topic, Kind.BROKEN, reject_code=fault.reject_code)

    def _reading(
        self,
        draw: _Draw,
        device: Device,
        sequence: int,
        kind: Kind,
        *,
        publish_us: int,
        period_us: int | None = None,
        deletes: bool = False,
    ) -> Message:
        """A good message of what ``draw`` measured: a version of the reading that slot ``sequence`` sends.

        ``period_us`` is a time whose month is sent as the period; without it most leave the field out.
        ``deletes``: the version takes the reading back instead.
        """
        violation = ""
        if deletes:
            rest = '"operation":"delete"'
        else:
            if draw.choice < self._violation_below:
                violation = VIOLATIONS[draw.choice % len(VIOLATIONS)]
            payload = device.payload(
                publish_us,
                draw.noise,
                sequence,
                firmware=bisect_right(self._firmware_slots, sequence),
                members=',"revision":{"reason":"recalibrated"}' if kind is Kind.CORRECTION else "",
                violation=violation,
            )
            rest = f'"payload":{payload}'
        uid = draw.uid.hex()
        key = f"{device.id}:{self._tag}-{sequence}"
        optional = ""
        if period_us is not None:
            optional = f'"period_reference":"{_period(period_us)}",'
        elif draw.spare[1] & 3 == 0:
            optional = f'"period_reference":"{_period(publish_us)}",'
        if draw.spare[1] & 4:
            optional += f'"correlation_id":"{uid[:16]}",'
        local = _EPOCH_WITHOUT_OFFSET + timedelta(microseconds=publish_us + device.offset_us)
        time = local.isoformat(timespec="microseconds") + device.offset
        body = (
            f'{{"message_id":"{uid}","idempotency_key":"{key}","topic_name":"{self.scenario.topic}",'
            f'"publish_time":"{time}",{optional}{rest}}}'
        )
        return Message(body, self.scenario.topic, kind, uid, key, publish_us, "", violation, deletes)

    def _delivery_order(self, block: int) -> list[int]:
        """The slots of one block of positions; a share of them changed places at random."""
        first = block * _BLOCK
        order = list(range(first, min(first + _BLOCK, self.scenario.events)))
        dice = random.Random(f"{self._tag}:{block}")  # noqa: S311 - reproducible on purpose, no secret
        displaced = [i for i in range(len(order)) if dice.random() < self.scenario.out_of_order_rate]
        shuffled = displaced.copy()
        dice.shuffle(shuffled)
        for i, other in zip(displaced, shuffled, strict=True):
            order[i] = first + other
        return order


def _warp(at_us: float) -> float:
    """A clock with the time of day and the weekday in its pace; strictly ascending."""
    day, week = 2 * math.pi / _DAY_US, 2 * math.pi / _WEEK_US
    daily = math.sin(at_us * day) / day
    weekly = math.sin((at_us - _MONDAY_US - 5.5 * _DAY_US) * week) / week
    return at_us + _DAILY_SWING * daily + _WEEKLY_SWING * weekly


def _period(at_us: int) -> str:
    at = _EPOCH + timedelta(microseconds=at_us)
    return f"{at.year}-{at.month:02d}"
