"""Bridges over what the emulator does differently from AWS, where the pipeline would notice.

| the emulator                                 | AWS, and the emulator with its bridge               |
|----------------------------------------------|-----------------------------------------------------|
| hands 10 messages to a function, at once     | BatchSize up to 10,000, batching window, 6 MB       |
| scans the whole queue for every receive      | (speed) looks at no more messages than it must      |
| changes a queue from two threads, no lock    | never loses a message                               |
| calls every exception Runtime.HandlerError   | the exception's class name, for Catch and Retry     |
| ignores an unknown itemIdentifier, deletes   | returns the whole batch to the queue                |
| leaves embedded metrics in the log           | makes metrics of them                               |
| takes any table into Glue's catalog          | refuses texts that are too long or of two lines     |
| judges alarms without dimensions and periods | (bridge) does not judge them: `lean_ops.local.alarms` |
| knows no emr-serverless:startJobRun.sync     | starts a job, waits, cancels it with the execution  |

They replace private functions of ministack, so they belong to exactly one version of it: ``install``
refuses any other. Each has a test against a running emulator
(``tests/integration/local/test_emulator_behaves_like_aws.py``).
"""

import functools
import importlib.metadata
import json
import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import cloudwatch, glue, lambda_svc, sqs, stepfunctions

from lean_ops.local.errors import LocalStackError
from lean_ops.local.glue_rules import refusal
from lean_ops.local.job_runs import ENDED, JobRefused, JobRuns
from lean_ops.local.lifeline import FOLDER_VARIABLE

BRIDGED_VERSION = "1.5.33"

# Lambda's limit on the payload of an invocation, which bounds a batch as well (Lambda developer guide,
# "Batching behavior"); attributes and identifiers of a record take about 1 kB of it.
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
RECORD_OVERHEAD_BYTES = 1024
_JOB_LOOK_S = 0.3

Message = dict[str, Any]
Queue = dict[str, Any]


def install() -> None:
    """Put every bridge in place; raises LocalStackError on another version of the emulator."""
    found = importlib.metadata.version("ministack")
    if found != BRIDGED_VERSION:
        raise LocalStackError(
            f"emulator: expected ministack {BRIDGED_VERSION}, found {found}; install requirements.lock, or "
            "move lean_ops/local/bridges.py to the new version (its tests say what to look at)"
        )
    _lock_queues()
    _batch_messages_like_lambda()
    _keep_exception_class()
    _refuse_unknown_item_identifiers()
    _extract_embedded_metrics()
    _refuse_what_glue_refuses()
    _run_spark_jobs(JobRuns(Path(os.environ.get(FOLDER_VARIABLE, ".")) / "jobs"))
    cloudwatch._evaluate_all_alarms = lambda: None


def _lock_queues() -> None:
    """The server's thread and the poller's thread both replace ``queue["messages"]``: take turns.

    Without it a message sent between the poller's copy and its assignment is lost.
    """
    lock = threading.RLock()  # re-entrant: SendMessageBatch calls SendMessage
    sqs._queues_lock = lock

    def locked(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return function(*args, **kwargs)

        return call

    for name in ("_expire_retained", "_dlq_sweep", "_collect_msgs", "_refresh_counts", "_act_send_message"):
        setattr(sqs, name, locked(getattr(sqs, name)))
    for action, handler in sqs._HANDLERS.items():
        # ReceiveMessage waits between its looks at the queue; each of those looks is locked above.
        if action != "ReceiveMessage":
            sqs._HANDLERS[action] = locked(handler)


def _batch_messages_like_lambda() -> None:
    """Event source mappings receive by BatchSize, window and payload size."""
    one_by_one = sqs._collect_msgs

    def collect(queue: Queue, limit: int, visibility_timeout: int) -> list[Message]:
        if queue["is_fifo"]:
            found: list[Message] = one_by_one(queue, limit, visibility_timeout)
            return found
        with sqs._queues_lock:
            now = time.time()
            taken: list[Message] = []
            for message in queue["messages"]:
                if len(taken) == limit:
                    break
                if message.get("visible_at", 0) <= now:
                    taken.append(message)
            _mark_received(taken, now, visibility_timeout)
            return taken

    def receive(queue_url: str, batch_size: int) -> list[Message]:
        with sqs._queues_lock:
            queue = sqs._get_q(queue_url)
            sqs._expire_retained(queue)
            sqs._dlq_sweep(queue)
            now = time.time()
            ready = [message for message in queue["messages"] if message.get("visible_at", 0) <= now]
            count = due_batch(ready, batch_size, _batching_window_s(queue_url), now)
            return collect(queue, count, int(queue["attributes"].get("VisibilityTimeout", "30")))

    sqs._collect_msgs = collect
    sqs._receive_messages_for_esm = receive


def due_batch(ready: list[Message], batch_size: int, window_s: float, now: float) -> int:
    """How many of the visible messages, oldest first, make the next batch; 0 while it may still grow.

    A batch is due when it is full, by count or by payload bytes, or when its oldest message has waited for
    the batching window (Lambda developer guide, "Batching behavior").
    """
    if not ready:
        return 0
    size = 0
    for count, message in enumerate(ready[:batch_size]):
        size += len(message["body"].encode()) + RECORD_OVERHEAD_BYTES
        if size > MAX_PAYLOAD_BYTES:
            return max(count, 1)
    if len(ready) >= batch_size:
        return batch_size
    waiting_since = min(max(m["sent_at"], m.get("visible_at", 0)) for m in ready)
    return len(ready) if now - waiting_since >= window_s else 0


def _batching_window_s(queue_url: str) -> float:
    name = queue_url.rsplit("/", 1)[-1]
    windows = (
        mapping.get("MaximumBatchingWindowInSeconds", 0)
        for _account, _region, mapping in lambda_svc._iter_all_esms()
        if mapping.get("EventSourceArn", "").rsplit(":", 1)[-1] == name
    )
    return float(max(windows, default=0))


def _mark_received(messages: list[Message], now: float, visibility_timeout: int) -> None:
    for message in messages:
        sqs._ensure_msg_fields(message)
        message["receipt_handle"] = sqs.new_uuid()
        message["visible_at"] = now + visibility_timeout
        message["receive_count"] += 1
        message["first_receive_at"] = message["first_receive_at"] or now


def _keep_exception_class() -> None:
    """A handler's exception reaches the caller under its own name, and the worker stays.

    The worker reports a failure by its text alone, and the pool then ends the worker. So the worker is made
    to answer "ok" with the exception described inside, which is taken out again on this side.
    """
    reported = 'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'
    described = (
        'json.dumps({"status": "ok", "result": {"__raised__": {"errorMessage": str(e), '
        '"errorType": type(e).__name__, "stackTrace": traceback.format_tb(e.__traceback__)}}})'
    )
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(reported) != 1:
        raise LocalStackError(
            f"emulator: expected one place in ministack's worker script that reports an exception, found "
            f"{script.count(reported)}; reinstall ministack {BRIDGED_VERSION}"
        )
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(reported, described)
    invoke = lambda_svc._execute_function_warm

    def invoke_keeping_class(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = invoke(function, event, request_id)
        body = answer.get("body")
        if not (isinstance(body, dict) and "__raised__" in body):
            return answer
        raised = body["__raised__"]
        trace = "".join(raised["stackTrace"]) + f"{raised['errorType']}: {raised['errorMessage']}"
        return {"body": raised, "error": True, "log": f"{answer.get('log', '')}\n{trace}"}

    lambda_svc._execute_function_warm = invoke_keeping_class


def _refuse_unknown_item_identifiers() -> None:
    """A partial batch answer that names no message of the batch fails the whole batch."""
    current_batch: ContextVar[frozenset[str] | None] = ContextVar("current_batch", default=None)
    run_batch, execute = lambda_svc._run_sqs_batch, lambda_svc._execute_function

    def run_checked(
        mapping: dict[str, Any], function: dict[str, Any], event: Any, batch: list[Message], *queue: str
    ) -> None:
        partial = "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", [])
        token = current_batch.set(frozenset(m["id"] for m in batch) if partial else None)
        try:
            run_batch(mapping, function, event, batch, *queue)
        finally:
            current_batch.reset(token)

    def execute_checked(function: dict[str, Any], event: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        answer: dict[str, Any] = execute(function, event, *args, **kwargs)
        identifiers = current_batch.get()
        if identifiers is None or answer.get("error"):
            return answer
        failed = failed_items(answer.get("body"), identifiers)
        if failed is None:
            body: dict[str, Any] = {
                "errorType": "InvalidBatchResponse",
                "errorMessage": "batchItemFailures cannot be read, or names no message of the batch",
            }
            return {"error": True, "body": body, "log": answer.get("log", "")}
        return answer | {"body": {"batchItemFailures": [{"itemIdentifier": item} for item in sorted(failed)]}}

    lambda_svc._run_sqs_batch = run_checked
    lambda_svc._execute_function = execute_checked


def _extract_embedded_metrics() -> None:
    """Log lines in the embedded metric format become metrics, at the time that they carry."""
    write_log = lambda_svc._emit_lambda_logs

    def write_log_and_metrics(function: Any, request_id: str, text: str, *args: Any, **kwargs: Any) -> None:
        write_log(function, request_id, text, *args, **kwargs)
        for datum in embedded_metrics(text):
            cloudwatch._store_datum(
                datum.namespace,
                datum.name,
                datum.dimensions,
                datum.time_s,
                datum.unit,
                None,
                datum.values,
                None,
                None,
            )

    lambda_svc._emit_lambda_logs = write_log_and_metrics


def _run_spark_jobs(runs: JobRuns) -> None:
    """``emr-serverless:startJobRun`` starts a job; with ``.sync`` the state waits for its end.

    An execution that ends meanwhile cancels it (Step Functions developer guide, "Run a job"). Of a run that
    failed the cause is JSON with its id and state.
    """
    execution: ContextVar[str] = ContextVar("execution", default="")
    walk = stepfunctions._run_execution

    def walk_known(arn: str) -> None:
        execution.set(arn)
        walk(arn)

    def start(resource: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            started = runs.start(request)
        except JobRefused as error:
            raise stepfunctions._ExecutionError("EMRServerless.ValidationException", str(error)) from None
        if not resource.endswith(".sync"):
            return _pascal(started)
        while (run := runs.get(started["jobRunId"]))["state"] not in ENDED:
            holder = stepfunctions._executions.get(execution.get())
            if holder is None or holder["status"] != "RUNNING":
                runs.cancel(run["jobRunId"])
            time.sleep(_JOB_LOOK_S)
        if run["state"] == "SUCCESS":
            return _pascal(run)
        cause = {"JobRunId": run["jobRunId"], "State": run["state"], "StateDetails": run["stateDetails"]}
        raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(cause))

    stepfunctions._run_execution = walk_known
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::emr-serverless:startJobRun"] = start


def _pascal(answer: dict[str, Any]) -> dict[str, Any]:
    return {name[0].upper() + name[1:]: value for name, value in answer.items()}


def _refuse_what_glue_refuses() -> None:
    """A table that breaks a limit of Glue is refused, whoever commits it."""

    def checked(operation: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def call(request: dict[str, Any]) -> Any:
            reason = refusal(operation, request)
            if reason is None:
                return handler(request)
            return glue.error_response_json("ValidationException", reason, 400)

        return call

    glue._create_table = checked("CreateTable", glue._create_table)
    glue._update_table = checked("UpdateTable", glue._update_table)


@dataclass(frozen=True)
class Datum:
    """A metric with its samples, ``time_s`` in seconds since 1970."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    time_s: float
    unit: str
    values: list[float]


def embedded_metrics(log: str) -> list[Datum]:
    """The metrics in a function's log (CloudWatch user guide, "Specification: Embedded metric format")."""
    data = []
    for line in log.splitlines():
        if '"_aws"' not in line:
            continue
        try:
            document = json.loads(line)
            directives = document["_aws"]["CloudWatchMetrics"]
        except (ValueError, KeyError, TypeError):
            continue  # another line that happens to hold these letters
        for directive in directives:
            for names in directive["Dimensions"]:
                dimensions = {name: str(document[name]) for name in names}
                for metric in directive["Metrics"]:
                    values = document[metric["Name"]]
                    data.append(
                        Datum(
                            directive["Namespace"],
                            metric["Name"],
                            dimensions,
                            document["_aws"]["Timestamp"] / 1000,
                            metric.get("Unit", "None"),
                            values if isinstance(values, list) else [values],
                        )
                    )
    return data


def failed_items(body: Any, identifiers: frozenset[str]) -> set[str] | None:
    """The messages that a handler with ReportBatchItemFailures gives back; None: the whole batch.

    An answer that cannot be read, or an identifier that is absent, empty or not of the batch, makes the
    whole batch a failure; no answer, or an empty list, is complete success (Lambda developer guide,
    "Implementing partial batch responses", success and failure conditions).
    """
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    if body is None:
        return set()
    failures = (body.get("batchItemFailures") or []) if isinstance(body, dict) else None
    if not isinstance(failures, list):
        return None
    failed: set[str] = set()
    for failure in failures:
        item = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(item, str) or item not in identifiers:
            return None
        failed.add(item)
    return failed
