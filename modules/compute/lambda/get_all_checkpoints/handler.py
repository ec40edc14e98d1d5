"""State machine → lease, snapshots and checkpoints of one topic, in one call.

The lease comes first: until it is held, an operator may hold the topic, roll a table back and lift the hold
again, and what was looked up before would send the run past rows that the table has lost.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from common.lake.catalog import lake_catalog
from common.lake.checkpoints import forget_damaged
from common.layers.lease import acquire
from common.runtime.clients import client
from common.runtime.logs import logged, logger
from common.runtime.settings import CheckpointsSettings
from common.runtime.topics import read_registry
from get_all_checkpoints.lookup import check_topic, look_up

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> CheckpointsSettings:
    return CheckpointsSettings.from_environment()


@cache
def _client(service: str) -> Any:
    return client(service)


@logged("get_all_checkpoints")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, Any]:
    """``{topic, execution_arn, continued_from, engine}`` → ``{lease: held|busy, …}``.

    The rest is said by ``lookup.Checkpoints``.
    """
    settings = _settings()
    dynamodb = _client("dynamodb")
    check_topic(event["topic"], read_registry(_client("s3"), settings.lake_bucket))
    held = acquire(
        dynamodb,
        _client("stepfunctions"),
        table=settings.checkpoints_table,
        topic=event["topic"],
        execution_arn=event["execution_arn"],
        continued_from=event["continued_from"],
    )
    for layer in ("curated", "semantic"):
        if damaged := forget_damaged(dynamodb, settings.checkpoints_table, event["topic"], layer):
            logger("get_all_checkpoints").error(damaged)
    checkpoints = look_up(
        event["topic"],
        settings=settings,
        catalog=lake_catalog(),
        dynamodb=dynamodb,
        s3=_client("s3"),
        # An execution that began before its definition knew of engines does not say.
        engine=event.get("engine", "auto"),
        held=held,
    )
    answer = {"lease": "held" if held else "busy", **checkpoints.as_json()}
    logger("get_all_checkpoints").info("checkpoints", extra=answer)
    return answer
