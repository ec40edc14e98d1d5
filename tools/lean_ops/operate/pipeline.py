"""Pipeline runs: start the state machine for a topic and follow it, state by state.

Step Functions answers with what was a moment ago (``common.layers.lease.described``): an execution that has
just begun may be unknown, and one that has ended be said to run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from common.layers.lease import described
from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.environment.target import Target

if TYPE_CHECKING:
    from types_boto3_stepfunctions.client import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef, HistoryEventTypeDef

# The state in which a run ends when the topic's lease is not to be had.
BUSY: Final = "AnotherRunActive"
# Of an execution that was started without one.
_DEFAULT_TOPIC: Final = "events"


@dataclass(frozen=True)
class StateVisit:
    """One visit of one state. ``output`` and ``left`` are None for a state that failed or still runs."""

    name: str
    entered: datetime
    left: datetime | None
    input: Any
    output: Any

    @property
    def seconds(self) -> float:
        """How long the visit took; 0 for one that did not end."""
        return (self.left - self.entered).total_seconds() if self.left else 0.0


@dataclass(frozen=True)
class Outcome:
    """How an execution ended. ``status`` is Step Functions' own word; ``error`` and ``cause`` say why."""

    arn: str
    status: str
    seconds: float
    error: str = ""
    cause: str = ""
    topic: str = _DEFAULT_TOPIC

    @property
    def succeeded(self) -> bool:
        """Whether every state that ran did its work."""
        return self.status == "SUCCEEDED"


class Engine(StrEnum):
    """Where the jobs of a run are done; ``AUTO``: by the size of the backlog."""

    AUTO = "auto"
    LAMBDA = "lambda"
    SPARK = "spark"


def start(target: Target, topic: str, *, force: bool = False, engine: Engine = Engine.AUTO) -> str:
    """Start a run of ``topic`` and return its execution ARN."""
    answer = target.client("stepfunctions").start_execution(
        stateMachineArn=target.runnable_arn,
        input=json.dumps({"topic": topic, "force": force, "engine": engine}),
    )
    return answer["executionArn"]


def follow(
    target: Target, execution_arn: str, waiting: Callable[[str], None] = lambda _state: None
) -> Iterator[StateVisit]:
    """Yield every state as it is left, until the execution ends; ``waiting`` is told of one that goes on."""
    client = target.client("stepfunctions")
    pause = target.look_s / 2
    entered: dict[str, HistoryEventTypeDef] = {}
    seen = 0
    while True:
        # Asked before the history is read: what ends in between is read in this round.
        running = _described(target, execution_arn)["status"] == "RUNNING"
        for event in _history(client, execution_arn, after=seen):
            seen = event["id"]
            yield from _left(event, entered)
        if not running:
            yield from (_visit(event, None) for event in entered.values())
            return
        for name in entered:
            waiting(name)
        outside.sleep(pause)


def visits(target: Target, execution_arn: str) -> list[StateVisit]:
    """Every state that was entered so far, those that were left first; waits for nothing."""
    entered: dict[str, HistoryEventTypeDef] = {}
    events = _history(target.client("stepfunctions"), execution_arn, after=0)
    left = [visit for event in events for visit in _left(event, entered)]
    return left + [_visit(event, None) for event in entered.values()]


def recent(target: Target, limit: int) -> list[tuple[str, datetime]]:
    """ARN and begin of the executions that were begun last, the newest first."""
    listed = target.client("stepfunctions").list_executions(
        stateMachineArn=target.state_machine_arn, maxResults=limit
    )["executions"]
    newest = sorted(listed, key=lambda one: one["startDate"], reverse=True)
    return [(one["executionArn"], one["startDate"]) for one in newest[:limit]]


def ended(target: Target, execution_arn: str) -> Outcome:
    """How an execution that was followed to its end did end; waits while it is said to run still."""
    while (found := outcome(target, execution_arn)).status == "RUNNING":
        outside.sleep(target.look_s / 2)
    return found


def outcome(target: Target, execution_arn: str) -> Outcome:
    """How the execution ended (or that it still runs); raises InvalidInput where there is none."""
    answer = _described(target, execution_arn)
    stopped = answer.get("stopDate")
    return Outcome(
        arn=execution_arn,
        status=answer["status"],
        seconds=(stopped - answer["startDate"]).total_seconds() if stopped else 0.0,
        topic=topic_of(answer.get("input")),
        error=answer.get("error", ""),
        cause=_sentence(answer.get("cause", "")),
    )


def topic_of(asked: str | None) -> str:
    """The topic that an execution of this input works on, as the state machine's ApplyDefaults gives it."""
    wanted = json.loads(asked or "{}")
    return str(wanted.get("topic", _DEFAULT_TOPIC)) if isinstance(wanted, dict) else _DEFAULT_TOPIC


def _described(target: Target, execution_arn: str) -> "DescribeExecutionOutputTypeDef":
    found = described(target.client("stepfunctions"), execution_arn)
    if found is None:
        raise InvalidInput(
            f"execution {execution_arn}: expected one that Step Functions knows, found none; it forgets them "
            "90 days after they ended"
        )
    return found


def _left(event: "HistoryEventTypeDef", entered: "dict[str, HistoryEventTypeDef]") -> Iterator[StateVisit]:
    """The visit that an event of a history ends; those that have begun are kept in ``entered``."""
    if details := event.get("stateEnteredEventDetails"):
        entered[details["name"]] = event
    elif left := event.get("stateExitedEventDetails"):
        yield _visit(entered.pop(left["name"]), event)


def _history(client: "SFNClient", execution_arn: str, after: int) -> Iterator["HistoryEventTypeDef"]:
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=True, PaginationConfig={"PageSize": 1000}
    )
    try:
        for page in pages:
            yield from (event for event in page["events"] if event["id"] > after)
    except client.exceptions.ExecutionDoesNotExist:
        return  # it has just begun


def _sentence(cause: str) -> str:
    """The message of a function's error, which Lambda wraps in JSON; any other cause as it is."""
    try:
        wrapped = json.loads(cause)
    except json.JSONDecodeError:
        return cause
    return str(wrapped["errorMessage"]) if isinstance(wrapped, dict) and "errorMessage" in wrapped else cause


def _visit(begun: "HistoryEventTypeDef", ended: "HistoryEventTypeDef | None") -> StateVisit:
    details = begun["stateEnteredEventDetails"]
    output = ended["stateExitedEventDetails"].get("output") if ended else None
    return StateVisit(
        name=details["name"],
        entered=begun["timestamp"],
        left=ended["timestamp"] if ended else None,
        input=json.loads(details.get("input") or "null"),
        output=json.loads(output) if output else None,
    )
