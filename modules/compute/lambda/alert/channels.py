"""Where alarms go and what is written there: PagerDuty (Events API v2) and Slack (incoming webhook)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from alert.notice import Notice, State

PAGERDUTY: Final = "https://events.pagerduty.com/v2/enqueue"

# What the secret holds, by the alarm topic that needs it. Governance may have a webhook of its own.
_ENDPOINTS: Final = {
    "paging": ("pagerduty_routing_key",),
    "chat": ("slack_webhook_url",),
    "governance": ("governance_webhook_url", "slack_webhook_url"),
}
_MARKS: Final = {"critical": ":rotating_light:", "warning": ":warning:", "info": ":information_source:"}
# PagerDuty cuts longer ones off.
_LONGEST_SUMMARY: Final = 1024
_LONGEST_KEY: Final = 255
# Slack refuses longer ones (Block Kit, section block), PagerDuty events over 512 kB.
_LONGEST_SECTION: Final = 3_000
_NO_DATA: Final = "NO DATA"


@dataclass(frozen=True)
class Post:
    """One HTTPS request to make: a JSON document for a URL. ``channel`` names it without its key."""

    channel: str
    url: str
    document: Mapping[str, Any]


def post(notice: Notice, endpoints: Mapping[str, str]) -> Post | None:
    """What to send where; None when nobody has said where (``fields`` says what is missing).

    ``endpoints`` is what the secret holds: ``pagerduty_routing_key``, ``slack_webhook_url``, and optionally
    ``governance_webhook_url`` and ``pagerduty_url`` (another service region).
    """
    value = next((endpoints[name] for name in fields(notice) if endpoints.get(name)), None)
    if value is None:
        return None
    if notice.topic == "paging":
        return Post("PagerDuty", endpoints.get("pagerduty_url") or PAGERDUTY, pagerduty_event(notice, value))
    return Post("Slack", value, slack_message(notice))


def fields(notice: Notice) -> tuple[str, ...]:
    """Names of the secret's fields that may say where this notice goes; the last is the one to set."""
    return _ENDPOINTS[notice.topic]


def pagerduty_event(notice: Notice, routing_key: str) -> dict[str, Any]:
    """An event of PagerDuty's Events API v2: alarms that are over resolve, all others trigger.

    Both carry the alarm's identity as key, so that they meet in one incident. An alarm that has lost its data
    is not over: what it says goes to the incident that is open, or opens one.
    """
    over = notice.state is State.OVER
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if over else "trigger",
        "dedup_key": notice.identity[-_LONGEST_KEY:],
    }
    if not over:
        state = "" if notice.state is State.RAISED else f"{_NO_DATA.lower()}: "
        event["payload"] = {
            "summary": f"{notice.alarm}: {state}{notice.what}"[:_LONGEST_SUMMARY],
            "source": notice.alarm,
            "severity": notice.severity,
            "timestamp": notice.at.isoformat(),
            "custom_details": {"why": notice.why, "runbook": notice.runbook},
        }
        # PagerDuty takes absolute links only; a path of the repository stays in the details.
        if notice.runbook.startswith("https://"):
            event["links"] = [{"href": notice.runbook, "text": "Runbook"}]
    return event


def slack_message(notice: Notice) -> dict[str, Any]:
    """A message for a Slack webhook; ``text`` is what notifications show."""
    over = notice.state is State.OVER
    mark = ":white_check_mark:" if over else _MARKS[notice.severity]
    states = {State.RAISED: notice.severity.upper(), State.OVER: "OK again", State.UNKNOWN: _NO_DATA}
    state = states[notice.state]
    title = f"{mark} *{_plain(notice.alarm)}* {state}"
    lines = [title, _plain(notice.what)]
    if not over and notice.runbook:
        link = f"<{notice.runbook}|Runbook>" if "://" in notice.runbook else f"Runbook: {notice.runbook}"
        lines.append(link)
    if not over and notice.why:
        lines.append(f"_{_plain(notice.why)}_")
    return {
        "text": f"{notice.alarm}: {state}: {notice.what}",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)[:_LONGEST_SECTION]}}
        ],
    }


def _plain(text: str) -> str:
    """Text that Slack does not read as a link or a mention (Slack, "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
