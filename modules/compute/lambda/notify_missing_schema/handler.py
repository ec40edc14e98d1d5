"""State machine → a metric at every run, and one drift log entry, for a topic that has no contract yet."""

from functools import cache
from typing import TYPE_CHECKING, Any

from common.contract import drift
from common.runtime.clients import client
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import NoticeSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> NoticeSettings:
    return NoticeSettings.from_environment()


@cache
def _dynamodb() -> Any:
    return client("dynamodb")


@logged("notify_missing_schema")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, Any]:
    """``{topic, run_id}`` → ``{topic, first_notice}``; the entry is written once, not once a run."""
    settings = _settings()
    topic, run_id = event["topic"], event["run_id"]
    entry = drift.missing_contract(topic, run_id)
    first = drift.record(_dynamodb(), settings.drift_log_table, [entry]) > 0
    emit(settings.project, {"MissingContract": 1}, environment=settings.env, topic=topic)
    logger("notify_missing_schema").warning(
        "topic has no contract: it stops at Curated until contracts/<topic>.yaml is applied",
        extra={"first_notice": first},
    )
    return {"topic": topic, "first_notice": first}
