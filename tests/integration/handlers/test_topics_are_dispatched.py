"""A topic is started while it has something to read, one run at a time, whatever fails, and never else."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from threading import Condition, Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from common.runtime.errors import ServiceFailure
from common.runtime.items import read_items
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import DispatcherSettings
from common.runtime.topics import Registry, Topic, registry_of
from dispatcher import handler as function
from dispatcher.judging import BACK_OFF_S, LONGEST_BACK_OFF_S, Memory, Sight
from dispatcher.passing import Dispatcher, Done

from ...simulation.in_process import DynamoDB

TABLE = "dispatcher-test"
MACHINE = "arn:aws:states:eu-west-1:000000000000:stateMachine:lean-ops-test-pipeline"
SETTINGS = DispatcherSettings("lean-ops", "test", "lake", TABLE, "bucket", f"{MACHINE}:live", 100)
MINUTE = 60
PASS = 15 * MINUTE


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Run:
    """An execution: what it was started with, and how it is."""

    topic: str
    status: str = "RUNNING"
    output: str | None = None


class StepFunctions:
    """Executions by ARN; a name is taken for good, and gives the same run as long as that runs."""

    def __init__(self, external: Callable[[Callable[[], Any]], Any]) -> None:
        self.runs: dict[str, Run] = {}
        self.asked = 0
        self.refuses: set[str] = set()
        self._external = external
        self.exceptions = SimpleNamespace(
            ExecutionAlreadyExists=type("ExecutionAlreadyExists", (ClientError,), {}),
            ExecutionDoesNotExist=type("ExecutionDoesNotExist", (ClientError,), {}),
            InvalidArn=type("InvalidArn", (ClientError,), {}),
        )

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, str]:  # noqa: A002
        assert stateMachineArn == f"{MACHINE}:live"
        assert len(name) <= 80
        asked = json.loads(input)
        if asked["topic"] in self.refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "StartExecution")

        def start() -> dict[str, str]:
            arn = f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"
            if arn in self.runs and self.runs[arn].status != "RUNNING":
                raise self._error("ExecutionAlreadyExists")
            self.runs.setdefault(arn, Run(asked["topic"]))
            return {"executionArn": arn}

        return cast("dict[str, str]", self._external(start))

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        self.asked += 1
        if executionArn not in self.runs:
            raise self._error("ExecutionDoesNotExist" if executionArn.startswith("arn:") else "InvalidArn")
        run = self.runs[executionArn]
        return {"status": run.status, **({"output": run.output} if run.output else {})}

    def _error(self, code: str) -> ClientError:
        kind = getattr(self.exceptions, code)
        return cast("ClientError", kind({"Error": {"Code": code, "Message": ""}}, "call"))


@dataclass
class World:
    """Topics with their tables, leases and runs. ``kill_at``: the external call at which a pass dies."""

    topics: dict[str, Topic]
    pointers: dict[str, str] = field(default_factory=dict)
    now: int = 1_800_000_000
    at_once: int = 100
    kill_at: int | None = None
    answered: bool = False
    calls: int = 0
    commits: int = 0

    def __post_init__(self) -> None:
        self.dynamodb = DynamoDB(self.external)
        self.stepfunctions = StepFunctions(self.external)
        for topic in self.topics:
            for layer in ("raw", "curated"):
                self.pointers[f"{layer}_{topic}"] = (
                    f"s3://lake/{layer}_{topic}/metadata/00000-a.metadata.json"
                )

    def external(self, call: Callable[[], Any], _what: str = "") -> Any:
        self.calls += 1
        if self.kill_at == self.calls and not self.answered:
            raise Killed
        answer = call()
        if self.kill_at == self.calls:
            raise Killed
        return answer

    @property
    def registry(self) -> Registry:
        return registry_of(self.topics)

    def get_paginator(self, name: str) -> Any:
        assert name == "get_tables"
        names = sorted(self.pointers)

        def paginate(*, DatabaseName: str, PaginationConfig: dict[str, int]) -> Iterator[dict[str, Any]]:
            assert DatabaseName == "lake"
            size = PaginationConfig["PageSize"]
            for start in range(0, len(names), size):
                some = names[start : start + size]
                yield {
                    "TableList": [
                        {"Name": n, "Parameters": {"metadata_location": self.pointers[n]}} for n in some
                    ]
                }

        return SimpleNamespace(paginate=paginate)

    def commit(self, table: str) -> None:
        self.commits += 1
        self.pointers[table] = f"s3://lake/{table}/metadata/{self.commits:05}-b.metadata.json"

    def look(self) -> Done:
        settings = DispatcherSettings(
            "lean-ops", "test", "lake", TABLE, "bucket", f"{MACHINE}:live", self.at_once
        )
        dispatcher = Dispatcher(
            settings, cast("Any", self), cast("Any", self.dynamodb), cast("Any", self.stepfunctions)
        )
        return dispatcher.pass_over(self.registry, self.now)

    def working(self) -> list[str]:
        return [run.topic for run in self.stepfunctions.runs.values() if run.status == "RUNNING"]

    def end(
        self, topic: str, status: str = "SUCCEEDED", *, lease: str = "held", commits: bool = False
    ) -> None:
        """End the run of a topic."""
        for arn, run in self.stepfunctions.runs.items():
            if run.topic == topic and run.status == "RUNNING":
                self.lease(topic, arn)
                if commits:
                    self.commit(f"curated_{topic}")
                run.status = status
                run.output = json.dumps({"checkpoints": {"lease": lease}}) if status == "SUCCEEDED" else None
                return
        raise AssertionError(f"no run of {topic} runs")

    def lease(self, topic: str, holder: str) -> None:
        self.put(f"{topic}#lease", execution_arn={"S": holder})

    def put(self, key: str, **attributes: dict[str, Any]) -> None:
        item = {"checkpoint_id": {"S": key}, **attributes}
        _plainly(self, lambda: self.dynamodb.put_item(TableName=TABLE, Item=item))

    def passed(self) -> Done:
        """A quarter of an hour later."""
        self.now += PASS
        return self.look()


def _plainly(world: World, call: Callable[[], Any]) -> Any:
    kill_at, calls, world.kill_at = world.kill_at, world.calls, None
    try:
        return call()
    finally:
        world.kill_at, world.calls = kill_at, calls


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    dynamodb = DynamoDB(lambda call, _what: call())
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "checkpoint_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "checkpoint_id", "KeyType": "HASH"}],
    )
    yield
    dynamodb.delete_table(TableName=TABLE)


def world(*topics: str, **options: Any) -> World:
    """A world of its own: nothing is remembered."""
    dynamodb = DynamoDB(lambda call, _what: call())
    for item in dynamodb.scan(TableName=TABLE)["Items"]:
        dynamodb.delete_item(TableName=TABLE, Key={"checkpoint_id": item["checkpoint_id"]})
    return World(dict.fromkeys(topics, Topic()), **options)


def test_topics_without_anything_are_never_started() -> None:
    place = world("a", "b")
    assert [list(place.passed().started) for _ in range(3)] == [[], [], []]
    assert place.stepfunctions.asked == 0


def test_a_topic_with_something_new_is_started_until_nothing_changes() -> None:
    place = world("a", "b")
    place.commit("raw_a")
    assert list(place.passed().started) == ["a"]
    place.end("a", commits=True)  # it has changed Curated: is there more?
    assert list(place.passed().started) == ["a"]
    place.end("a")
    asked = place.stepfunctions.asked
    assert [list(place.passed().started) for _ in range(3)] == [[], [], []]
    assert place.stepfunctions.asked == asked + 1  # how the last run ended, and nothing after that


def test_a_topic_whose_run_works_is_not_started() -> None:
    place = world("a")
    place.commit("raw_a")
    place.passed()
    place.commit("raw_a")
    assert not place.passed().started
    place.end("a", commits=True)
    assert list(place.passed().started) == ["a"]


def test_a_run_that_somebody_else_started_is_let_work() -> None:
    place = world("a")
    place.commit("raw_a")
    place.stepfunctions.runs["arn:by-hand"] = Run("a")
    place.lease("a", "arn:by-hand")
    assert not place.passed().started
    place.stepfunctions.runs["arn:by-hand"].status = "SUCCEEDED"
    assert list(place.passed().started) == ["a"]


@pytest.mark.parametrize("changed", ["curated_a", "raw_a", "semantic_a", "checkpoint"])
def test_whatever_a_run_decides_by_starts_one(changed: str) -> None:
    """A rollback, a compaction, a contract that came, a checkpoint that was reset."""
    place = world("a")
    place.commit("raw_a")
    place.passed()
    place.end("a")
    assert not place.passed().started
    if changed == "checkpoint":
        place.put("a#curated", source_token={"S": "7"}, source_position={"S": "07"})
    else:
        place.commit(changed)
    assert list(place.passed().started) == ["a"]


def test_paused_topics_and_those_on_hold_wait_and_are_started_afterwards() -> None:
    place = world("a", "b")
    place.topics["a"] = Topic(paused=True)
    place.put("b#lease", on_hold={"SS": ["arn:someone"]})
    place.commit("raw_a")
    place.commit("raw_b")
    done = place.passed()
    assert (done.started, dict(done.topics)) == ({}, {"paused": 1, "on hold": 1})
    place.topics["a"] = Topic()
    place.put("b#lease")
    assert sorted(place.passed().started) == ["a", "b"]


def test_a_run_that_had_not_got_the_lease_is_repeated() -> None:
    """A hold that was placed between start and look, and lifted before the next pass."""
    place = world("a")
    place.commit("raw_a")
    place.passed()
    place.end("a", lease="busy")
    assert list(place.passed().started) == ["a"]


def test_a_topic_that_fails_is_started_later_and_later() -> None:
    place = world("a")
    place.commit("raw_a")
    starts = []
    for _ in range(60):
        if place.passed().started:
            starts.append(place.now)
            place.end("a", "FAILED")
    waits = [(later - earlier) // PASS for earlier, later in pairwise(starts)]
    # Seen to have failed a pass later, then 15, 30, 60, 120 and at most 240 minutes.
    assert waits == [2, 3, 5, 9, 17, 17]
    assert LONGEST_BACK_OFF_S == 16 * BACK_OFF_S
    place.passed()
    while not place.passed().started:
        pass
    place.end("a", commits=True)
    assert place.passed().started  # the first success forgets all failures
    place.end("a", "FAILED")
    place.passed()
    assert place.passed().started


def test_back_off_ends_when_somebody_has_run_the_topic() -> None:
    place = world("a")
    place.commit("raw_a")
    for _ in range(4):
        while not place.passed().started:
            pass
        place.end("a", "TIMED_OUT")
    assert place.passed().backing_off == ["a"]
    place.stepfunctions.runs["arn:by-hand"] = Run("a", "SUCCEEDED")
    place.lease("a", "arn:by-hand")
    assert list(place.passed().started) == ["a"]


def test_a_run_that_was_stopped_is_followed_by_the_next() -> None:
    place = world("a")
    place.commit("raw_a")
    place.passed()
    place.end("a", "ABORTED")
    assert list(place.passed().started) == ["a"]


def test_no_more_run_at_once_than_may_and_each_has_its_turn() -> None:
    topics = [f"t{n:02}" for n in range(23)]
    place = world(*topics, at_once=5)
    turns: dict[str, int] = dict.fromkeys(topics, 0)
    for _ in range(40):
        for topic in topics:
            place.commit(f"raw_{topic}")
        done = place.passed()
        assert len(place.working()) <= 5
        assert len(done.waiting) == 23 - 5
        for topic in done.started:
            turns[topic] += 1
        for topic in place.working():
            place.end(topic, commits=True)
    assert max(turns.values()) - min(turns.values()) <= 1


def test_one_topic_that_cannot_be_started_hides_no_other() -> None:
    place = world("a", "b", "c")
    for topic in place.topics:
        place.commit(f"raw_{topic}")
    place.stepfunctions.refuses = {"b"}
    done = place.passed()
    assert sorted(done.started) == ["a", "c"]
    assert done.failed == {"b": "StartExecution: AccessDeniedException"}
    place.stepfunctions.refuses = set()
    assert list(place.passed().started) == ["b"]


DAMAGED: list[dict[str, Any]] = [
    {"starts": {"S": "many"}}, {"starts": {"N": "-1"}}, {"settled": {"S": "?"}, "execution": {"S": "no arn"}},
    {"execution": {"N": "5"}, "settled": {"BOOL": False}}, {"rest": {"L": []}}, {"not_before": {"SS": ["x"]}},
]  # fmt: skip


@pytest.mark.parametrize("item", DAMAGED)
def test_a_damaged_memory_is_written_anew(item: dict[str, Any]) -> None:
    place = world("a")
    place.put("a#dispatch", **item)
    place.put("a#lease", execution_arn={"S": "no arn"})
    place.commit("raw_a")
    started = place.passed().started or place.passed().started
    assert list(started) == ["a"]
    place.end("a")
    assert not place.passed().started
    assert not place.passed().started


def test_a_forgotten_memory_takes_up_the_run_of_the_same_name() -> None:
    place = world("a")
    place.commit("raw_a")
    place.passed()
    place.end("a")
    _plainly(
        place, lambda: place.dynamodb.delete_item(TableName=TABLE, Key={"checkpoint_id": {"S": "a#dispatch"}})
    )
    place.passed()  # the name is taken by a run that began with the same sight, and ended well
    assert len(place.stepfunctions.runs) == 1
    assert not place.passed().started
    place.commit("raw_a")
    assert list(place.passed().started) == ["a"]
    assert len(place.stepfunctions.runs) == 2


@pytest.mark.parametrize("answered", [False, True])
def test_wherever_a_pass_dies_the_next_one_starts_what_is_left_and_nothing_twice(*, answered: bool) -> None:
    calls = _dying(None, answered=answered)
    assert calls > 6
    for at in range(1, calls + 1):
        _dying(at, answered=answered)


def _dying(at: int | None, *, answered: bool) -> int:
    place = world("a", "b", "c")
    for topic in place.topics:
        place.commit(f"raw_{topic}")
    place.calls, place.kill_at, place.answered = 0, at, answered
    try:
        place.passed()
    except Killed:
        assert at is not None
    calls, place.kill_at = place.calls, None
    place.passed()
    assert sorted(place.working()) == ["a", "b", "c"]
    assert len(place.stepfunctions.runs) == 3
    for topic in place.topics:
        place.end(topic)
    place.passed()
    assert not place.passed().started
    return calls


class Interleaved:
    """Two passes that take turns at every external call, as a seed draws."""

    def __init__(self, place: World, seed: int) -> None:
        self._place, self._random = place, random.Random(seed)

    def run(self) -> None:
        turn, condition, over = [0], Condition(), set[int]()
        draw = self._random
        errors: list[BaseException] = []

        def worker(number: int) -> None:
            def external(call: Callable[[], Any], _what: str = "") -> Any:
                with condition:
                    condition.wait_for(lambda: turn[0] == number or (1 - number) in over)
                    answer = call()
                    turn[0] = draw.choice([0, 1])
                    condition.notify_all()
                return answer

            dispatcher = Dispatcher(
                SETTINGS,
                cast("Any", self._place),
                cast("Any", DynamoDB(external)),
                cast("Any", _through(self._place.stepfunctions, external)),
            )
            try:
                dispatcher.pass_over(self._place.registry, self._place.now)
            except BaseException as error:  # for the test to see
                errors.append(error)
            finally:
                with condition:
                    over.add(number)
                    condition.notify_all()

        threads = [Thread(target=worker, args=(n,)) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []


def _through(stepfunctions: StepFunctions, external: Callable[[Callable[[], Any]], Any]) -> StepFunctions:
    other = StepFunctions(external)
    other.runs, other.exceptions = stepfunctions.runs, stepfunctions.exceptions
    return other


@given(st.integers(0, 10**6))
def test_two_passes_at_once_start_one_run_of_a_topic(seed: int) -> None:
    place = world("a", "b")
    place.commit("raw_a")
    place.commit("raw_b")
    for _ in range(2):
        Interleaved(place, seed).run()
        assert sorted(place.working()) == ["a", "b"]
        for topic in ("a", "b"):
            place.end(topic, commits=True)
        place.now += PASS


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["delivery", "well", "commits", "FAILED", "ABORTED", "busy", "look", "look", "die"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 12),
    ),
    max_size=40,
)


@given(STEPS)
@example([("delivery", "a", 1), ("die", "a", 2), ("delivery", "a", 1), ("look", "a", 1)])
def test_whatever_happens_every_topic_comes_to_rest_after_a_run_that_saw_all(steps: list[Any]) -> None:
    """And no topic has two runs of the dispatcher at once, on the way."""
    place = world("a", "b", "c", at_once=2)
    delivered: dict[str, str] = {}
    for what, topic, number in steps:
        match what:
            case "delivery":
                place.commit(f"raw_{topic}")
                delivered[topic] = place.pointers[f"raw_{topic}"]
            case "look":
                place.passed()
            case "die":
                place.calls, place.kill_at, place.answered = 0, number, number % 2 == 0
                with suppress(Killed):
                    place.passed()
                place.kill_at = None
            case _ if topic in place.working():
                status = what if what.isupper() else "SUCCEEDED"
                place.end(
                    topic, status, lease="busy" if what == "busy" else "held", commits=what == "commits"
                )
        assert len(set(place.working())) == len(place.working()) <= 2
    for _ in range(60):
        for topic in place.working():
            place.end(topic)
        place.passed()
    assert place.working() == []
    runs = {run.topic for run in place.stepfunctions.runs.values() if run.status == "SUCCEEDED"}
    assert delivered.keys() <= runs
    count = len(place.stepfunctions.runs)
    place.passed()
    assert len(place.stepfunctions.runs) == count


def test_a_name_of_a_run_is_one_that_step_functions_takes() -> None:
    sight = Sight.of(
        "t" * 30, {f"raw_{'t' * 30}": "s3://l/raw/metadata/00001-x.metadata.json"}, {}, paused=False
    )
    assert len(Memory(starts=10**9).next_name(sight)) <= 80


def test_seven_hundred_topics_are_looked_at_in_few_calls() -> None:
    place = world(*(f"t{n}" for n in range(700)))
    place.calls = 0
    done = place.passed()
    assert dict(done.topics) == {"resting": 700}
    assert place.calls == 28  # four items a topic, a hundred a call; and 14 pages of tables


def test_the_handler_says_what_it_did_and_what_it_could_not_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = world("a", "b")
    place.commit("raw_a")
    place.commit("raw_b")
    services = {"glue": place, "dynamodb": place.dynamodb, "stepfunctions": place.stepfunctions, "s3": None}
    monkeypatch.setattr(function, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(function, "_client", services.__getitem__)
    monkeypatch.setattr(function, "read_registry", lambda *_: place.registry)
    left = [300_000]
    context: Any = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: left[0])
    event = {"time": datetime.fromtimestamp(place.now, UTC).isoformat()}
    left[0] = 1_000
    assert function.handler(event, context)["waiting"] == ["a", "b"]
    left[0] = 300_000
    place.stepfunctions.refuses = {"b"}
    with pytest.raises(ServiceFailure, match=r"errors over b \(StartExecution: AccessDeniedException\)"):
        function.handler(event, context)
    assert place.working() == ["a"]
    assert "topics dispatched" in caplog.text
    place.stepfunctions.refuses = set()
    answer = function.handler(event, context)
    assert list(answer["started"]) == ["b"]
    assert answer["topics"] == {"working": 2}


def test_items_that_dynamodb_gives_back_are_asked_for_again() -> None:
    class Throttled:
        def __init__(self, attempts: int) -> None:
            self.left = attempts

        def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
            keys = RequestItems["t"]["Keys"]
            self.left -= 1
            given, left = (keys[:1], keys[1:]) if self.left else (keys, [])
            answer: dict[str, Any] = {"Responses": {"t": given}}
            return answer | ({"UnprocessedKeys": {"t": {"Keys": left}}} if left else {})

    ids = [str(n) for n in range(5)]
    retry = RetryPolicy(attempts=4, sleep=lambda _s: None)
    assert list(read_items(cast("Any", Throttled(3)), "t", ids, retry=retry)) == ids
    with pytest.raises(ServiceFailure, match="expected all of 8 items, found 4 unread after 4 tries"):
        read_items(cast("Any", Throttled(99)), "t", map(str, range(8)), retry=retry)
