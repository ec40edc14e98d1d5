"""Drill: Firehose is down for half an hour. Time is simulated; functions, queue and alarms are the real ones.

Every simulated minute a device batch is sent, sqs_processor takes what the mapping lets it take, its metrics
count for that minute, the alarms are judged by the catalogue, and the schedule wakes the circuit breaker.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.accounts.messages import Message
from lean_ops.environment.target import Target
from lean_ops.local import alarms
from lean_ops.local.bridges import embedded_metrics
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline
from lean_ops.operate.breaker import status
from lean_ops.simulate import sender
from lean_ops.simulate.history import History, Scenario

MINUTE = timedelta(minutes=1)
# Devices send this much in a simulated minute; none of it is broken, so that all of it must arrive.
MESSAGES = 40
OUTAGE_MINUTES = 30
# How long a failed message is hidden: six minutes on AWS. Here longer than a simulated minute takes on a busy
# machine, so that no message uses up two of its tries in one trial.
VISIBILITY_S = 60
# Real time that the function gets in a simulated minute, at most.
WORK_S = 20.0


class Gateway:
    """Stands before the Firehose stand-in; while ``down`` it answers 503, as a service in trouble does."""

    def __init__(self, behind: str) -> None:
        self.down = False
        gateway, host = self, urlsplit(behind).netloc

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if gateway.down:
                    status, answer = 503, b'{"__type":"ServiceUnavailableException"}'
                else:
                    connection = HTTPConnection(host, timeout=30)
                    connection.request("POST", self.path, body, dict(self.headers))
                    response = connection.getresponse()
                    status, answer = response.status, response.read()
                    connection.close()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Drill:
    """A stack, its clock, and what was seen of the breaker, minute by minute."""

    target: Target
    ledger: Ledger
    gateway: Gateway
    messages: Iterator[Message]
    now: datetime
    phases: list[str] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    _read: set[str] = field(default_factory=set)

    def minute(self, *, send: bool = True) -> None:
        """One simulated minute."""
        if send:
            url = self.target.queue_url(self.target.source_queue)
            with closing(self.target.queue_client()) as client:
                batch = islice(self.messages, MESSAGES)
                sender.send(batch, client, url, self.ledger.begin({"minute": str(self.now)}))
        self._let_the_function_work(expected=send)
        self._count_metrics()
        self.now += MINUTE
        # The alarms' notifications reach the breaker through SNS, the schedule by its own invocation.
        raised = [change for change in alarms.evaluate(self.target, self.now) if change.up]
        self._wake(raised)
        self.phases.append(self.phase)
        self.waiting.append(observation.in_flight(self.target))

    @property
    def phase(self) -> str:
        return status(self.target).record.breaker.phase.value

    def _let_the_function_work(self, *, expected: bool) -> None:
        """Until it has taken what is visible and has nothing more to say, or the minute is over.

        ``expected``: it has something to say, and on a busy machine takes its time to start.
        """
        client, url = self.target.client("sqs"), self.target.queue_url(self.target.source_queue)
        deadline, quiet, heard = time.monotonic() + WORK_S, 0, not expected
        while (
            status(self.target).mapping_state == "Enabled"
            and (quiet < 4 or not heard)
            and time.monotonic() < deadline
        ):
            time.sleep(0.1)
            visible = client.get_queue_attributes(
                QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
            )["Attributes"]["ApproximateNumberOfMessages"]
            said = self._count_metrics()
            heard = heard or said > 0
            quiet = 0 if said or visible != "0" else quiet + 1
        self._count_metrics()

    def _count_metrics(self) -> int:
        """What sqs_processor counted meanwhile counts for this simulated minute; how many metrics it was."""
        group = f"/aws/lambda/{self.target.function('sqs_processor')}"
        try:
            events = self.target.client("logs").filter_log_events(logGroupName=group)["events"]
        except ClientError:
            return 0  # it has not run yet
        # Every invocation writes a log stream of its own, all at once.
        new = {event["logStreamName"] for event in events} - self._read
        self._read |= new
        lines = [event["message"] for event in events if event["logStreamName"] in new]
        data = embedded_metrics("\n".join(lines))
        for datum in data:
            self.target.client("cloudwatch").put_metric_data(
                Namespace=datum.namespace,
                MetricData=[
                    {
                        "MetricName": datum.name,
                        "Dimensions": [{"Name": n, "Value": v} for n, v in datum.dimensions.items()],
                        "Timestamp": self.now,
                        "Values": datum.values,
                    }
                ],
            )
        return len(data)

    def _wake(self, raised: list[alarms.Change]) -> None:
        """The breaker hears of its own alarms, and the schedule invokes it."""
        events: list[dict[str, Any]] = [{"time": self.now.isoformat()}]
        for change in raised:
            if change.alarm.alarm.topic == "breaker":
                message = {"AlarmName": change.alarm.name, "NewStateValue": "ALARM"}
                sns = {"Timestamp": self.now.isoformat(), "Message": json.dumps(message)}
                events.insert(0, {"Records": [{"EventSource": "aws:sns", "Sns": sns}]})
        for event in events:
            answer = self.target.client("lambda").invoke(
                FunctionName=self.target.function("circuit_breaker"), Payload=json.dumps(event)
            )
            assert "FunctionError" not in answer, answer["Payload"].read()


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """Two good minutes, half an hour of outage, and minutes without it until the breaker is closed again."""
    folder = tmp_path_factory.mktemp("drill")
    stack = Stack(folder / "stack", tied_to_parent=True, wait_scale=0.01)
    stack.up()
    target = LocalTarget.running(stack.folder)
    gateway = Gateway(target.endpoints["firehose"])
    provision(target, Tuning(visibility_timeout_s=VISIBILITY_S, buffer_interval_s=1, batching_window_s=0))
    _go_through(gateway, target)
    _deliver_notifications_here(target)
    history = History(Scenario(events=4_000, days=1.0, broken_rate=0.0, end=datetime.now(UTC))).messages()
    # Ahead of the real clock, so that what the emulator counts by that clock is out of sight.
    begin = (datetime.now(UTC) + timedelta(hours=3)).replace(second=0, microsecond=0)
    drill = Drill(target, Ledger(folder / "ledger"), gateway, history, begin)
    for _ in range(2):
        drill.minute()
    gateway.down = True
    for _ in range(OUTAGE_MINUTES):
        drill.minute()
    gateway.down = False
    while drill.phase != "closed" and len(drill.phases) < 2 + OUTAGE_MINUTES + 45:
        drill.minute()
    assert observation.settle(target, timeout_s=300) == 0
    yield drill
    gateway.close()
    stack.down(wipe=True)


def _go_through(gateway: Gateway, target: Target) -> None:
    """Point sqs_processor at the gateway, without the SDK's own patience on top of its own."""
    client, name = target.client("lambda"), target.function("sqs_processor")
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    variables |= {"AWS_ENDPOINT_URL_FIREHOSE": gateway.url, "AWS_MAX_ATTEMPTS": "1"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def _deliver_notifications_here(target: Target) -> None:
    """SNS would stamp the breaker's notifications with real time: the drill delivers them itself."""
    client = target.client("sns")
    for subscription in client.list_subscriptions()["Subscriptions"]:
        if subscription["TopicArn"].endswith("-breaker"):
            client.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


def test_it_opens_within_two_minutes_of_failures(drill: Drill) -> None:
    assert drill.phases[:2] == ["closed", "closed"]
    assert drill.phases[2:5].count("open") >= 2
    assert drill.phases[3] == "open"


def test_while_it_is_open_messages_wait_in_the_queue(drill: Drill) -> None:
    outage = drill.waiting[3 : 2 + OUTAGE_MINUTES]
    assert outage == sorted(outage)
    assert outage[-1] - outage[0] == (len(outage) - 1) * MESSAGES


def test_it_tries_a_few_times_and_each_time_waits_longer(drill: Drill) -> None:
    outage = drill.phases[2 : 2 + OUTAGE_MINUTES]
    trials = [minute for minute, phase in enumerate(outage) if phase == "half-open"]
    assert 1 <= len(trials) <= 3
    gaps = [later - sooner for sooner, later in pairwise(trials)]
    assert gaps == sorted(gaps)


def test_it_heals_by_itself_and_gives_the_mapping_its_own_pace_back(drill: Drill) -> None:
    assert drill.phases[-1] == "closed"
    found = status(drill.target)
    assert found.mapping_state == "Enabled"
    assert (found.pace.batch_size, found.pace.batching_window_s) == (10_000, 0)
    assert not found.record.breaker.held


def test_nothing_good_is_in_the_dead_letter_queue(drill: Drill) -> None:
    assert observation.dead_letters(drill.target) == {}


def test_the_ledger_is_balanced_once_the_pipeline_has_run(drill: Drill) -> None:
    arn = pipeline.start(drill.target, "events")
    assert [visit.name for visit in pipeline.follow(drill.target, arn)][-1] == "FullPipelineSuccess"
    result = drill.ledger.reconcile(observation.observe(drill.target))
    assert result.balanced, [str(check) for check in result.differences]


def test_people_were_told(drill: Drill) -> None:
    history = drill.target.client("cloudwatch").describe_alarm_history(HistoryItemType="StateUpdate")
    names = {item["AlarmName"] for item in history["AlarmHistoryItems"]}
    assert {"lean-ops-local-message-error-rate", "lean-ops-local-breaker-open"} <= names
