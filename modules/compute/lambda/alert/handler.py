"""Alarm topic → PagerDuty or Slack: what happened, how bad, which page of the runbook.

Where to is in the secret ``<project>-<env>-alert-endpoints``, a JSON object (see ``alert.channels.post``).
A channel whose value is absent is off, and each alarm for it says so in the log and in a metric.
"""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.exceptions import ClientError

from alert import channels, notice
from alert.sending import retries, send
from common.clients import client
from common.errors import InvalidInput
from common.logs import logged, logger
from common.metrics import emit
from common.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _settings() -> Settings:
    return Settings.from_environment()


@cache
def _secrets() -> Any:
    return client("secretsmanager")


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=retries())


@logged("alert")
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, int]:
    """``{sent, off}``: how many notices of an SNS event were sent, and for how many no channel is set."""
    settings = _settings()
    counts = {"sent": 0, "off": 0}
    for record in event["Records"]:
        told = notice.read(record, settings.name_prefix)
        facts = {"alarm": told.alarm, "raised": told.raised, "severity": told.severity}
        post = channels.post(told, _endpoints())
        if post is None:
            counts["off"] += 1
            logger("alert").warning(
                f"nobody was told: secret {settings.alert_secret_id} has no {channels.wanted(told)}",
                extra=facts,
            )
        else:
            send(_pool(), post)
            counts["sent"] += 1
            logger("alert").info("told", extra={**facts, "channel": post.channel})
    emit(
        settings.project,
        {"AlertsSent": counts["sent"], "AlertsOff": counts["off"]},
        environment=settings.env,
    )
    return counts


def _endpoints() -> dict[str, str]:
    """What the secret holds; nothing where it has no value yet. Read each time: alarms are rare."""
    name = _settings().alert_secret_id
    try:
        text = _secrets().get_secret_value(SecretId=name)["SecretString"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return {}
    try:
        endpoints = json.loads(text)
    except ValueError:
        endpoints = None
    if not isinstance(endpoints, dict) or not all(isinstance(value, str) for value in endpoints.values()):
        raise InvalidInput(
            f"secret {name}: expected a JSON object of texts with pagerduty_routing_key and "
            "slack_webhook_url, found something else; set it again (docs/deploy.md)"
        )
    return endpoints
