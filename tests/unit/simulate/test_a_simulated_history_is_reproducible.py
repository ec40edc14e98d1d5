"""A history is a pure function of its scenario."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.runtime.errors import InvalidInput
from lean_ops.simulate.history import History, Scenario

SCENARIO = Scenario(events=5_000, end=datetime(2026, 3, 1, tzinfo=UTC))


def test_the_same_scenario_gives_the_same_messages() -> None:
    assert list(History(SCENARIO)) == list(History(replace(SCENARIO)))


@pytest.mark.parametrize("start", [0, 1, 1_023, 1_024, 1_500, 4_999, 5_000])
def test_a_stream_can_be_taken_up_at_any_position(start: int) -> None:
    assert list(History(SCENARIO).messages(start)) == list(History(SCENARIO))[start:]


def test_every_slot_is_delivered_once() -> None:
    history = History(SCENARIO)
    slots = range(SCENARIO.events)
    assert sorted(m.body for m in history) == sorted(history.message(slot).body for slot in slots)


def test_another_seed_shares_no_key_with_the_first() -> None:
    keys = {m.key for m in History(SCENARIO) if m.key}
    assert keys.isdisjoint(m.key for m in History(replace(SCENARIO, seed=2)))


def test_an_empty_history_has_no_message() -> None:
    assert list(History(replace(SCENARIO, events=0))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"events": -1},
        {"devices": 0},
        {"end": datetime(2026, 3, 1)},
        {"days": 0.01},
        {"retry_rate": 0.5, "correction_rate": 0.5},
        {"late_rate": 1.5},
        {"new_fields_at": (0.5, 0.25)},
        {"new_fields_at": (0.1, 0.2, 0.3, 0.4)},
    ],
)
def test_a_scenario_that_cannot_be_simulated_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        replace(SCENARIO, **wrong)  # type: ignore[arg-type] # wrong on purpose


def test_a_scenario_is_found_again_in_what_the_ledger_keeps_of_it() -> None:
    kept = json.loads(json.dumps(SCENARIO.description()))
    assert Scenario.from_description(kept) == SCENARIO


@pytest.mark.parametrize("wrong", [{"events": "many"}, {"end": "soon"}])
def test_what_is_no_description_of_a_scenario_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="description of a scenario"):
        Scenario.from_description({**SCENARIO.description(), **wrong})
