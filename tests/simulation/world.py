"""An environment in one process, for operations that are killed, repeated and run beside each other.

What works is the real code: the command line's commands, the functions' handlers, the merge engine on real
Iceberg files (a SQLite catalog), and DynamoDB as the emulator evaluates it, called without a network.
Stand-ins are Step Functions (who runs), SQS, S3 (without versions), Lambda's invoke and the clock of those
who wait.

Every call to the catalog, to DynamoDB or to a queue goes through ``World.external``. There a process can be
killed, before its n-th call or after it (the call was made, its answer never seen), and there the scheduler
changes from one process to another, by a seeded draw.
"""

import atexit
import contextlib
import importlib
import json
import os
import random
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final, TypeVar
from unittest.mock import patch

import boto3
import pyarrow as pa
import typer
from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.typedef import Identifier
from sqlalchemy.event import listen

from common.contract.contracts import load_contract
from common.contract.store import contract_key
from common.lake.merge import committing
from common.lake.specifications import TableSpec
from common.runtime.errors import LeanOpsError
from common.runtime.topics import REGISTRY_KEY, Topic, registry_of
from lean_ops.cli import app
from lean_ops.environment.repository import STATE_MACHINE, TABLE_SPECIFICATIONS, function_catalogue, render
from lean_ops.local.provision import placeholder_values
from lean_ops.local.stack import CREDENTIAL
from lean_ops.local.target import LocalTarget
from lean_ops.operate import holds, leases, workers
from lean_ops.operate.erase import Objects
from lean_ops.operate.rebuild import Comparison
from lean_ops.operate.replay import dead_letters
from lean_ops.operate.workers import Worker

from ..support.oracle import newest_good, single_pass
from .in_process import DynamoDB, nothing_worked_out_twice
from .queues import LETTERS, SOURCE, AtOnce, Queues
from .watching import Watch, watched

TOPIC: Final = "events"
START: Final = datetime(2026, 5, 31, 22, tzinfo=UTC)
PERSON: Final = "arn:aws:iam::000000000000:user/operator"
MACHINE: Final = "simulated"
CATALOG: Final = "simulated"
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

Event = dict[str, Any]
T = TypeVar("T")


class Killed(BaseException):
    """The process is gone: from here on it can call nothing any more."""


@dataclass
class Process:
    """One command or run. ``kill_at``: the external call that ends it, before it is made or ``answered``."""

    number: int
    what: str
    kill_at: int | None = None
    answered: bool = False
    calls: int = 0
    ended: bool = False
    killed: bool = False
    error: BaseException | None = None
    person: str = PERSON
    turn: threading.Event = field(default_factory=threading.Event)


class World:
    """One environment with one topic."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.history: list[str] = []
        self.sent: list[Event] = []
        self.processes: dict[int, Process] = {}
        self.executions: dict[str, str] = {}
        self.person = PERSON
        self.watch = Watch(self)
        self.contract = ("1.0.0", "integer")
        self.idle = False
        self.clock = 0.0
        self._here = threading.local()
        self._scheduled: list[Process] = []
        self._back = threading.Event()
        self.letters: list[Event] = []
        self.letters_may_return = False
        self.objects: dict[str, bytes] = {}
        self.erased: set[str] = set()
        shutil.copytree(_empty_tables(), folder, dirs_exist_ok=True)
        _move(folder, _empty_tables())
        self.catalog = _WatchedCatalog(self, folder)
        self.dynamodb = DynamoDB(self.external)
        self.target = _SimulatedTarget(self)
        self.queues = Queues(self.target.dead_letter_queue, lambda: self.clock, self.external)
        self.queues.sender = lambda: self.process.number if self.process else 0
        self._create()

    # What happens at every external call -----------------------------------------------------------------

    @property
    def process(self) -> Process | None:
        """The process that the current thread works for."""
        return getattr(self._here, "process", None)

    def external(self, call: Callable[[], T]) -> T:
        """Make an external call of the current process, unless it is its last."""
        process = self.process
        if process is None or getattr(self._here, "inside", False):
            return call()
        self._pass_on(process)
        process.calls += 1
        last = process.kill_at is not None and process.calls >= process.kill_at
        if process.killed or (last and not process.answered):
            process.killed = True
            raise Killed
        self._here.inside = True
        try:
            answer = call()
        finally:
            self._here.inside = False
        if last:
            process.killed = True
            raise Killed
        return answer

    def sleep(self, seconds: float) -> None:
        """Wait: the others work meanwhile."""
        self.clock += seconds
        if self.process is not None:
            self._pass_on(self.process)
            if self.process.killed:
                raise Killed

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
    ) -> list[Process]:
        """Run commands at the same time, changing between them at their external calls.

        ``persons``: who gives them, where that is not ``person``.
        """
        started = []
        for index, words in enumerate(commands):
            kill_at, answered = (kill or {}).get(index, (None, False))
            person = (persons[index] if persons else "") or self.person
            process = Process(len(self.processes) + 1, " ".join(words), kill_at, answered, person=person)
            self.processes[process.number] = process
            started.append(process)
        if len(started) == 1:
            self._work(started[0], commands[0])
        else:
            self._schedule(list(zip(started, commands, strict=True)))
        for process in started:
            end = "killed" if process.killed else repr(process.error) if process.error else "done"
            who = "" if process.person == PERSON else f"{process.person.rpartition('/')[2]}: "
            self.history.append(f"{'  ' if len(started) > 1 else ''}{who}{process.what}: {end}")
            if not isinstance(process.error, LeanOpsError | Killed | None):
                raise process.error
        return started

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
            if not calls or process.ended:
                calls, process = self.random.choice((1, 1, 3, 10, 40)), self.random.choice(waiting)
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
            if words[0] == "run":
                self._run_pipeline(force="--force" in words)
            else:
                code = _commands().main(list(words), standalone_mode=False)
                assert code in (0, 1, None), (words, code)
        except BaseException as error:
            process.error = error
        finally:
            process.ended = True
            self._here.process = None

    # The pipeline ----------------------------------------------------------------------------------------

    def _run_pipeline(self, *, force: bool) -> None:
        """The state machine's path through the real handlers, updates as its definition has them."""
        name = f"run-{len(self.executions)}"
        arn = f"{self.target.state_machine_arn.replace('stateMachine', 'execution')}:{name}"
        self.executions[arn] = "RUNNING"
        ended = "FAILED"
        try:
            self.idle = False
            for _ in range(20):
                asked = {"topic": TOPIC, "execution_arn": arn, "continued_from": ""}
                found = invoke("get_all_checkpoints", asked)
                if found["lease"] == "busy":
                    break
                if not self._one_round(found, name, force=force):
                    break
                force = False
            ended = "SUCCEEDED"
        finally:
            self.executions[arn] = ended

    def _one_round(self, found: dict[str, Any], run: str, *, force: bool) -> bool:
        """One round; whether another is to follow."""
        curated = {
            "curated_snapshot_id": found["curated_snapshot"],
            "records_written": 0,
            "backlog": False,
            "source_token": found["curated_checkpoint"],
            "source_position": found["curated_position"],
        }
        if force or found["raw_snapshot"] != found["curated_checkpoint"]:
            curated = invoke("curation", self._job("curated", found, run))
            self._record("UpdateCurationCheckpoint", curated, curated["curated_snapshot_id"], run)
        elif _is_served(found, curated):
            self.idle = True
            return False
        if not force and _is_served(found, curated):
            return bool(curated["backlog"])
        raw = {"raw_token": curated["source_token"], "raw_position": curated["source_position"]}
        job = self._job("semantic", found, run) | {"source_token": found["semantic_token"], **raw}
        semantic = invoke("semantic", job)
        self._record("UpdateSemanticCheckpoint", semantic, semantic["semantic_snapshot_id"], run)
        return bool(curated["backlog"] or semantic["backlog"])

    @staticmethod
    def _job(layer: str, found: dict[str, Any], run: str) -> dict[str, Any]:
        token, position = found[f"{layer}_checkpoint"], found[f"{layer}_position"]
        return {"topic": TOPIC, "run_id": run, "source_token": token, "source_position": position}

    def _record(self, state: str, done: dict[str, Any], snapshot: str, run: str) -> None:
        parameters = _states()[state]["Parameters"]
        layer = "curated" if state == "UpdateCurationCheckpoint" else "semantic"
        texts = {
            ":token": done["source_token"],
            ":position": done["source_position"],
            ":target": snapshot,
            ":run": run,
            ":now": datetime.now(UTC).isoformat(),
        }
        try:
            self.target.client("dynamodb").update_item(
                TableName=self.target.checkpoints_table,
                Key={"checkpoint_id": {"S": f"{TOPIC}#{layer}"}},
                UpdateExpression=parameters["UpdateExpression"],
                ConditionExpression=parameters["ConditionExpression"],
                ExpressionAttributeValues={name: {"S": text} for name, text in texts.items()},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    # What is in it ---------------------------------------------------------------------------------------

    def send(self, number: int) -> None:
        """Deliver events to RAW: corrections, repetitions and late ones among them."""
        events = [self.event() for _ in range(number)]
        if self.random.random() < 0.4:
            self.letters.append(self.event())
            self.queues.put(LETTERS, text_of(self.letters[-1]))
            if self.letters_may_return and self.random.random() < 0.4:
                self.queues.returning.add(text_of(self.letters[-1]))
        if self.sent and self.random.random() < 0.3:
            events.append(self.random.choice(self.sent))  # a network retry
        self.deliver(events)
        self.history.append(f"send {number}")

    def take_queue(self) -> None:
        """Bring what waits in the source queue to RAW, as the pipeline's front does all the time."""
        taken = list(self.queues.waiting[SOURCE].values())
        self.queues.waiting[SOURCE].clear()
        if taken:
            self.deliver([self._parsed(message.body) for message in taken])
            self.history.append(f"{len(taken)} from the queue")

    def deliver(self, events: list[Event]) -> None:
        """Put events into RAW, as Firehose does."""
        raw = self.catalog.load_table(self.target.settings.table("raw", TOPIC))
        raw.append(pa.Table.from_pylist(events, schema=raw.schema().as_arrow()))
        self.sent += events

    def _parsed(self, body: str) -> Event:
        """The event of a message; it was received now."""
        event: Event = json.loads(body)
        published = datetime.fromisoformat(event["publish_time"])
        received = START + timedelta(days=1, seconds=len(self.sent))
        return {**event, "publish_time": published, "ingestion_ts": received}

    def event(self) -> Event:
        """An event that nobody has sent yet."""
        number = (len(self.sent) + len(self.letters)) * 10 + self.random.randrange(10)
        published = START + timedelta(minutes=self.random.randrange(300))
        dice = self.random.random()
        key = f"bad{self.random.randrange(2)}" if dice < 0.1 else f"k{self.random.randrange(6)}"
        deletes = 0.1 <= dice < 0.17
        payload = {"reading": "broken" if dice < 0.1 or dice > 0.88 else number}
        payload[f"leaf{self.random.randrange(4)}"] = "x"
        return {
            "message_id": f"m{number:06}",
            "idempotency_key": key,
            "topic_name": TOPIC,
            "period_reference": published.strftime("%Y-%m"),
            "correlation_id": None,
            "publish_time": published,
            "ingestion_ts": START + timedelta(days=1, seconds=len(self.sent)),
            "json_payload": None if deletes else json.dumps(payload),
            "operation": "delete" if deletes else None,
        }

    def rows(self, layer: str, *, of_then: bool = False) -> list[dict[str, Any]]:
        """All rows of a layer; ``of_then``: with the columns that its snapshot was written with."""
        table = self.catalog.load_table(self.target.settings.table(layer, TOPIC))
        current = table.current_snapshot() if of_then else None
        scan = table.scan(snapshot_id=current.snapshot_id if current else None)
        found: list[dict[str, Any]] = scan.to_arrow().to_pylist()
        return found

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

    def contract_text(self) -> str:
        """The registered contract."""
        version, kind = self.contract
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


def text_of(event: Event) -> str:
    """A message with an event in it."""
    return json.dumps({**event, "publish_time": event["publish_time"].isoformat(), "ingestion_ts": None})


# Stand-ins -----------------------------------------------------------------------------------------------

_WORLDS: list[World] = []


class _WatchedCatalog(SqlCatalog):
    """Iceberg's catalog on SQLite; every call of it is an external one."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        super().__init__(CATALOG, uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
        # What a process that is killed here leaves behind is in the operating system's hands, not on a disk.
        listen(self.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF"))

    def load_table(self, identifier: str | Identifier) -> Table:
        """As SqlCatalog does, without an object for the row."""
        *_, name = self.identifier_to_tuple(identifier)
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT table_namespace, metadata_location FROM iceberg_tables WHERE table_name = ?", (name,)
            ).one_or_none()
        if found is None:
            return super().load_table(identifier)  # which says so
        place = found.metadata_location
        metadata = FromInputFile.table_metadata(self._load_file_io(location=place).new_input(place))
        io = self._load_file_io(metadata.properties, place)
        return Table((found.table_namespace, name), metadata, place, io, self)


@cache
def _empty_tables() -> Path:
    """A folder with the environment's tables, made once: every world begins with a copy of it."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    catalog = SqlCatalog(CATALOG, uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
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
    """Let a copy of tables, in which no file of rows is, know where it lies."""
    for metadata in folder.rglob("*.metadata.json"):
        metadata.write_text(metadata.read_text().replace(str(source), str(folder)))
    with contextlib.closing(sqlite3.connect(folder / "catalog.db")) as catalog, catalog:
        catalog.execute(
            "UPDATE iceberg_tables SET metadata_location = replace(metadata_location, ?, ?)",
            (str(source), str(folder)),
        )


def _watched(name: str) -> Any:
    plain = getattr(_WatchedCatalog, name)

    def method(self: _WatchedCatalog, *arguments: Any, **options: Any) -> Any:
        return self._world.external(lambda: plain(self, *arguments, **options))

    return method


def _commit(catalog: "_WatchedCatalog", table: Table, *changes: Any) -> CommitTableResponse:
    def call() -> CommitTableResponse:
        before = catalog.load_table(table.name())
        answer = SqlCatalog.commit_table(catalog, table, *changes)
        catalog._world.watch.commits(before, answer.metadata)
        return answer

    return catalog._world.external(call)


for _name in ("load_table", "register_table", "drop_table", "table_exists"):
    setattr(_WatchedCatalog, _name, _watched(_name))
setattr(_WatchedCatalog, "commit_table", _commit)  # noqa: B010 - as the others


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
    match service:
        case "dynamodb":
            return world.dynamodb
        case "sqs":
            return world.queues
        case "stepfunctions":
            return _StepFunctions(world)
        case "s3":
            return _Bucket(world)
        case "secretsmanager":
            return SimpleNamespace(get_secret_value=lambda **_: {"SecretString": "key"})
        case "lambda":
            return _Functions()
    raise AssertionError(service)


class _StepFunctions:
    def __init__(self, world: World) -> None:
        self._world = world
        self.exceptions = SimpleNamespace(ExecutionDoesNotExist=KeyError)

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        return {"status": self._world.executions[executionArn], "stopDate": START}

    def list_executions(self, stateMachineArn: str, statusFilter: str) -> dict[str, Any]:
        found = [arn for arn, status in self._world.executions.items() if status == statusFilter]
        return {"executions": [{"executionArn": arn} for arn in found if stateMachineArn]}


class _Functions:
    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        return {"Payload": BytesIO(json.dumps(invoke("semantic", json.loads(Payload))).encode())}


class _Bucket:
    """The lake bucket: contract and registry, what operations put there, and the files of tables.

    It keeps no versions. Files of tables are listed by their folder's name, as on AWS.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def head_object(self, **_options: Any) -> dict[str, Any]:
        return {}

    def get_object(self, Key: str, **_options: Any) -> dict[str, Any]:
        return {"Body": BytesIO(self._content(Key))}

    def put_object(self, Key: str, Body: bytes, **_options: Any) -> None:
        def call() -> None:
            if self._file(Key).is_file():
                self._file(Key).write_bytes(Body)
            else:
                self._world.objects[Key] = Body

        self._world.external(call)

    def delete_objects(self, Delete: dict[str, Any], **_options: Any) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            for one in Delete["Objects"]:
                self._world.objects.pop(one["Key"], None)
                if (path := self._file(one["Key"])).is_file():
                    path.unlink()
            return {}

        return self._world.external(call)

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_object_versions"
        return SimpleNamespace(
            paginate=lambda Prefix, **_: [self._world.external(lambda: self._listed(Prefix))]
        )

    def _listed(self, prefix: str) -> dict[str, Any]:
        files = (path for path in self._tables().rglob("*") if path.is_file())
        keys = [*self._world.objects, *(str(path.relative_to(self._tables())) for path in files)]
        common = {"IsLatest": True, "VersionId": "null", "Size": 1, "LastModified": START}
        return {"Versions": [{"Key": key, **common} for key in sorted(keys) if key.startswith(prefix)]}

    def _content(self, key: str) -> bytes:
        if key == REGISTRY_KEY:
            return registry_of({TOPIC: Topic(contract=True)}).written()
        if key == contract_key(TOPIC):
            return self._world.contract_text().encode()
        if key in self._world.objects:
            return self._world.objects[key]
        if self._file(key).is_file():
            return self._file(key).read_bytes()
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")

    def _tables(self) -> Path:
        return self._world.folder / self._world.target.database

    def _file(self, key: str) -> Path:
        return self._tables() / key


@cache
def _session() -> boto3.Session:
    return boto3.Session(CREDENTIAL, CREDENTIAL, region_name="eu-west-1")


@cache
def _commands() -> Any:
    return typer.main.get_command(app)


def _is_served(found: dict[str, Any], curated: dict[str, Any]) -> bool:
    """Whether Semantic has all that Curated holds (``CheckForNewCuratedData``)."""
    read = (curated["curated_snapshot_id"], curated["source_token"])
    return read == (found["semantic_checkpoint"], found["semantic_versions"])


@cache
def _states() -> dict[str, Any]:
    states: dict[str, Any] = json.loads(STATE_MACHINE.read_text())["States"]
    return states


def invoke(function: str, event: dict[str, Any]) -> dict[str, Any]:
    """Call a function's handler."""
    module = importlib.import_module(f"{function}.handler")
    answer: dict[str, Any] = module.handler(event, SimpleNamespace(aws_request_id="simulated"))
    return answer


def _handlers() -> list[ModuleType]:
    return [
        importlib.import_module(f"{name}.handler") for name in ("get_all_checkpoints", "curation", "semantic")
    ]


@contextlib.contextmanager
def simulated(folder: Path, seed: int) -> Iterator[World]:
    """A world, with everything that commands and handlers reach patched to lead into it."""
    folder.mkdir(parents=True)
    with nothing_worked_out_twice(), contextlib.closing(World(folder, seed)) as world:
        yield from _simulated(world)


def _simulated(world: World) -> Iterator[World]:
    clock = SimpleNamespace(monotonic=lambda: world.clock, sleep=world.sleep)
    environment = {
        name: value
        for entry in function_catalogue()
        for name, value in entry.environment.items()
        if name.startswith("LEAN_OPS_")
    }
    queues = {world.target.source_queue: "queue", world.target.dead_letter_queue: "letters"}
    values = placeholder_values(world.target, queues)
    environment = {name: render(value, values) for name, value in environment.items()}
    environment |= {"LEAN_OPS_BATCH_ROWS": "8", "LEAN_OPS_MEMORY_BUDGET_MB": "512"}
    _WORLDS.append(world)
    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.dict(os.environ, environment))
        patches.enter_context(patch.object(boto3, "client", client))
        patches.enter_context(patch.object(LocalTarget, "running", lambda *_: world.target))
        for module in (holds, leases):
            patches.enter_context(patch.object(module, "time", clock))
        patches.enter_context(patch.object(committing, "RETRY", replace(committing.RETRY, sleep=world.sleep)))
        patches.enter_context(patch.object(holds, "BEAT_S", 3600.0))
        tables = f"file://{world.folder}/{world.target.database}/"
        patches.enter_context(patch.object(Objects, "key_of", lambda _, path: path.removeprefix(tables)))
        patches.enter_context(
            patch.object(workers, "this_process", lambda: Worker(MACHINE, _number(world), 0))
        )
        gone = property(lambda worker: world.processes[worker.pid].ended)
        patches.enter_context(patch.object(Worker, "gone", gone))
        patches.enter_context(patch.object(dead_letters, "ThreadPoolExecutor", AtOnce))
        for module in _handlers():
            patches.enter_context(patch.object(module, "lake_catalog", lambda *_: world.catalog))
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
        compare = patch("lean_ops.operate.rebuild.compare", lambda *_: Comparison(0, 0))
        patches.enter_context(compare)
        patches.enter_context(watched(world))
        try:
            yield world
        finally:
            _WORLDS.pop()


def _number(world: World) -> int:
    assert world.process is not None
    return world.process.number
