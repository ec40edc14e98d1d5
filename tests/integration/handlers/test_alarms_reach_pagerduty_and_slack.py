"""Alarms become messages in PagerDuty and Slack, held against a real HTTP server that can misbehave."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alert import handler as function
from alert.sending import AlertRefused, AlertUndelivered
from common.runtime.asking import Asker
from common.runtime.errors import InvalidInput
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import AlertSettings
from lean_ops.environment.alarm_catalogue import load

from ...support.generated import cases

SETTINGS = AlertSettings.from_environment(
    {
        "LEAN_OPS_PROJECT": "lean-ops",
        "LEAN_OPS_ENV": "test",
        "LEAN_OPS_ALERT_SECRET_ID": "lean-ops-test-alert-endpoints",
        "LEAN_OPS_CHECKPOINTS_TABLE": "checkpoints",
    }
)
CONTEXT = cast("Any", SimpleNamespace(aws_request_id="r"))
KEY = "R0UT1NGKEY"


class Channel:
    """A server that answers with the scripted statuses, then with success, and keeps what it was sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.body = b"ok"
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                channel.received.append((self.path, json.loads(body)))
                status = channel.statuses.pop(0) if channel.statuses else 202
                if status == 0:  # the connection closes without an answer
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in channel.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(channel.body)))
                self.end_headers()
                with suppress(ConnectionError):  # who does not read on may go
                    self.wfile.write(channel.body)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Secret:
    """Secrets Manager with one secret, or none."""

    def __init__(self, value: str | None) -> None:
        self.value = value
        self.notes: dict[str, Any] | Exception = {}

    def get_item(self, *, TableName: str, Key: dict[str, dict[str, str]]) -> dict[str, Any]:
        """Which topics an alarm is about: a note of DynamoDB, beside the secret."""
        if isinstance(self.notes, Exception):
            raise self.notes
        assert TableName == "checkpoints"
        return {"Item": self.notes} if Key["checkpoint_id"]["S"] == "worst#curated-behind" else {}

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        assert SecretId == SETTINGS.alert_secret_id
        if self.value is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "call")
        return {"SecretString": self.value}


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.close()


@pytest.fixture
def secret(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> Secret:
    """A secret that names the local server for everything."""
    secret = Secret(
        json.dumps(
            {
                "pagerduty_routing_key": KEY,
                "pagerduty_url": f"{channel.url}/v2/enqueue",
                "slack_webhook_url": f"{channel.url}/services/T0/B0/hook",
            }
        )
    )
    monkeypatch.setattr(function, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(function, "_secrets", lambda: secret)
    monkeypatch.setattr(function, "_dynamodb", lambda: secret)
    asker = Asker(retry=RetryPolicy(base_s=0.001))
    monkeypatch.setattr(function, "_asker", lambda: asker)
    return secret


def notification(topic: str, alarm: str, state: str = "ALARM", **changes: Any) -> dict[str, Any]:
    """An SNS event with CloudWatch's message, as "Amazon SNS, example alarm notification" shows it."""
    name = f"lean-ops-test-{alarm}"
    message = {
        "AlarmName": name,
        "AlarmDescription": f"{load().alarms[alarm].description}. Runbook: https://example.com/runbook#{alarm}",
        "AWSAccountId": "000000000000",
        "AlarmConfigurationUpdatedTimestamp": "2026-03-01T10:00:00.000+0000",
        "NewStateValue": state,
        "NewStateReason": "Threshold Crossed: 1 datapoint [7.0] was greater than the threshold (6.0).",
        "StateChangeTime": "2026-03-01T12:00:00.123+0000",
        "Region": "EU (Ireland)",
        "AlarmArn": f"arn:aws:cloudwatch:eu-west-1:000000000000:alarm:{name}",
        "OldStateValue": "OK" if state == "ALARM" else "ALARM",
        **changes,
    }
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "Sns": {
                    "TopicArn": f"arn:aws:sns:eu-west-1:000000000000:lean-ops-test-{topic}",
                    "Timestamp": "2026-03-01T12:00:01.000Z",
                    "Message": json.dumps(message),
                },
            }
        ]
    }


@pytest.mark.usefixtures("secret")
def test_a_page_says_what_happened_how_bad_and_which_page_of_the_runbook(channel: Channel) -> None:
    assert function.handler(notification("paging", "dead-letter-age"), CONTEXT) == {"sent": 1, "off": 0}
    ((path, event),) = channel.received
    assert path == "/v2/enqueue"
    assert event["routing_key"] == KEY
    assert event["event_action"] == "trigger"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["summary"].startswith("lean-ops-test-dead-letter-age: A dead letter waits")
    assert "Runbook" not in event["payload"]["summary"]
    assert event["payload"]["timestamp"] == "2026-03-01T12:00:00.123000+00:00"
    assert event["payload"]["custom_details"]["why"].startswith("Threshold Crossed")
    assert event["links"] == [{"href": "https://example.com/runbook#dead-letter-age", "text": "Runbook"}]


@pytest.mark.usefixtures("secret")
def test_an_alarm_that_is_over_resolves_its_own_incident(channel: Channel) -> None:
    function.handler(notification("paging", "queue-age"), CONTEXT)
    function.handler(notification("paging", "queue-age", "OK"), CONTEXT)
    (_, raised), (_, over) = channel.received
    assert over["event_action"] == "resolve"
    assert raised["dedup_key"] == over["dedup_key"]
    assert "payload" not in over


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(("topic", "word"), [("chat", "WARNING"), ("governance", "INFO")])
def test_chat_and_governance_read_it_in_slack(channel: Channel, topic: str, word: str) -> None:
    alarm = "pipeline-failed" if topic == "chat" else "schema-drift"
    function.handler(notification(topic, alarm), CONTEXT)
    function.handler(notification(topic, alarm, "OK"), CONTEXT)
    (path, raised), (_, over) = channel.received
    assert path == "/services/T0/B0/hook"
    text = raised["blocks"][0]["text"]["text"]
    assert f"*lean-ops-test-{alarm}* {word}" in text
    assert f"<https://example.com/runbook#{alarm}|Runbook>" in text
    assert "OK again" in over["text"]
    assert "Runbook" not in over["blocks"][0]["text"]["text"]


@pytest.mark.usefixtures("secret")
def test_a_budget_says_which_and_by_how_much(channel: Channel) -> None:
    """AWS Budgets writes a letter, no JSON."""
    event = notification("chat", "pipeline-failed")
    event["Records"][0]["Sns"] |= {
        "Subject": "AWS Budgets: lean-ops-test-month has exceeded your alert threshold",
        "Message": "Dear AWS Customer,\n\nActual Cost: $41.20, Alert Threshold: > $40.00",
    }
    function.handler(event, CONTEXT)
    ((_, told),) = channel.received
    text = told["blocks"][0]["text"]["text"]
    assert "lean-ops-test-month has exceeded your alert threshold* WARNING" in text
    assert "$41.20" in json.dumps(told)
    assert "lacks" not in json.dumps(told)


def test_governance_may_have_a_webhook_of_its_own(channel: Channel, secret: Secret) -> None:
    endpoints = json.loads(str(secret.value)) | {"governance_webhook_url": f"{channel.url}/governance"}
    secret.value = json.dumps(endpoints)
    function.handler(notification("governance", "schema-drift"), CONTEXT)
    assert channel.received[0][0] == "/governance"


@pytest.mark.usefixtures("secret")
def test_what_an_alarm_says_cannot_mention_anyone_or_forge_a_link(channel: Channel) -> None:
    forged = "<!channel> <https://evil.example|click> & more"
    function.handler(notification("chat", "pipeline-failed", NewStateReason=forged), CONTEXT)
    text = channel.received[0][1]["blocks"][0]["text"]["text"]
    assert "<!channel>" not in text
    assert "&lt;https://evil.example|click&gt; &amp; more" in text


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("statuses", [[503], [429, 500, 502], [0, 503]])
def test_trouble_that_passes_is_waited_for(channel: Channel, statuses: list[int]) -> None:
    channel.statuses = list(statuses)
    assert function.handler(notification("chat", "pipeline-failed"), CONTEXT)["sent"] == 1
    assert len(channel.received) == len(statuses) + 1
    assert all(message == channel.received[0] for message in channel.received)


@pytest.mark.usefixtures("secret")
def test_trouble_that_stays_is_an_error_for_lambda_to_try_again(channel: Channel) -> None:
    channel.statuses = [503] * 20
    with pytest.raises(AlertUndelivered, match="503 every time") as failed:
        function.handler(notification("paging", "queue-age"), CONTEXT)
    assert len(channel.received) == 4
    assert KEY not in str(failed.value)


def test_nobody_there_is_an_error_that_shows_no_key(secret: Secret, channel: Channel) -> None:
    channel.close()
    secret.value = json.dumps({"slack_webhook_url": f"{channel.url}/services/T0/B0/hook"})
    with pytest.raises(AlertUndelivered) as failed:
        function.handler(notification("chat", "pipeline-failed"), CONTEXT)
    assert "hook" not in str(failed.value)
    assert failed.value.__suppress_context__


@pytest.mark.usefixtures("secret")
def test_a_wrong_key_is_not_tried_again_and_says_where_to_look(channel: Channel) -> None:
    channel.statuses = [403]
    with pytest.raises(AlertRefused, match=r"403.*alert-endpoints"):
        function.handler(notification("chat", "pipeline-failed"), CONTEXT)
    assert len(channel.received) == 1


@pytest.mark.parametrize("value", [None, "{}", '{"slack_webhook_url": ""}'])
def test_where_nothing_is_configured_it_is_off_and_says_so(
    secret: Secret, channel: Channel, capsys: pytest.CaptureFixture[str], value: str | None
) -> None:
    secret.value = value
    assert function.handler(notification("chat", "pipeline-failed"), CONTEXT) == {"sent": 0, "off": 1}
    assert channel.received == []
    assert '"AlertsOff":[1' in capsys.readouterr().out.replace(" ", "")


@pytest.mark.parametrize("value", ["not json", "[]", "[" * 5_000, '{"slack_webhook_url": 1}'])
def test_a_secret_that_cannot_be_read_is_said_without_showing_it(secret: Secret, value: str) -> None:
    secret.value = value
    with pytest.raises(InvalidInput, match="expected a JSON object of texts") as failed:
        function.handler(notification("chat", "pipeline-failed"), CONTEXT)
    assert value not in str(failed.value)


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    "message", ["", "hello", "[]", "{}", "[" * 5_000, '{"AlarmName": 7, "NewStateValue": []}']
)
@pytest.mark.parametrize("topic", ["paging", "chat", "governance"])
def test_what_is_hardly_an_alarm_goes_out_all_the_same_and_says_what_it_lacks(
    channel: Channel, topic: str, message: str
) -> None:
    event = notification(topic, "queue-age")
    event["Records"][0]["Sns"]["Message"] = message
    assert function.handler(event, CONTEXT) == {"sent": 1, "off": 0}
    ((_, document),) = channel.received
    text = json.dumps(document)
    assert "an alarm without a name" in text
    assert "The notification lacks AlarmName, AWSAccountId, Region, NewStateValue" in text
    if topic == "paging":
        assert document["event_action"] == "trigger"
        assert document["payload"]["timestamp"] == "2026-03-01T12:00:01+00:00"


@pytest.mark.usefixtures("secret")
@settings(
    max_examples=cases(40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                "AlarmName",
                "AlarmDescription",
                "AWSAccountId",
                "NewStateValue",
                "NewStateReason",
                "StateChangeTime",
                "Region",
            ]
        ),
        st.none()
        | st.integers()
        | st.text(max_size=40)
        | st.just("x" * 100_000)
        | st.lists(st.none(), max_size=2),
    ),
    topic=st.sampled_from(["paging", "chat"]),
)
def test_a_page_goes_out_whatever_a_notification_lacks_or_has_too_much_of(
    channel: Channel, changes: dict[str, Any], topic: str
) -> None:
    channel.received.clear()
    event = notification(topic, "queue-age", **changes)
    assert function.handler(event, CONTEXT)["sent"] == 1
    ((_, document),) = channel.received
    assert len(json.dumps(document)) < 100_000
    if topic == "chat":
        assert len(document["blocks"][0]["text"]["text"]) <= 3_000


@pytest.mark.usefixtures("secret")
def test_an_alarm_without_data_is_not_over(channel: Channel) -> None:
    for topic in ("paging", "chat"):
        function.handler(notification(topic, "queue-age", "INSUFFICIENT_DATA"), CONTEXT)
    (_, page), (_, message) = channel.received
    assert page["event_action"] == "trigger"
    assert "no data" in page["payload"]["summary"]
    assert "NO DATA" in message["text"]
    assert "OK again" not in json.dumps(message)


@pytest.mark.usefixtures("secret")
def test_a_channel_that_asks_to_come_back_in_an_hour_is_left_to_lambda(channel: Channel) -> None:
    channel.statuses, channel.headers = [429] * 9, {"Retry-After": "3600"}
    with pytest.raises(AlertUndelivered, match=r"429.*Lambda tries again"):
        function.handler(notification("paging", "queue-age"), CONTEXT)
    assert len(channel.received) == 1


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("later", ["soon", "-5", "Wed, 21 Oct 2099 07:28:00 GMT", "٣"])
def test_a_time_to_come_back_that_is_none_is_as_good_as_none(channel: Channel, later: str) -> None:
    channel.statuses, channel.headers = [503], {"Retry-After": later.encode().decode("latin-1")}
    assert function.handler(notification("paging", "queue-age"), CONTEXT)["sent"] == 1


def test_an_answer_without_an_end_is_not_read_and_a_key_that_is_echoed_is_not_said(
    channel: Channel, secret: Secret
) -> None:
    key = "AbCdEfGhJk"
    secret.value = json.dumps({"slack_webhook_url": f"{channel.url}/services/T0/B0/{key}"})
    channel.statuses = [404]
    channel.body = f'no_service at "/services/T0/B0/{key}" or {key.upper()}: '.encode() + b"x" * 300_000_000
    with pytest.raises(AlertRefused, match="no_service") as failed:
        function.handler(notification("chat", "pipeline-failed"), CONTEXT)
    assert key.lower() not in str(failed.value).lower()
    assert len(str(failed.value)) < 500


@pytest.mark.usefixtures("secret")
def test_a_page_of_a_proxy_is_not_taken_for_success(channel: Channel) -> None:
    channel.statuses, channel.body = [200], b"\r\n<!DOCTYPE html><html>Sign in</html>"
    with pytest.raises(AlertUndelivered, match="web page"):
        function.handler(notification("paging", "queue-age"), CONTEXT)


def test_a_wrong_value_of_another_channel_keeps_no_page_back(channel: Channel, secret: Secret) -> None:
    secret.value = json.dumps({**json.loads(str(secret.value)), "slack_webhook_url": 7, "more": None})
    assert function.handler(notification("paging", "queue-age"), CONTEXT)["sent"] == 1
    assert len(channel.received) == 1


@pytest.mark.usefixtures("secret")
def test_a_notice_that_cannot_be_sent_keeps_no_other_back(channel: Channel) -> None:
    event = notification("breaker", "message-error-rate")
    event["Records"] += notification("paging", "queue-age")["Records"]
    with pytest.raises(InvalidInput, match="alarm_topics"):
        function.handler(event, CONTEXT)
    assert len(channel.received) == 1


def _noted(hours_ago: float, value: float) -> dict[str, Any]:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC) - timedelta(hours=hours_ago)
    return {"L": [{"N": str(value)}, {"N": str(int(at.timestamp()))}]}


def test_a_notice_names_the_topics_that_its_alarm_is_about(channel: Channel, secret: Secret) -> None:
    secret.notes = {
        "topic weather": _noted(0.1, 9000),
        "topic events": _noted(0.2, 3000),
        "topic old": _noted(9, 99999),
        "topic damaged": {"S": "?"},
        "checkpoint_id": {"S": "worst#curated-behind"},
    }
    assert function.handler(notification("chat", "curated-behind"), CONTEXT)["sent"] == 1
    assert "Topics, the worst first: weather, events." in json.dumps(channel.received)
    assert function.handler(notification("chat", "semantic-behind"), CONTEXT)["sent"] == 1
    assert "Topics, the worst first" not in json.dumps(channel.received[1:])


def test_a_notice_goes_out_without_its_topics_where_nobody_knows_them(
    channel: Channel, secret: Secret
) -> None:
    secret.notes = ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "GetItem")
    assert function.handler(notification("chat", "curated-behind"), CONTEXT)["sent"] == 1
    assert "Topics, the worst first" not in json.dumps(channel.received)


@pytest.mark.usefixtures("secret")
def test_a_topic_that_nobody_listens_for_is_refused(channel: Channel) -> None:
    with pytest.raises(InvalidInput, match="alarm_topics"):
        function.handler(notification("breaker", "message-error-rate"), CONTEXT)
    assert channel.received == []


def test_severities_are_those_of_the_catalogue() -> None:
    from alert.notice import SEVERITIES

    topics = load().topics
    assert {name: topics[name].severity for name in SEVERITIES} == SEVERITIES
    assert topics.keys() - SEVERITIES == {"breaker"}
