"""An environment in one process, for operations that are killed, repeated and run beside each other.

What works is the real code: the command line's commands, the functions' handlers, the merge engine on real
Iceberg files (a SQLite catalog), DynamoDB as the emulator evaluates it, called without a network, and the
state machine as its definition has it (``machine``). Stand-ins are SQS, Firehose (``queues``, ``front``), S3
(without versions), Lambda, CloudWatch and Glue's list of tables (``services``), and all that is taken from
outside of a process (``clock``).

Every call of a service goes through ``World.external``. There a process can be killed, before its n-th call
or after it (the call was made, its answer never seen), there a call can be refused or its answer be lost, and
there the scheduler changes from one process to another, by a seeded draw. Nothing of a history depends on
anything but its seed: played again it is the same, call by call.
"""

import atexit
import contextlib
import hashlib
import importlib
import json
import logging
import os
import random
import re
import shutil
import sqlite3
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final, TypeVar
from unittest.mock import patch

import boto3
import typer
from botocore.exceptions import ClientError, ReadTimeoutError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)

from common.contract.contracts import load_contract
from common.lake.merge import tiers
from common.lake.specifications import TableSpec
from common.lake.upkeep import keeping_up
from common.runtime import foreign_errors
from common.runtime.errors import InternalFault, LeanOpsError
from lean_ops.cli import app
from lean_ops.environment.repository import TABLE_SPECIFICATIONS, function_catalogue, render
from lean_ops.local.provision import placeholder_values
from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget
from lean_ops.operate import holds, workers
from lean_ops.operate.erase import Objects
from lean_ops.operate.rebuild import Comparison
from lean_ops.operate.workers import Worker

from ..support.catalog import LocalCatalog
from ..support.oracle import newest_good, single_pass
from .clock import BEGINNING, START, Clock, modelled, on_simulated_time
from .front import Event, Front, as_rows, body_of
from .in_process import DynamoDB
from .kept import nothing_worked_out_twice
from .machine import Crashed, Execution, StepFunctions, interpreted
from .queues import LETTERS, Queues
from .services import CATALOG, TOPIC, Alarms, Bucket, Functions, Glue, WatchedCatalog
from .watching import Watch, watched

PERSON: Final = "arn:aws:iam::000000000000:user/operator"
MACHINE: Final = "simulated"
CONTRACT: Final = """
apiVersion: v3.0.2
kind: DataContract
id: simulated
version: {version}
status: active
schema:
  - name: events
    properties:
      - {{name: reading, logicalType: {kind}, criticalDataElement: true, required: true}}
"""

T = TypeVar("T")
# How services refuse a call.
_ANSWERS: Final = (
    ClientError,
    CommitFailedException,
    ValidationException,
    TableAlreadyExistsError,
    NoSuchTableError,
)
# Seconds that a call takes, and after which its client gives up on it.
CALL_S: Final = 0.05
HANGS_S: Final = 900.0
TIMES_OUT_S: Final = 60.0
JUMPS_S: Final = 3600.0
# No process makes a tenth of these: one that does not end fails, and its history with it.
ENDLESS_CALLS: Final = 20_000


class Killed(BaseException):
    """The process is gone: from here on it can call nothing any more."""


WAITS: Final = "waits"
REPEATED: Final = -1
# How many calls a late one is late.
LATE: Final = (1, 2, 3, 8, 20, REPEATED, REPEATED, REPEATED)


@dataclass
class Aim:
    """A call by what it is, not by its number: the ``number``-th whose name begins with ``call``.

    ``fault``: what becomes of it (``FAULTS``), or ``WAITS``: those beside begin when it is about to be made,
    and it is made when they have ended, or wait as well.
    """

    call: str
    fault: str
    number: int = 1

    def meets(self, what: str) -> bool:
        """Whether this is the call; to be asked of each."""
        self.number -= what.startswith(self.call)
        return self.number == 0 and what.startswith(self.call)


@dataclass
class _UnderWay:
    """A call that its client has given up on, and that its service does after so many others.

    ``calls`` is ``REPEATED`` where it comes right before the next of the same name: before its repetition,
    when its client has thrown away what it thinks is lost.
    """

    process: "Process"
    what: str
    call: Callable[[], Any]
    calls: int

    def comes(self, before: str) -> bool:
        """Whether it is done before this call; to be asked of each."""
        if self.calls == REPEATED:
            return self.what == before
        self.calls -= 1
        return self.calls <= 0


@dataclass
class Process:
    """One command, run or function.

    ``faults``: what becomes of its n-th external call (``FAULTS``); ``aim``: of one that is named. ``waits``:
    for everybody beside it. ``clock_off_s``: how far the clock of a person's machine is ahead; ``corrected``:
    by how much its process corrects that, having been told.
    """

    number: int
    what: str
    faults: Mapping[int, str] = field(default_factory=dict)
    calls: int = 0
    ended: bool = False
    killed: bool = False
    error: BaseException | None = None
    person: str = PERSON
    met: list[str] = field(default_factory=list)
    aim: Aim | None = None
    waits: bool = False
    clock_off_s: float = 0.0
    corrected: timedelta = timedelta(0)
    turn: threading.Event = field(default_factory=threading.Event)

    @property
    def lies_in_wait(self) -> bool:
        """Whether it is on its way to a call before which it waits for those beside it."""
        return self.aim is not None and self.aim.fault == WAITS and self.aim.number > 0


# What no person's machine does.
_OF_SERVICES: Final = frozenset({"run", "execution", "poll", "deliver", "go-back", "lose-lease"})
CLOCKS_S: Final = (0.0, 0.0, -200.0, -45.0, 40.0, 240.0)
"""How far the clock of a person's machine is ahead of the services'."""

FAULTS: Final = {
    "killed": "killed before {}",
    "killed after": "killed when {} was done",
    "refused": "{} refused",
    "unseen": "{} done, its answer lost",
    "twice": "{} done, its answer lost, and asked for again by the SDK",
    "late": "{} given up by its client, its answer lost, and done later all the same",
    "silent": "{} never answered, and not done",
    "jumped": "the clock an hour further at {}",
    "crashed": "its function gone before {}",
    "crashed after": "its function gone when {} was done",
    "hung": "its function hung at {} until Lambda ended it",
}


class World:
    """One environment with one topic."""

    def __init__(self, folder: Path, seed: int, *, drawn: bool = False) -> None:
        self.folder = folder
        self.seed = seed
        self.drawn = drawn
        self.portion = random.Random(f"portions of {seed}").choice((4, 8, 8)) if drawn else 8
        self.worn = drawn and random.Random(f"files of {seed}").random() < 0.4
        self.leaves = 14 if drawn else 4
        self.random = random.Random(seed)
        self.weather = random.Random(f"weather of {seed}")
        self.history: list[str] = []
        self.covered: Counter[tuple[str, str]] = Counter()
        self.metrics: dict[str, float] = defaultdict(float)
        self.calls = hashlib.sha256()
        self.sent: list[Event] = []
        self.processes: dict[int, Process] = {}
        self.person = PERSON
        self.watch = Watch(self)
        self.contract = ("1.0.0", "integer")
        self.has_contract = True
        self.broken_contract = False
        self.idle = False
        self.clock = 0.0
        self._here = threading.local()
        self._scheduled: list[Process] = []
        self._back = threading.Event()
        self._under_way: list[_UnderWay] = []
        self.landing = False  # what is done right now was given up by who asked for it
        self.letters: list[Event] = []
        self.payloads: dict[str, str | None] = {}
        self.letters_may_return = False
        self.objects: dict[str, bytes] = {}
        self.put_at: dict[str, datetime] = {}
        self.erased: set[str] = set()
        self.views: dict[str, dict[str, Any]] = {}
        self.unforeseen: list[Exception] = []  # what the product calls InternalFault, as it was raised
        self.numbers = 0
        self._rows: dict[tuple[str, bool], tuple[str, list[dict[str, Any]]]] = {}
        shutil.copytree(_empty_tables(), folder, dirs_exist_ok=True)
        _move(folder, _empty_tables())
        self.outside = Clock(self, seed)
        self.catalog = WatchedCatalog(self, folder)
        self.dynamodb = DynamoDB(self.external, lags=self._lags, now=lambda: self.clock)
        self.target = _SimulatedTarget(self)
        self.stepfunctions = StepFunctions(self, self._lags)
        began_ms = int(BEGINNING.timestamp() * 1000)
        self.queues = Queues(
            self.target.dead_letter_queue, lambda: self.clock, began_ms, self.external, self.weather
        )
        self.queues.sender = lambda: self.process.number if self.process else 0
        self.front = Front(self)
        self._create()

    @property
    def now(self) -> datetime:
        """The world's time, by which services go."""
        return self.outside.service_clock()

    @property
    def executions(self) -> dict[str, str]:
        """Status of every execution, by ARN."""
        return self.stepfunctions.statuses

    def begin_step(self, number: int) -> None:
        """From here on all is drawn for this step of a history; -1 is its end."""
        self.random.seed(f"step {number} of {self.seed}")
        self.weather.seed(f"weather of step {number} of {self.seed}")
        self.history.append(f"step {number}:" if number >= 0 else "in the end:")

    def measured(self, _namespace: str, values: Mapping[str, Any], **_: Any) -> None:
        """What a function says in metrics."""
        for name, value in values.items():
            self.metrics[name] += value if isinstance(value, int | float) else len(value)

    def cover(self, kind: str, what: str) -> None:
        """Note that a history has come by something."""
        self.covered[kind, what] += 1

    # What happens at every external call -----------------------------------------------------------------

    @property
    def process(self) -> Process | None:
        """The process that the current thread works for."""
        return getattr(self._here, "process", None)

    @property
    def inside(self) -> bool:
        """Whether the current thread is in the middle of an external call: at work in the service."""
        return bool(getattr(self._here, "inside", False))

    @property
    def on_own_machine(self) -> "Process | None":
        """The process of the current thread, where it is a person's and no service works for it."""
        process = self.process
        elsewhere = self.inside or bool(getattr(self._here, "function", ""))
        return None if elsewhere or process is None or not process.clock_off_s else process

    @property
    def off_while_it_commits_s(self) -> float:
        """How far the clock is ahead that pyiceberg has, whoever is at work in a service meanwhile."""
        process, function = self.process, getattr(self._here, "function", "")
        return 0.0 if process is None or function else process.clock_off_s

    def external(self, call: Callable[[], T], what: str = "a call") -> T:
        """Make an external call of the current process, unless something happens to it."""
        process = self.process
        if process is None or self.inside:
            return call()
        aimed = process.aim.fault if process.aim is not None and process.aim.meets(what) else ""
        process.waits = aimed == WAITS
        self._pass_on(process)
        process.waits = False
        if process.killed:
            raise Killed
        self.clock += CALL_S
        self.calls.update(f"{process.number} {what} {self.clock:.2f}\n".encode())
        fault = self._fault(process, what, "" if aimed == WAITS else aimed)
        self._land(what)
        if fault == "late":
            self._under_way.append(_UnderWay(process, what, call, self.weather.choice(LATE)))
        self._instead_of(fault, process, what)
        self._here.inside = True
        try:
            if fault == "twice":
                with contextlib.suppress(*_ANSWERS):
                    call()
            return call()
        finally:  # an error is an answer too
            self._here.inside = False
            self._in_place_of_the_answer(fault, process)
            self.outside.told(self.now)

    def _fault(self, process: Process, what: str, aimed: str) -> str:
        """What happens at the next call of the process; a function that is nobody's is a process itself."""
        process.calls += 1
        assert process.calls < ENDLESS_CALLS, f"does not end: {what}, call {process.calls:,} of one process"
        fault = aimed or process.faults.get(process.calls, "")
        if fault.startswith(("crashed", "hung")) and not getattr(self._here, "function", ""):
            fault = "killed after" if fault == "crashed after" else "killed"
        if fault:
            process.met.append(f"{FAULTS[fault].format(what)} (call {process.calls})")
            self.cover("fault", fault)
        return fault

    def _instead_of(self, fault: str, process: Process, what: str) -> None:
        """What happens instead of a call."""
        match fault:
            case "killed":
                process.killed = True
                raise Killed
            case "refused":
                answer: Any = {
                    "Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"},
                    "ResponseMetadata": {"HTTPStatusCode": 400},
                }
                raise ClientError(answer, what)
            case "crashed":
                raise Crashed("Runtime.ExitError")
            case "hung":
                self.clock += HANGS_S
                raise Crashed("Sandbox.Timedout")
            case "late" | "silent":
                self.clock += TIMES_OUT_S
                raise ReadTimeoutError(endpoint_url="https://simulated")
            case "jumped":
                self.clock += JUMPS_S

    def _in_place_of_the_answer(self, fault: str, process: Process) -> None:
        """What happens when a call was made."""
        match fault:
            case "killed after":
                process.killed = True
                raise Killed
            case "unseen":
                raise ReadTimeoutError(endpoint_url="https://simulated")
            case "crashed after":
                raise Crashed("Runtime.ExitError")

    def _land(self, before: str = "") -> None:
        """Let services do what was asked of them a while ago, and what nobody waits for any more.

        ``before``: the call that is about to be made; none: everything is done.
        """
        for one in list(self._under_way):
            if before and not one.comes(before):
                continue
            self._under_way.remove(one)
            current, self.landing = self.process, True
            self._here.process, self._here.inside = one.process, True
            try:
                one.call()
            except _ANSWERS:
                pass  # to nobody
            finally:
                self._here.process, self._here.inside, self.landing = current, False, False

    def sleep(self, seconds: float) -> None:
        """Wait: the others work meanwhile."""
        self.clock += seconds
        if self.process is not None:
            self._pass_on(self.process)
            if self.process.killed:
                raise Killed

    def _lags(self) -> bool:
        """Whether a read that is eventually consistent is told what was there a moment ago."""
        if self.process is None or not self.drawn or self.weather.random() < 0.5:
            return False
        self.cover("fault", "stale read")
        return True

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Look at the world from beside: no process makes the calls, and nothing happens to them."""
        before = self.inside
        self._here.inside = True
        try:
            yield
        finally:
            self._here.inside = before

    def _pass_on(self, process: Process) -> None:
        if process in self._scheduled:
            process.turn.clear()
            self._back.set()
            process.turn.wait()

    # Processes -------------------------------------------------------------------------------------------

    def command(
        self, *words: str, kill_at: int | None = None, answered: bool = False, person: str = ""
    ) -> Process:
        """Run one command (``run`` is a run of the pipeline), alone."""
        return self.beside([words], {0: (kill_at, answered)} if kill_at is not None else {}, [person])[0]

    def beside(
        self,
        commands: list[tuple[str, ...]],
        kill: dict[int, tuple[int | None, bool]] | None = None,
        persons: Sequence[str] = (),
        faults: Mapping[int, Mapping[int, str]] | None = None,
        aims: Mapping[int, Aim] | None = None,
    ) -> list[Process]:
        """Run commands at the same time, changing between them at their external calls.

        ``persons``: who gives them, where that is not ``person``. ``faults``: of which of them, at which
        call; ``kill`` is short for the two that end one. ``aims``: a call of some that is named.
        """
        started = []
        for index, words in enumerate(commands):
            met = dict((faults or {}).get(index, {}))
            kill_at, answered = (kill or {}).get(index, (None, False))
            if kill_at is not None:
                met[kill_at] = "killed after" if answered else "killed"
            person = (persons[index] if persons else "") or self.person
            process = Process(len(self.processes) + 1, " ".join(words), met, person=person)
            process.aim = (aims or {}).get(index)
            process.clock_off_s = (
                0.0 if words[0] in {*_OF_SERVICES, *_SCHEDULED} else self._clock_of(process.person)
            )
            self.processes[process.number] = process
            self.cover("actor", words[0])
            started.append(process)
        if len(started) == 1:
            self._work(started[0], commands[0])
        else:
            self._schedule(list(zip(started, commands, strict=True)))
        self._land()
        for process in started:
            end = "killed" if process.killed else repr(process.error) if process.error else "done"
            who = "" if process.person == PERSON else f"{process.person.rpartition('/')[2]}: "
            happened = f" [{'; '.join(process.met)}]" if process.met else ""
            self.history.append(f"{'  ' if len(started) > 1 else ''}{who}{process.what}: {end}{happened}")
            # But for who reads beside an erasure, or upkeep that was told to forget what is a moment old.
            cleaned = any(one.what.startswith(("erase", "maintain", "upkeep")) for one in started)
            assert cleaned or "a file is gone" not in str(process.error), (
                f"{process.what} needs a file that is gone: {process.error}"
            )
            if isinstance(process.error, InternalFault):  # whatever breaks, it is foreseen
                raise self.unforeseen[-1] if self.unforeseen else process.error
            if not isinstance(process.error, LeanOpsError | Killed | None):
                raise process.error
        return started

    def _clock_of(self, person: str) -> float:
        """How far the clock of a person's machine is ahead; AWS takes requests within five minutes."""
        return random.Random(f"clock of {person} in {self.seed}").choice(CLOCKS_S) if self.drawn else 0.0

    def _schedule(self, work: list[tuple[Process, tuple[str, ...]]]) -> None:
        self._scheduled = [process for process, _ in work]

        def body(process: Process, words: tuple[str, ...]) -> None:
            process.turn.wait()
            self._work(process, words)
            self._back.set()

        threads = [threading.Thread(target=body, args=one, daemon=True) for one in work]
        for thread in threads:
            thread.start()
        # In bursts: that one works from end to end between two calls of another would else never be drawn.
        calls, process = 0, self._scheduled[0]
        while waiting := [process for process in self._scheduled if not process.ended]:
            able = _able(waiting)
            if not calls or process not in able:
                calls, process = self.random.choice((1, 1, 3, 10, 40)), self.random.choice(able)
            calls -= 1
            self._back.clear()
            process.turn.set()
            self._back.wait()
        for thread in threads:
            thread.join()
        self._scheduled = []

    def _work(self, process: Process, words: tuple[str, ...]) -> None:
        self._here.process = process
        try:
            self._do(words)
        except Crashed:
            process.error = Killed()
            process.killed = True
        except BaseException as error:
            process.error = error
        finally:
            process.ended = True
            self._here.process = None

    def _do(self, words: tuple[str, ...]) -> None:
        """What the words of a process say."""
        match words[0]:
            case "run":
                asked: dict[str, Any] = {"topic": TOPIC, "force": "--force" in words}
                self.run(self.stepfunctions.begin(asked)["executionArn"])
            case "execution":
                self.run(self.stepfunctions.arn(words[1]))
            case "poll":
                self.front.poll()
            case "deliver":
                self.front.flush()
            case "go-back":
                self.go_back(words[1])
            case "lose-lease":
                self.lose_lease()
            case scheduled if scheduled in _SCHEDULED:
                self.call_function(*_SCHEDULED[scheduled])
            case _:
                code = _commands().main(list(words), standalone_mode=False)
                assert code in (0, 1, None), (words, code)

    # The pipeline ----------------------------------------------------------------------------------------

    @property
    def works_for(self) -> Execution | None:
        """The execution that the current thread works for, if it does for any."""
        found: Execution | None = getattr(self._here, "execution", None)
        return found

    @property
    def execution(self) -> Execution:
        """The execution that the current thread works for."""
        found: Execution = self._here.execution
        return found

    def working_for(self, execution: Execution) -> None:
        """The current thread works for an execution."""
        self._here.execution = execution

    def run(self, arn: str) -> None:
        """Do the work of an execution."""
        execution = self.stepfunctions.known[arn]
        self.idle = False  # what a run that fails has left is not known
        try:
            self.stepfunctions.run(execution)
        finally:
            self._here.execution = None
        self.idle = not {"RunCurationJob", "RunSemanticJob", "AnotherRunActive"} & set(execution.visited)

    def call_function(self, function: str, event: dict[str, Any], timeout_s: float) -> Any:
        """Call a function as a service does: in a sandbox that may be gone, and through JSON."""
        self._here.function = function
        if (execution := getattr(self._here, "execution", None)) is not None:
            execution.tries[function] = execution.tries.get(function, 0) + 1
        ends = self.clock + timeout_s
        context = SimpleNamespace(
            aws_request_id="simulated",
            get_remaining_time_in_millis=lambda: int((ends - self.clock) * 1000),
        )
        if function == "get_all_checkpoints" and self.process is not None:
            self.watch.looks_up(self.process)
        try:
            answer = json.loads(json.dumps(invoke(function, json.loads(json.dumps(event)), context)))
        finally:
            self._here.function = ""
        if function == "get_all_checkpoints" and self.process is not None:
            self.watch.looked_up(self.process, event, held=answer["lease"] == "held")
        return answer

    @property
    def looking_up(self) -> str | None:
        """The execution that the current thread looks everything up for."""
        execution = getattr(self._here, "execution", None)
        at_it = getattr(self._here, "function", "") == "get_all_checkpoints"
        return execution.arn if execution is not None and at_it else None

    def lease_holder(self) -> str:
        """Who has the lease of the topic."""
        key = {"checkpoint_id": {"S": f"{TOPIC}#lease"}}
        table = self.target.checkpoints_table
        item = self.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
        return str(item.get("execution_arn", {}).get("S", ""))

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Call a function from a command, which waits for its answer."""
        return json.loads(json.dumps(invoke(function, event)))

    # What is in it ---------------------------------------------------------------------------------------

    def send(self, number: int) -> None:
        """Send events, and bring them to RAW: corrections, repetitions and late ones among them."""
        self.produce(number)
        self.take_queue()

    def produce(self, number: int, *, late_s: float = 0.0) -> None:
        """Let producers send so many new events, and what they are not sure to have sent."""
        bodies = [body_of(self.event()) for _ in range(number)]
        if self.random.random() < 0.4:
            self.letters.append(self.event())
            self.queues.put(LETTERS, body_of(self.letters[-1]))
            if self.letters_may_return and self.random.random() < 0.4:
                self.queues.returning.add(body_of(self.letters[-1]))
        if self.front.told and self.random.random() < 0.3:
            bodies.append(self.random.choice(self.front.told))  # a network retry
        self.front.produce(bodies, late_s=late_s)
        self.history.append(f"send {number}")

    @property
    def letters_wait(self) -> bool:
        """Whether a letter is there that can be read."""
        waiting = self.queues.waiting[LETTERS].values()
        return any(message.body not in self.front.broken for message in waiting)

    def take_queue(self) -> None:
        """Bring what waits in the source queue and in Firehose to RAW, if nothing hinders."""
        while self.front.poll():
            pass
        self.front.flush()

    def deliver(self, events: list[Event]) -> None:
        """Put events into RAW, as Firehose does."""
        while True:  # Firehose tries again until it is first
            raw = self.catalog.load_table(self.target.settings.table("raw", TOPIC))
            try:
                raw.append(as_rows(events, raw.schema().as_arrow()))
            except (CommitFailedException, ValidationException):
                continue
            break
        self.sent += events

    def lose_lease(self) -> None:
        """Nobody has the lease any more: damaged by hand, or gone with a restored table."""
        self.dynamodb.update_item(
            TableName=self.target.checkpoints_table,
            Key={"checkpoint_id": {"S": f"{TOPIC}#lease"}},
            UpdateExpression="REMOVE execution_arn",
        )

    def go_back(self, layer: str) -> None:
        """Another engine sets a layer's table to the snapshot before the current one, past all commands."""
        table = self.catalog.load_table(self.target.settings.table(layer, TOPIC))
        current = table.current_snapshot()
        if current is None or current.parent_snapshot_id is None:
            return
        if table.snapshot_by_id(current.parent_snapshot_id) is not None:
            with contextlib.suppress(CommitFailedException):  # somebody was first: it gives up
                table.manage_snapshots().rollback_to_snapshot(current.parent_snapshot_id).commit()

    def event(self, **like: Any) -> Event:
        """An event that nobody has sent yet; ``like``: what is not drawn of it."""
        self.numbers += 1
        number = self.numbers * 10 + self.random.randrange(10)
        # Many at the same few moments: corrections tie.
        published = START + timedelta(
            minutes=self.random.choice((self.random.randrange(4), self.random.randrange(300)))
        )
        dice = self.random.random()
        key = f"bad{self.random.randrange(2)}" if dice < 0.1 else f"k{self.random.randrange(6)}"
        deletes = 0.1 <= dice < 0.22
        payload = {"reading": "broken" if dice < 0.1 or dice > 0.88 else number}
        payload[f"leaf{self.random.randrange(self.leaves)}"] = "x"
        event = {
            # In no order: of a tie that ids decided, the one that came last would win.
            "message_id": f"m{number * 7919 % 1_000_003:06}",
            "idempotency_key": key,
            "topic_name": TOPIC,
            "period_reference": published.strftime("%Y-%m"),
            "correlation_id": None,
            "publish_time": published,
            "ingestion_ts": self.now,
            "json_payload": None if deletes else json.dumps(payload),
            "operation": "delete" if deletes else None,
            **like,
        }
        self.payloads[event["message_id"]] = event["json_payload"]
        return event

    def rows(self, layer: str, *, of_then: bool = False) -> list[dict[str, Any]]:
        """All rows of a layer; ``of_then``: with the columns that its snapshot was written with.

        Read once for each state of the table; that its files are still there is looked at by itself
        (``resting``).
        """
        table = self.catalog.load_table(self.target.settings.table(layer, TOPIC))
        if self._rows.get((layer, of_then), ("", []))[0] != table.metadata_location:
            current = table.current_snapshot() if of_then else None
            scan = table.scan(snapshot_id=current.snapshot_id if current else None)
            self._rows[layer, of_then] = table.metadata_location, scan.to_arrow().to_pylist()
        return list(self._rows[layer, of_then][1])

    def drift_entries(self) -> set[str]:
        """What the drift log has of the topic."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.target.drift_log_table)
        return {item["entry"]["S"] for page in pages for item in page["Items"]}

    def snapshots(self, layer: str) -> list[str]:
        """Snapshots that a layer's table can go back to, the current one first."""
        table = self.catalog.load_table(self.target.settings.table(layer, TOPIC))
        found, snapshot = [], table.current_snapshot()
        while snapshot is not None:
            found.append(str(snapshot.snapshot_id))
            parent = snapshot.parent_snapshot_id
            snapshot = table.snapshot_by_id(parent) if parent is not None else None
        return found

    def expected(self) -> dict[str, Event]:
        """Curated by a single pass over everything that was sent, by key."""
        return single_pass(self.kept())

    def kept(self) -> list[Event]:
        """What was sent, but for events of erased keys."""
        return [event for event in self.sent if event["idempotency_key"] not in self.erased]

    def published(self) -> dict[str, Any]:
        """Semantic by a single pass over everything that was sent, reading by key."""

        def accepted(payload: dict[str, Any]) -> bool:
            return self.contract[1] == "string" or payload["reading"] != "broken"

        kind = str if self.contract[1] == "string" else int
        found = newest_good(self.kept(), accepted)
        return {key: kind(json.loads(event["json_payload"])["reading"]) for key, event in found.items()}

    def take_contract(self, text: str) -> None:
        """Another contract is registered."""
        contract = load_contract(text, TOPIC)
        self.contract = (contract.version, contract.properties[0].logical_type)
        self.has_contract, self.broken_contract = True, False

    def next_contract(self) -> str:
        """A contract of a new major version, with another type."""
        version, kind = self.contract
        major = int(version.partition(".")[0]) + 1
        return CONTRACT.format(version=f"{major}.0.0", kind="string" if kind == "integer" else "integer")

    def contract_text(self) -> str:
        """The registered contract."""
        version, kind = self.contract
        if self.broken_contract:
            return "apiVersion: v3.0.2\nkind: something else\n"
        return CONTRACT.format(version=version, kind=kind)

    def _create(self) -> None:
        target = self.target
        keys = {
            target.checkpoints_table: ["checkpoint_id"],
            target.audit_table: ["operation_id"],
            target.drift_log_table: ["topic", "entry"],
        }
        for name, attributes in keys.items():
            self.dynamodb.create_table(
                TableName=name,
                KeySchema=[
                    {"AttributeName": a, "KeyType": kind}
                    for a, kind in zip(attributes, ("HASH", "RANGE"), strict=False)
                ],
                AttributeDefinitions=[{"AttributeName": a, "AttributeType": "S"} for a in attributes],
                BillingMode="PAY_PER_REQUEST",
            )

    def close(self) -> None:
        """Remove the tables and close the catalog."""
        for name in (self.target.checkpoints_table, self.target.audit_table, self.target.drift_log_table):
            self.dynamodb.delete_table(TableName=name)
        self.catalog.close()


def _able(among: list[Process]) -> list[Process]:
    """Who can go on: not who waits for those beside it; and as long as one lies in wait, no other begins.

    Where all wait for each other, all can.
    """
    able = [one for one in among if not one.waits] or among
    if not any(one.lies_in_wait for one in able):
        return able
    return [one for one in able if one.calls or one.lies_in_wait]


# What schedules start: a function, what it is given, and how many seconds it has.
_SCHEDULED: Final[Mapping[str, tuple[str, dict[str, Any], float]]] = {
    "archive": ("archive_dead_letters", {}, 900),
    "breaker-turn": ("circuit_breaker", {"trigger": "schedule"}, 60),
    "dispatch": ("dispatcher", {}, 300),
    "upkeep": ("maintenance", {"topic": TOPIC}, 900),
}
_WORLDS: list[World] = []


@cache
def _empty_tables() -> Path:
    """A folder with the environment's tables, made once: every world begins with a copy of it."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    catalog = LocalCatalog(folder, CATALOG, warehouse=folder)
    target = _SimulatedTarget()
    catalog.create_namespace(target.database)
    for layer in ("raw", "curated", "semantic", "quarantine"):
        spec = TableSpec.load(TABLE_SPECIFICATIONS, layer, low_volume=True)
        if layer == "semantic":
            contract = load_contract(CONTRACT.format(version="1.0.0", kind="integer"), TOPIC)
            spec = spec.with_columns(contract.semantic_columns())
        spec.create(catalog, target.settings.table(layer, TOPIC))
    catalog.close()
    return folder


def _move(folder: Path, source: Path) -> None:
    """Let a copy of tables, in which no file of rows is, know where it lies, made when the world begins."""
    made = f'"last-updated-ms":{BEGINNING.timestamp() * 1000:.0f}'
    for metadata in folder.rglob("*.metadata.json"):
        text = metadata.read_text().replace(str(source), str(folder))
        metadata.write_text(re.sub(r'"last-updated-ms":\d+', made, text))
    with contextlib.closing(sqlite3.connect(folder / "catalog.db")) as catalog, catalog:
        catalog.execute(
            "UPDATE iceberg_tables SET metadata_location = replace(metadata_location, ?, ?)",
            (str(source), str(folder)),
        )


@dataclass(frozen=True)
class _SimulatedTarget(LocalTarget):
    """The environment as commands see it."""

    def __init__(self, world: World | None = None) -> None:
        values = {
            "env": "local",
            "project": "simulated",
            "region": "eu-west-1",
            "topics": (TOPIC,),
            "endpoints": {"": "http://in.process"},
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "world", world)

    @property
    def session(self) -> boto3.Session:  # one for all worlds
        return _session()

    @property
    def caller(self) -> str:  # read once there
        world: World = self.world  # type: ignore[attr-defined] # set above
        return world.process.person if world.process is not None else world.person

    def client(self, service: Any) -> Any:
        return client(service)

    def deliver_now(self) -> None:
        """What was delivered is in RAW."""

    def catalog(self) -> Catalog:
        return self.world.catalog  # type: ignore[attr-defined,no-any-return] # set above


def client(service: str, **_options: Any) -> Any:
    """What stands in for boto3's client of a service."""
    world = _WORLDS[-1]
    clients: dict[str, Callable[[], Any]] = {
        "cloudwatch": lambda: Alarms(world),
        "dynamodb": lambda: world.dynamodb,
        "firehose": lambda: world.front,
        "glue": lambda: Glue(world),
        "lambda": lambda: Functions(world),
        "s3": lambda: Bucket(world),
        "secretsmanager": lambda: SimpleNamespace(get_secret_value=lambda **_: {"SecretString": "key"}),
        "sqs": lambda: world.queues,
        "stepfunctions": lambda: world.stepfunctions,
    }
    return clients[service]()


@cache
def _session() -> boto3.Session:
    return boto3.Session(CREDENTIAL, CREDENTIAL, region_name="eu-west-1")


@cache
def _commands() -> Any:
    return typer.main.get_command(app)


FUNCTIONS: Final = (
    "archive_dead_letters",
    "circuit_breaker",
    "curation",
    "dispatcher",
    "get_all_checkpoints",
    "maintenance",
    "notify_missing_schema",
    "semantic",
    "sqs_processor",
)
_CALM: Final = SimpleNamespace(aws_request_id="simulated", get_remaining_time_in_millis=lambda: 900_000)


def invoke(function: str, event: dict[str, Any], context: Any = _CALM) -> dict[str, Any]:
    """Call a function's handler."""
    answer: dict[str, Any] = _handler(function).handler(event, context)
    return answer


@cache
def _handler(function: str) -> ModuleType:
    modelled(function in FUNCTIONS, f"function {function}")
    return importlib.import_module(f"{function}.handler")


@contextlib.contextmanager
def simulated(folder: Path, seed: int, *, drawn: bool = False) -> Iterator[World]:
    """A world, with everything that commands and handlers reach patched to lead into it."""
    folder.mkdir(parents=True)
    with nothing_worked_out_twice(), contextlib.closing(World(folder, seed, drawn=drawn)) as world:
        yield from _simulated(world)


def _simulated(world: World) -> Iterator[World]:
    environment = {
        name: value
        for entry in function_catalogue()
        for name, value in entry.environment.items()
        if name.startswith("LEAN_OPS_")
    }
    queues = {world.target.source_queue: "queue", world.target.dead_letter_queue: "letters"}
    values = placeholder_values(world.target, queues)
    environment = {name: render(value, values) for name, value in environment.items()}
    environment |= {"LEAN_OPS_BATCH_ROWS": str(world.portion), "LEAN_OPS_MEMORY_BUDGET_MB": "512"}
    _WORLDS.append(world)
    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.dict(os.environ, environment))
        patches.enter_context(patch.object(boto3, "client", client))
        patches.enter_context(patch.object(LocalTarget, "running", lambda *_: world.target))
        patches.enter_context(on_simulated_time(world.outside))
        patches.enter_context(interpreted(world))
        patches.enter_context(patch.object(holds, "BEAT_S", 3600.0))
        tables = f"file://{world.folder}/{world.target.database}/"
        patches.enter_context(patch.object(Objects, "key_of", lambda _, path: path.removeprefix(tables)))
        patches.enter_context(
            patch.object(workers, "this_process", lambda: Worker(MACHINE, _number(world), 0))
        )
        sorting = foreign_errors._sorting

        def noted(error: Exception) -> tuple[type[LeanOpsError], str]:
            found = sorting(error)
            if found[0] is InternalFault:
                world.unforeseen.append(error)
            return found

        patches.enter_context(patch.object(foreign_errors, "_sorting", noted))
        gone = property(lambda worker: world.processes[worker.pid].ended)
        patches.enter_context(patch.object(Worker, "gone", gone))
        logging.disable()  # a line costs as much as a call
        patches.callback(logging.disable, logging.NOTSET)
        for module in map(_handler, FUNCTIONS):
            if hasattr(module, "emit"):
                patches.enter_context(patch.object(module, "emit", world.measured))
            if hasattr(module, "lake_catalog"):
                patches.enter_context(patch.object(module, "lake_catalog", lambda *_: world.catalog))
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
        # Small tables, in which what large ones go through happens: few snapshots stay, and in the worlds of
        # some seeds no file is small enough to be written again for a row of it.
        few = patch.object(keeping_up, "_at_least", lambda _policy, rows: 2 if rows is None else 1)
        patches.enter_context(few)
        if world.worn:
            patches.enter_context(patch.object(tiers, "LARGEST_REWRITE_BYTES", 0))
        compare = patch("lean_ops.operate.rebuild.doing.compare", lambda *_: Comparison(0, 0))
        patches.enter_context(compare)
        patches.enter_context(watched(world))
        try:
            yield world
        finally:
            _WORLDS.pop()


def _number(world: World) -> int:
    assert world.process is not None
    return world.process.number
