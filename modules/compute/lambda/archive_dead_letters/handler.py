"""Schedule → a copy of every dead letter in the lake bucket, before SQS deletes it.

The schedule (functions.json) is a compromise of two limits. A dead letter lives 14 days from when it was
first sent, of which it may have spent 4 in the source queue: it must be copied within 10 days. And every
pass is one receive; at the third a message leaves the queue's age metric, which alarms after 7 days: only
one pass may be due in 7 days beside those of an operator. Every 5 days keeps both,
even where one pass fails.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from archive_dead_letters.archive import archive
from common.runtime import outside
from common.runtime.clients import client
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import ArchiveSettings

# Damaged lines that a log line names; all of them are counted.
_NAMED = 20

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> ArchiveSettings:
    return ArchiveSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("archive_dead_letters")
def handler(_event: dict[str, Any], context: "LambdaContext") -> dict[str, int | bool | float]:
    """→ ``{written, known, objects, complete, damaged, seconds}``; the event is not looked at."""
    settings = _settings()
    started = outside.monotonic()
    done = archive(
        _client("sqs"),
        _client("s3"),
        settings.dead_letter_queue_url,
        settings.lake_bucket,
        now=outside.now(),
        time_left_s=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    answer: dict[str, int | bool | float] = {
        "written": done.written,
        "known": done.known,
        "objects": done.objects,
        "complete": done.complete,
        "damaged": len(done.damaged),
        "seconds": round(outside.monotonic() - started, 1),
    }
    log = logger("archive_dead_letters")
    (log.info if done.complete else log.warning)("dead letters archived", extra=answer)
    if done.damaged:
        log.error("the archive has lines that cannot be read", extra={"places": done.damaged[:_NAMED]})
    emit(
        settings.project,
        {
            "DeadLettersArchived": done.written,
            # A queue longer than one pass sees: run it again, as often as it takes.
            "IncompleteArchivePasses": not done.complete,
            "DamagedArchiveLines": len(done.damaged),
        },
        environment=settings.env,
    )
    return answer
