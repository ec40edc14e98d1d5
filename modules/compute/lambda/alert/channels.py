"""Where alarms go and what is written there: PagerDuty (Events API v2) and Slack (incoming webhook)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from alert.notice import Notice

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


@dataclass(frozen=True)
class Post:
    """One HTTPS request to make: a JSON document for a URL. ``channel`` names it without its key."""

    channel: str
    url: str
    document: Mapping[str, Any]


def post(notice: Notice, endpoints: Mapping[str, str]) -> Post | None:
    """What to send where; None when nobody has said where (``wanted`` says what is missing).

    ``endpoints`` is what the secret holds: ``pagerduty_routing_key``, ``slack_webhook_url``, and optionally
    ``governance_webhook_url`` and ``pagerduty_url`` (another service region).
    """
    value = next((endpoints[name] for name in _ENDPOINTS[notice.topic] if endpoints.get(name)), None)
    if value is None:
        return None
    if notice.topic == "paging":
        return Post("PagerDuty", endpoints.get("pagerduty_url", PAGERDUTY), pagerduty_event(notice, value))
    return Post("Slack", value, slack_message(notice))


def wanted(notice: Notice) -> str:
    """Name of the secret's field that says where this notice goes."""
    return _ENDPOINTS[notice.topic][-1]


def pagerduty_event(notice: Notice, routing_key: str) -> dict[str, Any]:
    """An event of PagerDuty's Events API v2: raised alarms trigger, alarms that are over resolve.

    Both carry the alarm's identity as key, so that they meet in one incident.
    """
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if notice.raised else "resolve",
        "dedup_key": notice.identity[-_LONGEST_KEY:],
    }
    if notice.raised:
        event["payload"] = {
            "summary": f"{notice.alarm}: {notice.what}"[:_LONGEST_SUMMARY],
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
    mark = _MARKS[notice.severity] if notice.raised else ":white_check_mark:"
    state = notice.severity.upper() if notice.raised else "OK again"
    title = f"{mark} *{_plain(notice.alarm)}* {state}"
    lines = [title, _plain(notice.what)]
    if notice.raised:
        link = f"<{notice.runbook}|Runbook>" if "://" in notice.runbook else f"Runbook: {notice.runbook}"
        lines += [f"_{_plain(notice.why)}_", link]
    return {
        "text": f"{notice.alarm}: {state}: {notice.what}",
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}],
    }


def _plain(text: str) -> str:
    """Text that Slack does not read as a link or a mention (Slack, "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
