"""Schedule → a run of the pipeline for every topic that has something to read."""

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from common.runtime import outside
from common.runtime.clients import LONGEST_CALL_S, client
from common.runtime.errors import ServiceFailure
from common.runtime.logs import logged, logger
from common.runtime.settings import DispatcherSettings
from common.runtime.topics import named, read_registry
from dispatcher.passing import Dispatcher

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A topic takes up to three calls: its lease's holder, the start, the note of it.
_A_TOPIC_MS: Final = 3_000 * LONGEST_CALL_S


@cache
def _settings() -> DispatcherSettings:
    return DispatcherSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("dispatcher")
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """``{topics: {resting: …}, started: {topic: execution}, waiting, backing_off, failed}``.

    ``time`` in the event (RFC 3339) stands for now. Raises ServiceFailure, after all others had their turn,
    for topics that a service kept it from; the same again is harmless.
    """
    settings = _settings()
    now = datetime.fromisoformat(event["time"]) if "time" in event else outside.now()
    dispatcher = Dispatcher(
        settings,
        _client("glue"),
        _client("dynamodb"),
        _client("stepfunctions"),
        go_on=lambda: context.get_remaining_time_in_millis() > _A_TOPIC_MS,
    )
    done = dispatcher.pass_over(read_registry(_client("s3"), settings.lake_bucket), int(now.timestamp()))
    answer = done.as_json()
    log = logger("dispatcher")
    (log.warning if done.waiting or done.failed else log.info)("topics dispatched", extra=answer)
    if done.failed:
        raise ServiceFailure(
            f"dispatcher: expected to look after every topic, found errors over {named(done.failed)} "
            f"({next(iter(done.failed.values()))}); the next pass tries again"
        )
    return answer
