"""Step Functions: executions of the state machine as ``pipeline.asl.json`` has it, on simulated time.

States are interpreted by the emulator's own code, the retries and catches of tasks too; what they call are
the world's functions and tables, and what they wait is the world's time. In two places the emulator promises
more than AWS does, and this does not: a JSONPath without a value fails the execution (Step Functions
developer guide, "States.ParameterPathFailure"), and the machine's own time-out counts.

What a task's function can meet beside the faults of its own calls: it crashes (its sandbox is gone; what it
had sent arrives), and it hangs until Lambda ends it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions as emulated

from common.runtime.errors import LeanOpsError, ServiceFailure
from lean_ops.environment.repository import STATE_MACHINE, function_catalogue

from .clock import UnmodelledError

if TYPE_CHECKING:
    from .world import World

# Python's own: the emulator's library for JSONata raises it for the whole process, which has other tests too.
sys.setrecursionlimit(1_000)

NAME: Final = "pipeline"
# For how long who asks for an execution may be told what it was before it began, or ended.
SEEN_WITHIN_S: Final = 2.0


class Crashed(BaseException):
    """The sandbox of a function is gone; whoever called it sees ``error``."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Execution:
    """One execution. ``why``: the error of the function that it failed for."""

    arn: str
    name: str
    input: dict[str, Any]
    status: str = "PENDING"
    output: str | None = None
    why: BaseException | None = None
    ended: datetime | None = None
    visited: list[str] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "call")


class StepFunctions:
    """The service's client, and who does its work: ``run``.

    ``lags``: whether who asks for an execution that has just begun, or ended, is told what was before; asked
    for each. Answers are eventually consistent (API reference, DescribeExecution and ListExecutions).
    """

    def __init__(self, world: "World", lags: Callable[[], bool]) -> None:
        self._world = world
        self.lags = lags
        self.known: dict[str, Execution] = {}
        self.statuses: dict[str, str] = {}
        self._before: dict[str, tuple[float, str]] = {}
        kinds = ("ExecutionAlreadyExists", "ExecutionDoesNotExist", "InvalidArn")
        self.exceptions = SimpleNamespace(**{kind: type(kind, (ClientError,), {}) for kind in kinds})

    # As a service ---------------------------------------------------------------------------------------

    def start_execution(self, stateMachineArn: str, input: str, name: str = "") -> dict[str, str]:  # noqa: A002
        """Start one; a name is taken for good, and gives the same execution as long as that runs."""
        return self._world.external(lambda: self.begin(json.loads(input), name), "start execution")

    def begin(self, asked: dict[str, Any], name: str = "") -> dict[str, str]:
        """As ``start_execution``, for who is no client."""
        name = name or f"run-{len(self.known)}"
        arn = self.arn(name)
        known = self.known.get(arn)
        if known is not None and known.status not in ("PENDING", "RUNNING"):
            raise self.exceptions.ExecutionAlreadyExists(
                {"Error": {"Code": "ExecutionAlreadyExists", "Message": name}}, "StartExecution"
            )
        self.known.setdefault(arn, Execution(arn, name, asked))
        self._becomes(arn, "RUNNING")
        return {"executionArn": arn}

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            status = self._seen(executionArn)
            if not status:
                kind = "ExecutionDoesNotExist" if executionArn.startswith("arn:") else "InvalidArn"
                raise getattr(self.exceptions, kind)({"Error": {"Code": kind}}, "DescribeExecution")
            if status == "RUNNING":
                return {"status": status}
            execution = self.known.get(executionArn)
            output = {"output": execution.output} if execution and execution.output else {}
            ended = execution.ended if execution and execution.ended else self._world.now
            return {"status": status, "stopDate": ended, **output}

        return self._world.external(call, "describe execution")

    def list_executions(self, stateMachineArn: str, statusFilter: str) -> dict[str, Any]:
        found = [arn for arn in self.statuses if self._seen(arn) == statusFilter and stateMachineArn]
        return {"executions": [{"executionArn": arn} for arn in found]}

    def _becomes(self, arn: str, status: str) -> None:
        if status != (before := self.statuses.get(arn, "")):
            self._before[arn] = (self._world.clock, before)
        self.statuses[arn] = status

    def _seen(self, arn: str) -> str:
        """The status that who asks is told; empty where there is no such execution yet."""
        changed_at, before = self._before.get(arn, (-SEEN_WITHIN_S, ""))
        late = self._world.clock - changed_at < SEEN_WITHIN_S and self.lags()
        return before if late else self.statuses.get(arn, "")

    def arn(self, name: str) -> str:
        """ARN of the execution of that name."""
        return f"{self._world.target.state_machine_arn.replace('stateMachine', 'execution')}:{name}"

    @property
    def pending(self) -> list[Execution]:
        """Executions that were started and that nobody works on yet."""
        return [one for one in self.known.values() if one.status == "PENDING"]

    # Its work -------------------------------------------------------------------------------------------

    def run(self, execution: Execution) -> None:
        """Go through the states to the end; raises what an execution failed for."""
        execution.status = "RUNNING"
        ended = "ABORTED"  # what becomes of one that is stopped
        try:
            execution.output = json.dumps(self._states(execution))
            ended = "SUCCEEDED"
        except emulated._ExecutionError as error:
            ended = "FAILED"
            if execution.why is not None:
                raise execution.why from None
            if error.error == "DynamoDB.ConditionalCheckFailedException":
                self._world.watch.faults.append(f"{execution.name} failed since another was further")
            if error.error.startswith(("DynamoDB.", "Runtime.", "Sandbox.")):
                raise ServiceFailure(f"{execution.name} failed: {error.error}") from error
            raise AssertionError(f"{execution.name} failed: {error.error}: {error.cause}") from error
        finally:
            execution.status = ended
            self._becomes(execution.arn, ended)
            execution.ended = self._world.now

    def _states(self, execution: Execution) -> dict[str, Any]:
        definition = _definition()
        context = {
            "Execution": {"Id": execution.arn, "Name": execution.name, "Input": execution.input},
            "StateMachine": {"Name": NAME},
        }
        record: dict[str, Any] = {"events": [], "name": execution.name, "executionArn": execution.arn}
        found, name = execution.input, definition["StartAt"]
        ends = self._world.clock + definition["TimeoutSeconds"]
        self._world.working_for(execution)
        while True:
            state = definition["States"][name]
            execution.visited.append(name)
            context["State"] = {"Name": name, "EnteredTime": self._world.now.isoformat()}
            if self._world.clock > ends:
                raise emulated._ExecutionError("States.Timeout", "the state machine's own")
            match state["Type"]:
                case "Pass":
                    found, following = emulated._execute_pass(state, found, context)
                case "Choice":
                    found, following = emulated._execute_choice(state, found, context)
                case "Task":
                    found, following = emulated._execute_task(state, found, record, context)
                case "Succeed":
                    self._world.cover("branch", f"{name} (end)")
                    return dict(found)
                case kind:
                    raise UnmodelledError(f"{name}: a state of a kind that is not interpreted: {kind}")
            self._world.cover("branch", f"{name} → {following}")
            name = following

    def task(self, resource: str, given: dict[str, Any], timeout_s: float) -> Any:
        """Do the work of a task."""
        match resource.rpartition(":::")[2]:
            case "lambda:invoke":
                return {"Payload": self._function(str(given["FunctionName"]), given["Payload"], timeout_s)}
            case "dynamodb:updateItem":
                try:
                    return self._world.dynamodb.update_item(**given)
                except ClientError as error:
                    code = f"DynamoDB.{error.response['Error']['Code']}"
                    raise emulated._ExecutionError(code, "") from error
                except BotoCoreError as error:
                    raise emulated._ExecutionError("DynamoDB.SdkClientException", "") from error
            case "states:startExecution":
                return self.begin(given["Input"])
        raise UnmodelledError(f"{resource}: a task that is not modelled")

    def _function(self, function: str, event: dict[str, Any], timeout_s: float) -> Any:
        execution = self._world.execution
        try:
            return self._world.call_function(function, event, timeout_s)
        except Crashed as crash:
            execution.why = None
            raise emulated._ExecutionError(crash.error, "") from None
        except LeanOpsError as error:
            execution.why = error
            raise emulated._ExecutionError(type(error).__name__, "") from None


@cache
def _definition() -> dict[str, Any]:
    """The definition, with functions by their names in place of their ARNs."""
    text = STATE_MACHINE.read_text()
    for function in function_catalogue():
        text = text.replace(f"${{{function.name}_arn}}", function.name)
    for name, value in (("partition", "aws"), ("state_machine_arn", NAME)):
        text = text.replace(f"${{{name}}}", value)
    definition: dict[str, Any] = json.loads(text)
    return definition


def branches() -> set[str]:
    """Every way from a state to another, and every end, that the definition has."""
    found = set()
    for name, state in _definition()["States"].items():
        following = [state.get("Next"), state.get("Default")]
        following += [one["Next"] for one in (*state.get("Choices", ()), *state.get("Catch", ()))]
        found |= {f"{name} → {other}" for other in following if other}
        if state["Type"] == "Succeed":
            found.add(f"{name} (end)")
    return found


@contextmanager
def interpreted(world: "World") -> Iterator[None]:
    """Let the emulator's interpreter call and wait as the world does."""
    resolve = emulated._resolve_path

    def strictly(path: str, found: Any) -> Any:
        value = resolve(path, found)
        if value is None:
            raise emulated._ExecutionError("States.Runtime", f"{path}: no such value")
        return value

    table = world.target.checkpoints_table

    def task(resource: str, given: dict[str, Any], timeout_s: float) -> Any:
        if "TableName" in given:
            given = {**given, "TableName": table}
        return world.stepfunctions.task(resource, given, timeout_s)

    with ExitStack() as patches:
        patches.enter_context(patch.object(emulated, "_resolve_path", strictly))
        patches.enter_context(patch.object(emulated, "_invoke_resource_with_timeout", task))
        patches.enter_context(patch.object(emulated, "_scaled_sleep", world.sleep))
        patches.enter_context(patch.object(emulated, "_add_event", lambda *_: None))
        yield
