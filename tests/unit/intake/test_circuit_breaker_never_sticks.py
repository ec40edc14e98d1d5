"""Whatever alarms, lost notifications, crashes, races and orders come: the breaker ends where it should."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.intake.breaker import turn
from common.intake.breaker.mapping import TRIAL, SourceMapping
from common.intake.breaker.record import ITEM, RecordStore
from common.intake.breaker.rules import (
    GOOD_BATCHES,
    LONGEST_COOL_DOWN,
    PATIENCE,
    Action,
    AlarmRaised,
    Breaker,
    Order,
    Phase,
    Signal,
    Tick,
)

from ...support.generated import cases

NORMAL = {"BatchSize": 1000, "MaximumBatchingWindowInSeconds": 5, "ScalingConfig": {"MaximumConcurrency": 10}}
MINUTE = timedelta(minutes=1)
# What operators and Terraform set; nothing is as in a trial, so that the test can tell whose it is.
BATCH_SIZES, WINDOWS, LIMITS = [1, 500, 10_000], [1, 5, 300], [0, 5, 1_000]
# What an attribute of the record may have become; None: it is gone.
DAMAGES: list[dict[str, Any] | None] = [
    None, {"NULL": True}, {"S": ""}, {"S": "half-"}, {"S": "2026-03-01T00:0"}, {"S": "2026-03-01T00:00:00"},
    {"S": "9999-12-31T23:59:59+00:00"}, {"N": "-1"}, {"N": "1.5"}, {"N": "1E+40"}, {"BOOL": False},
    {"BOOL": True}, {"L": []}, {"M": {}}, {"M": {"batch_size": {"N": "0"}}},
]  # fmt: skip
ATTRIBUTES = ["phase", "since", "openings", "held", "reason", "version", "enforced", "normal"]
CALLS = ["get_item", "put_item", "update_item", "list_event_source_mappings", "update_event_source_mapping"]


class CrashError(Exception):
    """The function's process is gone."""


class Table:
    """One table with conditional writes. ``interrupt`` runs before every call, with its name."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.interrupt: Callable[[str], None] = lambda _call: None

    def get_item(self, *, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert ConsistentRead, "a stale read would decide on an old state"
        self.interrupt("get_item")
        item = self.items.get(Key["checkpoint_id"]["S"])
        return {"Item": dict(item)} if item else {}

    def put_item(self, *, TableName: str, Item: dict[str, Any], **condition: Any) -> dict[str, Any]:
        self.interrupt("put_item")
        key = Item["checkpoint_id"]["S"]
        self._check(self.items.get(key), **condition)
        self.items[key] = dict(Item)
        return {}

    def update_item(
        self, *, TableName: str, Key: dict[str, Any], UpdateExpression: str, **condition: Any
    ) -> dict[str, Any]:
        self.interrupt("update_item")
        assert UpdateExpression == "SET enforced = :true"
        item = self.items[Key["checkpoint_id"]["S"]]
        self._check(item, **condition)
        item["enforced"] = condition["ExpressionAttributeValues"][":true"]
        return {}

    @staticmethod
    def _check(
        item: dict[str, Any] | None,
        ConditionExpression: str,
        ExpressionAttributeValues: dict[str, Any] | None = None,
    ) -> None:
        if ConditionExpression == "attribute_not_exists(version)":
            holds = item is None or "version" not in item
        else:
            name, _, value = ConditionExpression.partition(" = ")
            holds = item is not None and item.get(name) == (ExpressionAttributeValues or {})[value]
        if not holds:
            raise client_error("ConditionalCheckFailedException")


class Mappings:
    """One event source mapping. ``interrupt`` runs before every call, with its name."""

    def __init__(self) -> None:
        self.mapping: dict[str, Any] = {"UUID": "m", "State": "Enabled", **NORMAL}
        self.interrupt: Callable[[str], None] = lambda _call: None

    @property
    def enabled(self) -> bool:
        return bool(self.mapping["State"] == "Enabled")

    @property
    def pace(self) -> dict[str, Any]:
        return {name: self.mapping[name] for name in NORMAL}

    @property
    def tries(self) -> bool:
        """Whether it is slowed down for a trial."""
        limit = {"MaximumConcurrency": TRIAL.maximum_concurrency}
        return self.pace == dict(zip(NORMAL, (TRIAL.batch_size, TRIAL.batching_window_s, limit), strict=True))

    def set(self, **pace: Any) -> None:
        """As an operator or Terraform does it."""
        self.mapping |= pace

    def list_event_source_mappings(self, *, FunctionName: str) -> dict[str, Any]:
        self.interrupt("list_event_source_mappings")
        return {"EventSourceMappings": [dict(self.mapping)]}

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool, **pace: Any) -> None:
        self.interrupt("update_event_source_mapping")
        self.mapping |= {"State": "Enabled" if Enabled else "Disabled", **pace}


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "call")


class World(RuleBasedStateMachine):
    """A queue with traffic, a Firehose that works or does not, alarms, and turns that can go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.table, self.mappings = Table(), Mappings()
        self.store = RecordStore(cast("Any", self.table), "checkpoints")
        self.mapping = SourceMapping(cast("Any", self.mappings), "sqs-processor")
        self.works, self.traffic = True, True
        self.batches: list[bool] = []  # since half-open: whether each was good
        self.alarm_until = self.now
        self.pace: dict[str, Any] = dict(NORMAL)
        self.unseen = False  # the pace was changed, and no turn has had its way with Lambda since
        self.lost = False  # the pace from before the trial was in a record that was damaged

    @property
    def breaker(self) -> Breaker:
        return self.store.load().breaker

    def look(self, breaker: Breaker) -> Signal:
        if breaker.phase is Phase.HALF_OPEN:
            return Tick(good_batches=sum(self.batches), failed_batches=self.batches.count(False))
        return Tick(alarms=["rate"] if self.now < self.alarm_until else [])

    def take(self, listen: Callable[[Breaker], Signal] | None = None) -> None:
        before = self.breaker
        taken = turn.take(self.store, self.mapping, listen or self.look, self.now)
        self.unseen = self.unseen and not taken.enforced
        if self.breaker.phase is Phase.HALF_OPEN and before.phase is not Phase.HALF_OPEN:
            self.batches = []

    def interrupted(self, call: str, happens: Callable[[], None]) -> Callable[[str], None]:
        """Let something happen once, just before ``call``."""
        done = False

        def interrupt(name: str) -> None:
            nonlocal done
            if name == call and not done:
                done = True
                happens()

        return interrupt

    def disturbed(self, call: str, happens: Callable[[], None], signal: Signal | None = None) -> None:
        interrupt = self.interrupted(call, happens)
        self.table.interrupt = self.mappings.interrupt = interrupt
        try:
            self.take((lambda _b: signal) if signal else None)
        except (CrashError, turn.BreakerBusy):
            pass
        finally:
            self.table.interrupt = self.mappings.interrupt = lambda _call: None

    @rule(minutes=st.integers(1, 15), tick=st.booleans())
    def minutes_pass(self, minutes: int, *, tick: bool) -> None:
        """Traffic is processed; alarms go up and down; the schedule may fail to come."""
        for _ in range(minutes):
            self.now += MINUTE
            if self.traffic and self.mappings.enabled:
                self.batches += [self.works] * 3
                if not self.works:
                    self.alarm_until = self.now + 10 * MINUTE
            if tick:
                self.take()

    @rule(works=st.booleans(), traffic=st.booleans())
    def the_world_changes(self, *, works: bool, traffic: bool) -> None:
        self.works, self.traffic = works, traffic

    @rule()
    def the_alarm_notifies(self) -> None:
        if self.now < self.alarm_until:
            self.take(lambda _breaker: AlarmRaised("rate"))

    @rule(action=st.sampled_from(Action))
    def an_operator_orders(self, action: Action) -> None:
        self.take(lambda _breaker: Order(action, "test", "ada"))
        held = action is not Action.AUTO
        assert self.breaker.held == held

    @rule(call=st.sampled_from(CALLS))
    def a_turn_crashes(self, call: str) -> None:
        def crash() -> None:
            raise CrashError

        self.disturbed(call, crash)

    @rule(call=st.sampled_from(CALLS), action=st.sampled_from(Action))
    def two_decide_at_once(self, call: str, action: Action) -> None:
        """An operator's whole turn runs in the middle of the schedule's; the operator's word stays."""
        ordered = False

        def order() -> None:
            nonlocal ordered
            ordered = True
            self.take(lambda _breaker: Order(action, "race", "ada"))

        self.disturbed(call, order)
        if ordered and action is not Action.AUTO:
            assert self.breaker.held
            assert self.breaker.phase is (Phase.OPEN if action is Action.OPEN else Phase.CLOSED)

    @rule()
    def lambda_is_still_changing_the_mapping(self) -> None:
        def busy() -> None:
            raise client_error("ResourceInUseException")

        self.disturbed("update_event_source_mapping", busy)

    @rule()
    def someone_switches_the_mapping_by_hand(self) -> None:
        """The next look brings it back: to stop the queue is the breaker's business."""
        self.mappings.mapping["State"] = "Disabled" if self.mappings.enabled else "Enabled"
        self.take()

    @rule(names=st.sets(st.sampled_from(ATTRIBUTES), min_size=1), damage=st.sampled_from(DAMAGES))
    def the_record_is_damaged(self, names: set[str], damage: dict[str, Any] | None) -> None:
        """The next look writes it anew; what it cannot know it takes from the mapping, which it leaves."""
        item = self.table.items.get(ITEM)
        if item is None:
            return
        before, mapping = self.store.load(), dict(self.mappings.mapping)
        for name in sorted(names & item.keys()):
            whole = dict(item)
            item.pop(name) if damage is None else item.update({name: damage})
            if name not in self.store.load().mended(self.mapping.look(), self.now).damaged:
                item.clear()
                item.update(whole)  # a value that could be the breaker's own is none of damage
        found = self.store.load().mended(self.mapping.look(), self.now)
        if not found.damaged:
            return
        self.lost = self.lost or found.normal != before.normal
        self.take(lambda _breaker: Tick())
        if before.enforced and "phase" in found.damaged:
            assert self.mappings.mapping["State"] == mapping["State"]
        after = self.store.load()
        assert not after.damaged
        assert "damaged" in after.breaker.reason

    @rule(batch=st.sampled_from(BATCH_SIZES), window=st.sampled_from(WINDOWS), limit=st.sampled_from(LIMITS))
    def terraform_sets_the_pace(self, batch: int, window: int, limit: int) -> None:
        """All of it, whatever the breaker is doing: what was applied last counts."""
        scaling = {"MaximumConcurrency": limit} if limit else {}
        self.pace = {"BatchSize": batch, "MaximumBatchingWindowInSeconds": window, "ScalingConfig": scaling}
        self.mappings.set(**self.pace)
        self.unseen, self.lost = True, self.lost and self.mappings.tries

    @rule(batch=st.sampled_from(BATCH_SIZES))
    def an_operator_sets_the_batch_size(self, batch: int) -> None:
        self.pace = {**self.pace, "BatchSize": batch}
        self.mappings.set(BatchSize=batch)
        self.unseen = True

    @invariant()
    def the_mapping_is_as_the_record_says_once_that_is_confirmed(self) -> None:
        record = self.store.load()
        if record.enforced:
            assert self.mappings.enabled == (record.breaker.phase is not Phase.OPEN)
            if record.breaker.phase is Phase.CLOSED:
                assert self.lost or self.mappings.pace == self.pace
            if record.breaker.phase is Phase.HALF_OPEN:
                assert self.mappings.tries or self.unseen or self.lost

    @invariant()
    def it_is_not_open_without_a_reason(self) -> None:
        breaker = self.breaker
        if breaker.phase is Phase.OPEN:
            assert breaker.held or breaker.openings
            assert breaker.reason

    @rule()
    def in_the_end_it_heals(self) -> None:
        """Once Firehose works and nobody holds the breaker, the schedule alone brings everything back."""
        if self.breaker.held:
            self.take(lambda _breaker: Order(Action.AUTO, "let go", "ada"))
        self.works = True
        for _ in range((LONGEST_COOL_DOWN + PATIENCE) // MINUTE + 15):
            self.minutes_pass(1, tick=True)
        assert self.breaker.phase is Phase.CLOSED
        assert self.mappings.enabled
        assert self.lost or self.mappings.pace == self.pace


World.TestCase.settings = settings(max_examples=cases(200), stateful_step_count=25, deadline=None)
TestWorld = World.TestCase


@pytest.mark.parametrize("traffic", [True, False])
def test_it_heals_with_and_without_traffic_and_trials_take_little(*, traffic: bool) -> None:
    world = World()
    world.works = False
    world.minutes_pass(2, tick=True)
    world.the_alarm_notifies()
    assert world.breaker.phase == "open"
    assert not world.mappings.enabled
    world.works, world.traffic = True, traffic
    trials = 0
    while world.breaker.phase is not Phase.CLOSED:
        world.minutes_pass(1, tick=True)
        if world.breaker.phase is Phase.HALF_OPEN:
            assert world.mappings.pace["BatchSize"] * GOOD_BATCHES <= 50
            trials += 1
    assert trials <= PATIENCE // MINUTE
    assert world.mappings.pace == NORMAL


def test_one_whose_every_write_is_beaten_says_so_and_changes_nothing() -> None:
    world = World()

    def someone_is_faster(call: str) -> None:
        if call == "put_item":
            world.table.interrupt = lambda _call: None
            world.take(lambda b: Order(Action.OPEN if b.phase is Phase.CLOSED else Action.CLOSE, "x", "bob"))
            world.table.interrupt = someone_is_faster

    world.table.interrupt = someone_is_faster
    with pytest.raises(turn.BreakerBusy, match="others faster"):
        world.take(lambda _breaker: Order(Action.OPEN, f"{world.breaker.reason}!", "ada"))
    assert "bob" in world.breaker.reason


def trip(world: World) -> None:
    """Firehose fails, the breaker opens, tries, and closes."""
    world.works = False
    world.minutes_pass(2, tick=True)
    world.the_alarm_notifies()
    world.works = True
    while world.breaker.phase is not Phase.CLOSED:
        world.minutes_pass(1, tick=True)


def test_every_trip_goes_back_to_the_pace_that_was_set_last() -> None:
    world = World()
    for turn_number, batch in enumerate((1_000, 200, 50)):
        world.mappings.set(BatchSize=batch)
        trip(world)
        world.minutes_pass(40, tick=True)
        assert (turn_number, world.mappings.pace["BatchSize"]) == (turn_number, batch)


@pytest.mark.parametrize("during", [Phase.OPEN, Phase.HALF_OPEN])
def test_a_pace_set_while_the_breaker_is_open_or_tries_counts_afterwards_and_the_trial_stays_small(
    during: Phase,
) -> None:
    world = World()
    for batch in (1_000, 300, 100):
        world.works = False
        world.minutes_pass(2, tick=True)
        world.the_alarm_notifies()
        while world.breaker.phase is not during:
            world.minutes_pass(1, tick=True)
        world.mappings.set(**{**NORMAL, "BatchSize": batch})
        world.works, world.traffic = True, False
        world.minutes_pass(1, tick=True)
        assert world.mappings.tries == (world.breaker.phase is Phase.HALF_OPEN)
        world.traffic = True
        while world.breaker.phase is not Phase.CLOSED:
            world.minutes_pass(1, tick=True)
        assert world.mappings.pace == {**NORMAL, "BatchSize": batch}
        world.minutes_pass(40, tick=True)


def test_the_pace_of_a_trial_is_an_operators_to_choose_too() -> None:
    world = World()
    trip(world)
    world.minutes_pass(2, tick=True)
    chosen = {
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "ScalingConfig": {"MaximumConcurrency": 2},
    }
    world.mappings.set(**chosen)
    world.minutes_pass(40, tick=True)
    trip(world)
    assert world.mappings.pace == chosen


def test_a_late_request_of_a_turn_that_was_overtaken_leaves_no_trial_behind() -> None:
    world = World()
    world.works = False
    world.minutes_pass(2, tick=True)
    world.the_alarm_notifies()
    world.now += 5 * MINUTE

    def meanwhile() -> None:
        world.take(lambda _breaker: Order(Action.CLOSE, "enough", "bob"))
        world.take()  # sees the pace as it was, and forgets it

    world.disturbed("update_event_source_mapping", meanwhile)
    assert world.breaker.phase is Phase.CLOSED
    assert world.mappings.pace == NORMAL


def test_what_a_damaged_record_becomes_at_once_was_a_guess_too_and_says_so() -> None:
    """Without its openings an open breaker tries after the shortest cool-down: whoever looks sees why."""
    world = World()
    for _ in range(2):
        world.lambda_is_still_changing_the_mapping()
    world.the_world_changes(traffic=True, works=False)
    world.minutes_pass(1, tick=False)
    world.lambda_is_still_changing_the_mapping()
    assert world.breaker.phase is Phase.OPEN
    world.minutes_pass(5, tick=False)
    world.the_record_is_damaged(names={"openings"}, damage=None)
    assert world.breaker.phase is Phase.HALF_OPEN
    assert world.breaker.reason == ("cool-down is over: trying (went on from a record with damaged openings)")


@pytest.mark.parametrize("action", list(Action))
def test_an_order_to_a_damaged_record_keeps_its_reason_and_says_so(action: Action) -> None:
    world = World()
    world.an_operator_orders(Action.OPEN)
    del world.table.items[ITEM]["openings"]
    world.take(lambda _breaker: Order(action, "enough", "ada"))
    assert world.breaker.reason == "ada: enough (went on from a record with damaged openings)"


def test_a_record_that_is_damaged_again_and_again_names_the_last_damage_only() -> None:
    world = World()
    world.an_operator_orders(Action.OPEN)
    for name in ("openings", "since", "openings"):
        del world.table.items[ITEM][name]
        world.take()
    assert world.breaker.reason == "ada: test (went on from a record with damaged openings)"


def test_a_trial_whose_pace_was_changed_while_lambda_was_busy_is_slowed_down_by_the_next_look() -> None:
    """The record knows the pace that was set (it is the one from before) and has nothing to write."""
    world = World()
    world.works = False
    world.minutes_pass(2, tick=True)
    world.the_alarm_notifies()
    world.traffic = False
    while world.breaker.phase is not Phase.HALF_OPEN:
        world.minutes_pass(1, tick=True)
    for _ in range(2):
        world.an_operator_sets_the_batch_size(1)
        world.lambda_is_still_changing_the_mapping()
        world.the_mapping_is_as_the_record_says_once_that_is_confirmed()
        assert not world.mappings.tries
        world.minutes_pass(1, tick=True)
        assert world.mappings.tries
        assert world.store.load().enforced
