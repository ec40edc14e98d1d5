"""Alarm topic → PagerDuty or Slack: what happened, how bad, which page of the runbook.

Where to is in the secret ``<project>-<env>-alert-endpoints``, a JSON object (see ``alert.channels.post``).
A channel whose value is absent is off, and each alarm for it says so in the log and in a metric.
"""

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from alert import channels, notice
from alert.notice import Notice, State
from alert.sending import send
from common.runtime.asking import Asker
from common.runtime.clients import client
from common.runtime.errors import InvalidInput, LeanOpsError
from common.runtime.logs import logged, logger
from common.runtime.metrics import emit
from common.runtime.settings import AlertSettings
from common.runtime.worst import listed, worst

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> AlertSettings:
    return AlertSettings.from_environment()


@cache
def _secrets() -> Any:
    return client("secretsmanager")


@cache
def _dynamodb() -> Any:
    return client("dynamodb")


@cache
def _asker() -> Asker:
    return Asker()


@logged("alert")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, int]:
    """``{sent, off}``: how many notices of an SNS event were sent, and for how many no channel is set.

    One that cannot be sent keeps no other from being sent; then its error rises.
    """
    settings = _settings()
    counts = {"sent": 0, "off": 0}
    failed: list[LeanOpsError] = []
    for record in event["Records"]:
        try:
            counts["sent" if _tell(record) else "off"] += 1
        except LeanOpsError as error:
            failed.append(error)
    emit(
        settings.project,
        {"AlertsSent": counts["sent"], "AlertsOff": counts["off"]},
        environment=settings.env,
    )
    if failed:
        raise failed[0]
    return counts


def _tell(record: dict[str, Any]) -> bool:
    """Whether somebody was told; False where no channel is set."""
    settings = _settings()
    told = _with_topics(notice.read(record, settings.name_prefix))
    facts = {"alarm": told.alarm, "state": told.state.value, "severity": told.severity}
    if told.unknown:
        logger("alert").error("a notification lacks details", extra={**facts, "missing": told.unknown})
    needed = channels.fields(told)
    post = channels.post(told, _endpoints(needed))
    if post is None:
        logger("alert").warning(
            f"nobody was told: secret {settings.alert_secret_id} has no {needed[-1]}", extra=facts
        )
        return False
    send(_asker(), post)
    logger("alert").info("told", extra={**facts, "channel": post.channel})
    return True


def _with_topics(told: Notice) -> Notice:
    """The notice with the topics that it is about, where they are known; it goes out without them too."""
    if told.state is not State.RAISED:
        return told
    settings = _settings()
    alarm = told.alarm.removeprefix(f"{settings.name_prefix}-")
    try:
        topics = worst(_dynamodb(), settings.checkpoints_table, alarm, told.at)
    except (ClientError, BotoCoreError) as error:
        logger("alert").error(
            "topics of an alarm are unknown", extra={"alarm": told.alarm, "error": type(error).__name__}
        )
        return told
    if not topics:
        return told
    return replace(told, why=f"{told.why} Topics, the worst first: {listed(topics)}.".lstrip())


def _endpoints(needed: tuple[str, ...]) -> dict[str, str]:
    """What the secret holds; nothing where it has no value yet. Read each time: alarms are rare.

    What is wrong with another channel's value keeps no message from going out by one that is ``needed``.
    """
    name = _settings().alert_secret_id
    try:
        text = _secrets().get_secret_value(SecretId=name)["SecretString"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return {}
    try:
        endpoints = json.loads(text)
    except (ValueError, RecursionError):
        endpoints = None
    fields = endpoints if isinstance(endpoints, dict) else {}
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    wrong = any(name in fields and name not in texts for name in needed)
    if not isinstance(endpoints, dict) or (wrong and not any(texts.get(name) for name in needed)):
        raise InvalidInput(
            f"secret {name}: expected a JSON object of texts with pagerduty_routing_key and "
            "slack_webhook_url, found something else; set it again (docs/deploy.md)"
        )
    return texts
