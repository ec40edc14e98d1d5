"""A notification of an alarm, as it comes from CloudWatch through SNS, in the words that people are told.

A page always goes out: a notification that lacks a detail, or is none of CloudWatch's, becomes a notice with
what is known, which says what it lacks.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from common.runtime import outside
from common.runtime.errors import InvalidInput

# How bad it is, by the alarm topic that it came through (`topics` in modules/monitoring/catalogue.json).
SEVERITIES: Final = {"paging": "critical", "chat": "warning", "governance": "info"}

# Terraform ends every description with the page of the runbook.
_RUNBOOK: Final = " Runbook: "
# How the subject of a notification of AWS Budgets begins; its message is a letter, in words.
_BUDGETS: Final = "AWS Budgets"
_UNNAMED: Final = "an alarm without a name"
_LONGEST: Final = 2_000
_MENTION: Final = re.compile(r"\S+")


class State(StrEnum):
    """What became of the alarm. UNKNOWN: it has no data, so that nobody knows; it is not over by that."""

    RAISED = "ALARM"
    OVER = "OK"
    UNKNOWN = "INSUFFICIENT_DATA"


@dataclass(frozen=True)
class Notice:
    """What happened. ``topic``: the alarm topic (a key of SEVERITIES). ``runbook``: the page, or empty.

    ``identity`` tells alarms of the same name in two accounts or regions apart. ``unknown``: the details that
    the notification lacks.
    """

    topic: str
    alarm: str
    identity: str
    state: State
    what: str
    why: str
    runbook: str
    at: datetime
    unknown: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        """PagerDuty's word for how bad it is."""
        return SEVERITIES[self.topic]


def read(record: Mapping[str, Any], name_prefix: str) -> Notice:
    """The notice in one SNS record of a Lambda event; raises InvalidInput for a topic that nobody listens to.

    The fields are those of "CloudWatch alarm notification" JSON (Amazon SNS, AWS services as publishers).
    """
    sns = record["Sns"]
    topic_arn = str(sns["TopicArn"])
    topic = topic_arn.rpartition(":")[2].removeprefix(f"{name_prefix}-")
    if topic not in SEVERITIES:
        raise InvalidInput(
            f"notification: expected it from a topic {name_prefix}-{{{', '.join(SEVERITIES)}}}, found "
            f"{topic_arn}; correct alarm_topics in modules/compute/functions.json"
        )
    at = _moment(str(sns.get("Timestamp", "")))
    subject, message = str(sns.get("Subject") or "")[:_LONGEST], str(sns.get("Message", ""))
    if subject.startswith(_BUDGETS):
        return _of_a_budget(topic, subject, f"{topic_arn}:{subject}", message[:_LONGEST], at)
    details = _Details(message)
    alarm = details.text("AlarmName") or _UNNAMED
    identity = ":".join((details.text("AWSAccountId"), details.text("Region"), alarm))
    state = details.text("NewStateValue")
    description = details.text("AlarmDescription", optional=True)
    why = details.text("NewStateReason")
    at = _moment(details.text("StateChangeTime")) or at
    if details.unknown:
        why = f"{why} The notification lacks {', '.join(details.unknown)}.".lstrip()
    what, _, runbook = description.rpartition(_RUNBOOK)
    if not (what and _MENTION.fullmatch(runbook)):
        what, runbook = description, ""
    return Notice(
        topic=topic,
        alarm=alarm,
        identity=identity,
        # What has no state that is known was published because something is up.
        state=State(state) if state in set(State) else State.RAISED,
        what=(what.removesuffix(".") if runbook else what) or alarm,
        why=why,
        runbook=runbook,
        at=at or outside.now(),
        unknown=tuple(details.unknown),
    )


def _of_a_budget(topic: str, subject: str, identity: str, letter: str, at: datetime | None) -> Notice:
    """Its subject says which budget and that it is exceeded, its letter by what."""
    return Notice(
        topic=topic,
        alarm=subject,
        identity=identity,
        state=State.RAISED,
        what="The month costs, or will cost, more than its budget allows",
        why=letter,
        runbook="",
        at=at or outside.now(),
    )


class _Details:
    """The fields of a message; ``unknown`` gathers those that are asked for and are not there."""

    def __init__(self, message: str) -> None:
        try:
            fields = json.loads(message)
        except (ValueError, RecursionError):
            fields = None
        self._fields: Final[dict[str, Any]] = fields if isinstance(fields, dict) else {}
        self.unknown: Final[list[str]] = []

    def text(self, name: str, *, optional: bool = False) -> str:
        """The field as text, at most as long as people read; empty where there is none."""
        value = self._fields.get(name)
        if isinstance(value, str) and value:
            return value[:_LONGEST]
        if not optional:
            self.unknown.append(name)
        return ""


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
