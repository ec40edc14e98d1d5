"""The circuit breaker's rules one by one: what opens it, what closes it, and what it does not listen to."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.intake.breaker.evidence import ALARMS
from common.intake.breaker.rules import (
    ALARM_MEMORY,
    COOL_DOWN,
    GOOD_BATCHES,
    LONGEST_COOL_DOWN,
    PATIENCE,
    SETTLED,
    Action,
    AlarmRaised,
    Breaker,
    Order,
    Phase,
    Tick,
    decide,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALARM = AlarmRaised("lean-ops-test-message-error-rate")


def breaker(phase: Phase, openings: int = 0, *, held: bool = False) -> Breaker:
    return Breaker(phase, NOW, openings, held=held, reason="test")


def test_an_alarm_opens_it() -> None:
    opened = decide(breaker(Phase.CLOSED), ALARM, NOW + MINUTE)
    assert (opened.phase, opened.openings, opened.since) == (Phase.OPEN, 1, NOW + MINUTE)
    assert "message-error-rate" in opened.reason


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.HALF_OPEN])
def test_an_alarm_says_nothing_new_to_one_that_is_not_closed(phase: Phase) -> None:
    assert decide(breaker(phase, 1), ALARM, NOW + MINUTE) == breaker(phase, 1)


def test_a_notification_from_before_the_closing_is_old_news() -> None:
    assert decide(breaker(Phase.CLOSED), ALARM, NOW - MINUTE).phase is Phase.CLOSED


def test_an_alarm_that_stays_up_after_the_closing_opens_it_once_old_minutes_are_out_of_sight() -> None:
    tick = Tick(alarms=["a"])
    assert decide(breaker(Phase.CLOSED), tick, NOW + ALARM_MEMORY - MINUTE).phase is Phase.CLOSED
    assert decide(breaker(Phase.CLOSED), tick, NOW + ALARM_MEMORY).phase is Phase.OPEN


def test_time_alone_ends_the_cool_down_however_quiet_the_metrics_are() -> None:
    assert decide(breaker(Phase.OPEN, 1), Tick(), NOW + COOL_DOWN - MINUTE).phase is Phase.OPEN
    assert decide(breaker(Phase.OPEN, 1), Tick(), NOW + COOL_DOWN).phase is Phase.HALF_OPEN


def test_good_batches_close_it() -> None:
    assert decide(breaker(Phase.HALF_OPEN), Tick(good_batches=GOOD_BATCHES - 1), NOW).phase is Phase.HALF_OPEN
    assert decide(breaker(Phase.HALF_OPEN), Tick(good_batches=GOOD_BATCHES), NOW).phase is Phase.CLOSED


def test_one_failed_batch_among_good_ones_opens_it_again() -> None:
    tick = Tick(good_batches=100, failed_batches=1)
    assert decide(breaker(Phase.HALF_OPEN, 1), tick, NOW).phase is Phase.OPEN


def test_a_queue_without_traffic_does_not_keep_it_half_open() -> None:
    assert decide(breaker(Phase.HALF_OPEN), Tick(), NOW + PATIENCE - MINUTE).phase is Phase.HALF_OPEN
    assert decide(breaker(Phase.HALF_OPEN), Tick(), NOW + PATIENCE).phase is Phase.CLOSED


def test_cool_downs_double_up_to_an_hour() -> None:
    minutes = [Breaker(Phase.OPEN, NOW, n).cool_down // MINUTE for n in range(1, 8)]
    assert minutes == [5, 10, 20, 40, 60, 60, 60]
    assert Breaker(Phase.OPEN, NOW, 10_000).cool_down == LONGEST_COOL_DOWN


def test_trouble_that_comes_back_soon_is_the_same_trouble() -> None:
    assert decide(breaker(Phase.CLOSED, 2), ALARM, NOW + SETTLED - MINUTE).openings == 3
    assert decide(breaker(Phase.CLOSED, 2), ALARM, NOW + SETTLED).openings == 1


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.CLOSED])
@pytest.mark.parametrize("signal", [ALARM, Tick(alarms=["a"]), Tick(good_batches=9), Tick(failed_batches=9)])
def test_what_an_operator_set_stays(phase: Phase, signal: AlarmRaised | Tick) -> None:
    held = breaker(phase, held=True)
    assert decide(held, signal, NOW + timedelta(days=30)) == held


def test_orders_are_obeyed_in_every_phase_and_name_who_gave_them() -> None:
    for phase in Phase:
        for action, becomes in ((Action.OPEN, Phase.OPEN), (Action.CLOSE, Phase.CLOSED)):
            after = decide(breaker(phase), Order(action, "maintenance", "ada"), NOW)
            assert (after.phase, after.held, after.reason) == (becomes, True, "ada: maintenance")


def test_let_go_while_open_it_finds_its_way_back_by_itself() -> None:
    freed = decide(breaker(Phase.OPEN, held=True), Order(Action.AUTO, "done", "ada"), NOW + MINUTE)
    assert (freed.held, freed.ends_at) == (False, NOW + MINUTE + COOL_DOWN)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("held", [True, False])
def test_an_order_that_is_repeated_begins_nothing_anew(action: Action, phase: Phase, held: bool) -> None:
    once = decide(breaker(phase, 2, held=held), Order(action, "INC-1", "ada"), NOW + MINUTE)
    twice = decide(once, Order(action, "INC-1", "ada"), NOW + 2 * MINUTE)
    assert twice == once


def test_letting_go_of_what_nobody_holds_leaves_the_cool_down_as_it_is() -> None:
    opened = breaker(Phase.OPEN, 3)
    assert decide(opened, Order(Action.AUTO, "INC-1", "ada"), NOW + 9 * MINUTE) == opened


def test_a_clock_that_goes_back_changes_nothing() -> None:
    for phase in (Phase.CLOSED, Phase.OPEN, Phase.HALF_OPEN):
        assert decide(breaker(phase, 1), Tick(alarms=["a"]), NOW - timedelta(days=1)) == breaker(phase, 1)


def test_half_an_hour_of_outage_costs_no_message_its_five_tries() -> None:
    """Two bad minutes raise the alarm, and every trial may fail a message once more."""
    now, ends = NOW + 2 * MINUTE, NOW + timedelta(minutes=30)
    state, failures = decide(Breaker(), ALARM, now), 2
    while now < ends:
        now += MINUTE
        failures += state.phase is Phase.HALF_OPEN
        state = decide(state, Tick(failed_batches=int(state.phase is Phase.HALF_OPEN)), now)
    assert failures < 5


def test_its_alarms_are_those_of_its_topic_and_forget_before_it_looks_at_them_again() -> None:
    path = Path(__file__).parents[3] / "modules/monitoring/catalogue.json"
    alarms = json.loads(path.read_text())["alarms"]
    own = {name: alarm for name, alarm in alarms.items() if alarm["topic"] == "breaker"}
    assert set(ALARMS) == own.keys()
    for alarm in own.values():
        assert timedelta(seconds=alarm["period_s"] * alarm["evaluation_periods"]) < ALARM_MEMORY
