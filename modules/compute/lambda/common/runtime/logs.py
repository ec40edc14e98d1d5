"""Logs: one JSON line an event worth knowing, the same shape in every function. Never a payload value.

Every line has ``level``, ``timestamp`` (RFC 3339, UTC), ``service`` (the function), ``message`` and
``location``. Within an invocation of a handler under ``logged`` it also has, where they apply:

| field            | what                                                         |
|------------------|--------------------------------------------------------------|
| `request_id`     | this invocation                                              |
| `correlation_id` | what belongs together: a run of the pipeline, else a request |
| `run_id`         | the execution of the state machine, by name                  |
| `topic`          | the topic that is worked on                                  |
| `batch`          | how many messages the invocation was given                   |

What else a line says are fields of its own. Queries over all of them ship with the dashboard
(``modules/monitoring/queries``). The ``correlation_id`` that an event carries is data: it is found in RAW.
"""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from aws_lambda_powertools import Logger

from common.runtime.foreign_errors import sorted_error

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_Answer = TypeVar("_Answer")


@cache
def logger(service: str) -> Logger:
    """The JSON logger of a function; ``POWERTOOLS_LOG_LEVEL`` sets the level."""
    return Logger(service=service, utc=True, use_rfc3339=True)


def logged(
    service: str,
) -> """Callable[
    [Callable[[dict[str, Any], LambdaContext], _Answer]], Callable[[dict[str, Any], LambdaContext], _Answer]
]""":
    """Decorate a handler: its lines carry the invocation's fields, and an error is one line before it rises.

    An error that is not of this project's tree is sorted into it first (``common.runtime.foreign_errors``):
    its message may quote a value, and Lambda writes the message of what rises to the log.
    """

    def decorate(
        handler: "Callable[[dict[str, Any], LambdaContext], _Answer]",
    ) -> "Callable[[dict[str, Any], LambdaContext], _Answer]":
        @wraps(handler)
        def invoke(event: dict[str, Any], context: "LambdaContext") -> _Answer:
            log = logger(service)
            log.structure_logs(append=False, **invocation_fields(event, context.aws_request_id))
            try:
                return handler(event, context)
            except Exception as error:
                known = sorted_error(error, " of topic ".join(filter(None, (service, event.get("topic")))))
                log.error("invocation failed", extra={"error": type(known).__name__, "detail": str(known)})  # noqa: TRY400 - a traceback would quote foreign messages
                raise known from None

        return invoke

    return decorate


def invocation_fields(event: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """The fields of an invocation: by the state machine (topic, run), the queue (a batch) or anyone else."""
    run_id = event.get("run_id") or str(event.get("execution_arn", "")).rpartition(":")[2]
    fields: dict[str, Any] = {"request_id": request_id, "correlation_id": run_id or request_id}
    if run_id:
        fields["run_id"] = run_id
    if "topic" in event:
        fields["topic"] = event["topic"]
    if "Records" in event:
        fields["batch"] = len(event["Records"])
    return fields
