"""Retries, corrections, late and unordered messages, new fields: what the merge must withstand is there."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest

from lean_ops.accounts.messages import Kind, Message
from lean_ops.simulate.devices import DEVICE_TYPES
from lean_ops.simulate.history import History, Scenario

DAY_US = 86_400_000_000
END = datetime(2026, 3, 10, tzinfo=UTC)
END_US = int(END.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return list(History(Scenario(events=40_000, end=END)))


@pytest.fixture(scope="module")
def good(messages: list[Message]) -> list[Message]:
    return [m for m in messages if m.kind is not Kind.BROKEN]


@pytest.fixture(scope="module")
def first_times(good: list[Message]) -> dict[str, int]:
    return {m.key: m.publish_us for m in good if m.kind in (Kind.ORIGINAL, Kind.LATE)}


def test_nothing_is_published_in_the_future_or_long_before_the_history(good: list[Message]) -> None:
    assert max(m.publish_us for m in good) <= END_US
    assert min(m.publish_us for m in good) >= END_US - 34 * DAY_US


def test_a_retry_is_byte_for_byte_a_message_sent_elsewhere(good: list[Message]) -> None:
    bodies = Counter(m.body for m in good)
    assert all(bodies[m.body] >= 2 for m in good if m.kind is Kind.RETRY)


def test_only_retries_repeat_a_message_id(good: list[Message]) -> None:
    ids = Counter(m.message_id for m in good if m.kind is not Kind.RETRY)
    assert max(ids.values()) == 1


def test_versions_of_one_key_never_share_a_publish_time(good: list[Message]) -> None:
    times = defaultdict(set)
    for message in good:
        times[message.key, message.publish_us].add(message.message_id)
    assert all(len(ids) == 1 for ids in times.values())


def test_corrections_are_newer_and_some_move_to_another_day_or_month(
    good: list[Message], first_times: dict[str, int]
) -> None:
    corrections = [m for m in good if m.kind is Kind.CORRECTION]
    assert all(m.publish_us > first_times[m.key] for m in corrections)
    days = sum(m.publish_us // DAY_US != first_times[m.key] // DAY_US for m in corrections)
    months = sum(_month(m.publish_us) != _month(first_times[m.key]) for m in corrections)
    assert len(corrections) > days > len(corrections) / 3
    assert days > months > len(corrections) / 20


def test_half_of_the_corrections_concern_the_last_two_days(good: list[Message]) -> None:
    position = {m.key: i for i, m in enumerate(good) if m.kind in (Kind.ORIGINAL, Kind.LATE)}
    corrections = [(i, m) for i, m in enumerate(good) if m.kind is Kind.CORRECTION]
    two_days = len(good) * 2 / 30
    recent = sum(i - position[m.key] < two_days for i, m in corrections)
    assert 0.45 < recent / len(corrections) < 0.70


def test_some_corrections_arrive_before_what_they_correct(good: list[Message]) -> None:
    seen, early = set(), 0
    for message in good:
        if message.kind is Kind.CORRECTION:
            early += message.key not in seen
        seen.add(message.key)
    assert early > 50


def test_messages_arrive_out_of_order(good: list[Message]) -> None:
    on_time = [m.publish_us for m in good if m.kind is Kind.ORIGINAL]
    swapped = sum(earlier > later for earlier, later in pairwise(on_time))
    assert 0.02 < swapped / len(on_time) < 0.10


def test_devices_send_more_by_day_and_on_working_days(good: list[Message]) -> None:
    hours = Counter(m.publish_us // 3_600_000_000 % 24 for m in good)
    assert hours[12] > 1.5 * hours[0]
    weekdays = Counter((m.publish_us // DAY_US + 3) % 7 for m in good)  # 1970-01-01 was a Thursday
    assert weekdays[2] > 1.1 * weekdays[5]


def test_new_fields_appear_over_time(messages: list[Message]) -> None:
    first: dict[str, float] = {}
    for i, message in enumerate(messages):
        for name in ("battery", "network", "calibration"):
            if f'"{name}":' in message.body:
                first.setdefault(name, i / len(messages))
    assert first == {
        "battery": pytest.approx(0.25, abs=0.1),
        "network": pytest.approx(0.5, abs=0.1),
        "calibration": pytest.approx(0.75, abs=0.1),
    }


def test_every_device_type_sends_valid_json_with_the_common_fields(good: list[Message]) -> None:
    seen: Counter[str] = Counter()
    for message in good:
        if message.violation or message.deletes:
            continue
        payload = msgspec.json.decode(message.body)["payload"]
        seen[payload["device"]["type"]] += 1
        assert {"id", "type", "firmware"} == set(payload["device"])
        assert set(payload["reading"]) - {"battery_pct"} == {"value", "unit", "quality"}
        assert payload["reading"]["quality"] in {"good", "suspect", "bad"}
        assert len(payload["site"]["country"]) == 2
        assert isinstance(payload["counter"], int)
    assert set(seen) == {kind.name for kind in DEVICE_TYPES}


def test_counters_pass_64_bits_and_decimals_keep_their_zeros(good: list[Message]) -> None:
    bodies = "".join(m.body for m in good[:2_000])
    assert '"counter":98765432100000000' in bodies
    assert '"price":"1.10"' in bodies
    assert "E-3" in bodies


def _month(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m")


def test_some_corrections_take_a_reading_back(good: list[Message]) -> None:
    deletes = [message for message in good if message.deletes and message.kind is Kind.CORRECTION]
    corrections = sum(message.kind is Kind.CORRECTION for message in good)
    assert len(deletes) / corrections == pytest.approx(0.02, abs=0.01)
    assert all('"operation":"delete"' in m.body and "payload" not in m.body for m in deletes)
