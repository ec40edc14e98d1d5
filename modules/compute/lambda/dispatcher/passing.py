"""One pass over all topics: look once, settle what was started, start what has something to read.

Nothing is remembered before it is done: a run is started, then written down. Who dies between the two starts
it again by the same name, which Step Functions answers with the run that there is; two passes at once start
one run of a topic between them.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from common.lake.pointers import pointers
from common.runtime.items import read_items
from common.runtime.settings import DispatcherSettings
from common.runtime.topics import Registry
from dispatcher.judging import Ending, Memory, Sight, Verdict, judge

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_glue.client import GlueClient
    from types_boto3_stepfunctions.client import SFNClient

_READ: Final = ("lease", "curated", "semantic", "dispatch")
_RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})
# What every note of a start or an ending changes.
_CHANGING: Final = ("starts", "settled")
_FAILED: Final = frozenset({"FAILED", "TIMED_OUT"})


@dataclass
class Done:
    """What a pass did: topics by what they were found to be, and which it could not look at, and why."""

    topics: Counter[Verdict] = field(default_factory=Counter)
    started: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    backing_off: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the log and the answer. ``waiting``: topics for which there was no room, the longest first."""
        return {
            "topics": {verdict.value: count for verdict, count in sorted(self.topics.items())},
            "started": self.started,
            "waiting": self.waiting,
            "backing_off": self.backing_off,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Dispatcher:
    """Starts runs. ``go_on`` is asked before each topic that calls are made for."""

    settings: DispatcherSettings
    glue: "GlueClient"
    dynamodb: "DynamoDBClient"
    stepfunctions: "SFNClient"
    go_on: Callable[[], bool] = lambda: True

    def pass_over(self, registry: Registry, now: int) -> Done:
        """Look at every topic of ``registry`` once, at ``now``, in seconds since 1970.

        An error over one topic is kept in ``failed``, and the others go on.
        """
        done = Done()
        found = pointers(self.glue, self.settings.database)
        table, topics = self.settings.checkpoints_table, registry.topics
        items = read_items(self.dynamodb, table, (f"{topic}#{one}" for topic in topics for one in _READ))
        seen = [Sight.of(topic, found, items, paused=known.paused) for topic, known in topics.items()]
        before = {sight.topic: items.get(f"{sight.topic}#dispatch", {}) for sight in seen}
        memories = {sight.topic: self._settled(sight, before[sight.topic], now, done) for sight in seen}
        judged = {sight.topic: judge(sight, memories[sight.topic], now) for sight in seen}
        due = sorted(
            (sight for sight in seen if judged[sight.topic] is Verdict.START),
            key=lambda sight: memories[sight.topic].turn,
        )
        working = sum(verdict is Verdict.WORKS for verdict in judged.values())
        for sight in due:
            if sight.topic in done.failed:
                continue
            if working >= self.settings.runs_at_once or not self.go_on():
                done.waiting.append(sight.topic)
                continue
            verdict = self._start(sight, memories[sight.topic], before[sight.topic], now, done)
            judged[sight.topic] = verdict
            working += 1
        for sight in seen:
            if sight.topic not in done.started:
                self._keep(sight.topic, memories[sight.topic], before[sight.topic], done)
        done.topics.update(judged.values())
        done.backing_off += [topic for topic, verdict in judged.items() if verdict is Verdict.BACKS_OFF]
        return done

    def _settled(self, sight: Sight, item: Mapping[str, Any], now: int, done: Done) -> Memory:
        """What is remembered, with the ending of the last run where it was not known yet."""
        memory = Memory.of(item)
        if memory.settled:
            return memory
        try:
            ending, name = self._ending(memory.execution), memory.last_name(sight.topic)
            if ending is Ending.UNKNOWN and memory.execution == self._execution(name):
                # Written down by a pass that was killed before it started it, or is about to.
                self._begin(sight, name)
                done.started[sight.topic] = memory.execution
                return memory
            return memory.settle(ending, sight, now)
        except (ClientError, BotoCoreError) as error:
            done.failed[sight.topic] = _said(error)
            return memory

    def _keep(self, topic: str, memory: Memory, item: Mapping[str, Any], done: Done) -> None:
        """Write down how the last run ended, where that is news."""
        try:
            if memory != Memory.of(item):
                self._remember(topic, memory, item)
        except (ClientError, BotoCoreError) as error:
            done.failed[topic] = _said(error)

    def _start(self, sight: Sight, memory: Memory, item: Mapping[str, Any], now: int, done: Done) -> Verdict:
        try:
            # Started by hand, or the continuation of a long backlog: it does the work.
            if sight.holder and self._ending(sight.holder) is Ending.RUNS:
                return Verdict.WORKS
            # Written down first: a pass that is killed between leaves a run to start, and none that nobody
            # knows of, beside which the next pass would start another.
            name = memory.next_name(sight)
            execution = self._execution(name)
            if not self._remember(sight.topic, memory.started(execution, sight, now), item):
                return Verdict.WORKS
            self._begin(sight, name)
        except (ClientError, BotoCoreError) as error:
            done.failed[sight.topic] = _said(error)
            return Verdict.START
        done.started[sight.topic] = execution
        return Verdict.WORKS

    def _begin(self, sight: Sight, name: str) -> None:
        """Start the run of that name, where no other pass has, whether it still runs or not."""
        with suppress(self.stepfunctions.exceptions.ExecutionAlreadyExists):
            self.stepfunctions.start_execution(
                stateMachineArn=self.settings.live_state_machine_arn,
                name=name,
                input=json.dumps({"topic": sight.topic, "force": False}),
            )

    def _execution(self, name: str) -> str:
        """ARN of the run of that name."""
        machine = self.settings.live_state_machine_arn.removesuffix(":live")
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    def _ending(self, execution: str) -> Ending:
        try:
            found = self.stepfunctions.describe_execution(executionArn=execution)
        except self.stepfunctions.exceptions.ExecutionDoesNotExist:  # also: forgotten after 90 days
            return Ending.UNKNOWN
        except self.stepfunctions.exceptions.InvalidArn:  # a lease that is damaged is nobody's
            return Ending.NOTHING
        if found["status"] in _RUNNING:
            return Ending.RUNS
        if found["status"] in _FAILED:
            return Ending.FAILED
        held = found["status"] == "SUCCEEDED" and _had_the_lease(found.get("output"))
        return Ending.WELL if held else Ending.NOTHING

    def _remember(self, topic: str, memory: Memory, before: Mapping[str, Any]) -> bool:
        """Write what is known now; False where another pass has written since ``before`` was read."""
        item = memory.as_item()
        was = {f":was_{name}": before[name] for name in _CHANGING if name in before}
        same = [
            f"#{name} = :was_{name}" if name in before else f"attribute_not_exists(#{name})"
            for name in _CHANGING
        ]
        try:
            self.dynamodb.update_item(
                TableName=self.settings.checkpoints_table,
                Key={"checkpoint_id": {"S": f"{topic}#dispatch"}},
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in item),
                ConditionExpression=" AND ".join(same),
                ExpressionAttributeNames={f"#{name}": name for name in item},
                ExpressionAttributeValues={f":{name}": value for name, value in item.items()} | was,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _had_the_lease(output: str | None) -> bool:
    """Whether a run that succeeded has worked: without the lease it ends at once, and succeeds as well."""
    try:
        return bool(json.loads(output or "")["checkpoints"]["lease"] == "held")
    except (ValueError, KeyError, TypeError):
        return False


def _said(error: Exception) -> str:
    """The kind of error a service's own words are part of; they name no value of an event."""
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response['Error']['Code']}"
    return type(error).__name__
