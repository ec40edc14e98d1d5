"""A notification of an alarm, as it comes from CloudWatch through SNS, in the words that people are told."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from common.errors import InvalidInput

# How bad it is, by the alarm topic that it came through (`topics` in modules/monitoring/catalogue.json).
SEVERITIES: Final = {"paging": "critical", "chat": "warning", "governance": "info"}

# Terraform ends every description with the page of the runbook.
_DESCRIPTION: Final = re.compile(r"(?P<what>.*?)\.? Runbook: (?P<runbook>\S+)", re.S)


@dataclass(frozen=True)
class Notice:
    """What happened. ``topic``: the alarm topic (a key of SEVERITIES). ``runbook``: the page, or empty.

    ``identity`` tells alarms of the same name in two accounts or regions apart.
    """

    topic: str
    alarm: str
    identity: str
    raised: bool
    what: str
    why: str
    runbook: str
    at: datetime

    @property
    def severity(self) -> str:
        """PagerDuty's word for how bad it is."""
        return SEVERITIES[self.topic]


def read(record: Mapping[str, Any], name_prefix: str) -> Notice:
    """The notice in one SNS record of a Lambda event; raises InvalidInput for anything but an alarm of ours.

    The fields are those of "CloudWatch alarm notification" JSON (Amazon SNS, AWS services as publishers).
    """
    sns = record["Sns"]
    topic = str(sns["TopicArn"]).rpartition(":")[2].removeprefix(f"{name_prefix}-")
    if topic not in SEVERITIES:
        raise InvalidInput(
            f"notification: expected it from a topic {name_prefix}-{{{', '.join(SEVERITIES)}}}, found "
            f"{sns['TopicArn']}; correct alarm_topics in modules/compute/functions.json"
        )
    try:
        alarm = json.loads(sns["Message"])
        description = alarm["AlarmDescription"] or ""
        described = _DESCRIPTION.fullmatch(description)
        return Notice(
            topic=topic,
            alarm=alarm["AlarmName"],
            identity=f"{alarm['AWSAccountId']}:{alarm['Region']}:{alarm['AlarmName']}",
            raised=alarm["NewStateValue"] == "ALARM",
            what=described["what"] if described else description or alarm["AlarmName"],
            why=alarm["NewStateReason"],
            runbook=described["runbook"] if described else "",
            at=datetime.fromisoformat(alarm["StateChangeTime"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"notification of {topic}: expected an alarm of CloudWatch (AlarmName, NewStateValue, …), found "
            f"{type(error).__name__} at {error}; publish to this topic with alarms only"
        ) from error
