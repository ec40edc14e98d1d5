"""Ids: the same content has the same one, whatever is around it; other content has another."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ...support.generated import cases
from ...support.sources import ARRIVED_MS, SIMPLE, ids, read

TIMED = {**SIMPLE, "time": {"at": "t", "as": "ms"}, "each": {"in": "@", "single": True}}
READING: dict[str, Any] = {
    "dev": "d",
    "t": 1_792_483_200_000,
    "v": 21.4,
    "rssi": -70,
    "n": {"a": 1, "b": [1, {"y": 2, "x": 3}]},
}


def id_of(body: Any, described: dict[str, Any] = TIMED, **how: Any) -> str:
    (found,) = ids(read(described, body, **how))
    return found


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_order_of_fields_and_spaces_do_not_count() -> None:
    assert id_of(READING) == id_of(shuffled(READING)) == id_of(json.dumps(READING, indent=2))


def test_another_value_key_or_time_is_another_id() -> None:
    others = [{**READING, "v": 21.5}, {**READING, "dev": "e"}, {**READING, "t": 1_792_483_200_001},
              {**READING, "more": 1}]  # fmt: skip
    assert len({id_of(body) for body in (READING, *others)}) == 5


def test_numbers_of_many_digits_are_told_apart() -> None:
    one, other = (f'{{"dev":"d","t":1792483200000,"v":0.12345678901234567890{i}}}' for i in (1, 2))
    assert id_of(one) != id_of(other)
    huge, another = (f'{{"dev":"d","t":1792483200000,"v":{"9" * 5000}{i}}}' for i in (1, 2))
    assert id_of(huge) != id_of(another)


def test_fields_that_are_left_out_do_not_count() -> None:
    described = {**TIMED, "id": {"without": ["rssi", "n.a"]}}
    assert id_of(READING, described) == id_of(
        {**READING, "rssi": -20, "n": {**READING["n"], "a": 5}}, described
    )
    assert id_of(READING, described) != id_of({**READING, "v": 1}, described)


def test_only_what_is_named_counts() -> None:
    described = {**TIMED, "id": {"hash": ["v"]}}
    assert id_of(READING, described) == id_of({**READING, "rssi": 0, "n": None}, described)
    assert id_of(READING, described) != id_of({**READING, "v": 0}, described)


def test_a_time_of_arrival_does_not_count_and_a_devices_does() -> None:
    later = ARRIVED_MS + 1000
    assert id_of(READING, {**TIMED, "time": "$arrived"}) == id_of(
        READING, {**TIMED, "time": "$arrived"}, sent_ms=later
    )
    assert id_of(READING) == id_of(READING, sent_ms=later)


def test_neighbours_and_place_do_not_count() -> None:
    alone = id_of(READING)
    outcome = read(TIMED, [{"dev": 1}, READING, {**READING, "v": 7}])
    assert ids(outcome)[0] == alone


def test_a_native_id_is_taken_as_it_is_and_hashed_where_it_is_too_long() -> None:
    described = {**TIMED, "id": "uuid"}
    assert id_of({**READING, "uuid": "x-1"}, described) == "x-1"
    assert len(id_of({**READING, "uuid": "x" * 129}, described)) == 64
    assert read(described, READING).refused[0].code == "MISSING_FIELD"


def test_a_changed_source_changes_no_id_unless_it_says_so() -> None:
    before = id_of(READING)
    changed = {
        **TIMED,
        "version": 2,
        "description": "other words",
        "topic": "temperatures",
        "payload": {"without": ["rssi"]},
        "skip": [{"reason": "joins", "when": "joined"}],
        "correlation": "n.a",
        "not_before": "2020-01-01T00:00:00Z",
    }
    assert id_of(READING, changed) == before
    assert id_of(READING, {**changed, "id": {"generation": 2}}) != before


def test_two_kinds_of_reading_from_one_item_have_two_ids() -> None:
    described = {**TIMED, "readings": [{"name": "a"}, {"name": "b"}]}
    first, second = ids(read(described, READING))
    assert first != second


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=cases(100))
@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_any_content_has_the_id_of_its_reordered_self(content: dict[str, Any]) -> None:
    body = {**content, "dev": "d", "t": 1_792_483_200_000}
    assert id_of(body) == id_of(shuffled(body)) == id_of(json.dumps(body, indent=1))
