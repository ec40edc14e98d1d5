"""Whatever share of records Firehose refuses, each message has one fate: delivered, rejected or retried."""

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from common.intake.delivery import deliver
from common.intake.events import EventParser
from common.runtime.batching import PUT_RECORDS, batches
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SqsProcessorSettings
from sqs_processor.batch import BatchOutcome, process

SETTINGS = SqsProcessorSettings("lean-ops", "test", "queue", "lake")
TOPICS = frozenset({"events", "weather"})
PARSER = EventParser(TOPICS)
NO_WAIT = RetryPolicy(attempts=3, sleep=lambda _s: None)


class Firehose:
    """Accepts, refuses (per record, by a seeded draw) or fails whole calls; remembers what it accepted."""

    def __init__(self, failure_rate: float = 0.0, errors: tuple[Exception, ...] = (), seed: int = 1) -> None:
        self.accepted: list[bytes] = []
        self.calls: list[int] = []
        self._rate, self._errors, self._draw = failure_rate, list(errors), random.Random(seed)

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        assert DeliveryStreamName.startswith("lean-ops-test-")
        assert len(Records) <= 500
        assert sum(len(r["Data"]) for r in Records) <= PUT_RECORDS.bytes
        self.calls.append(len(Records))
        if self._errors:
            raise self._errors.pop(0)
        replies: list[dict[str, str]] = []
        for entry in Records:
            if self._draw.random() < self._rate:
                replies.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            else:
                self.accepted.append(entry["Data"])
                replies.append({"RecordId": "r"})
        return {"FailedPutCount": sum("ErrorCode" in r for r in replies), "RequestResponses": replies}


class Queue:
    """Takes dead letters; refuses every ``refuse_every``-th."""

    def __init__(self, refuse_every: int = 0) -> None:
        self.bodies: list[str] = []
        self.attributes: list[dict[str, Any]] = []
        self._refuse_every, self._seen = refuse_every, 0

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        failed = []
        for entry in Entries:
            self._seen += 1
            if self._refuse_every and self._seen % self._refuse_every == 0:
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
            else:
                self.bodies.append(entry["MessageBody"])
                self.attributes.append(entry["MessageAttributes"])
        refused = {entry["Id"] for entry in failed}
        taken = [{"Id": entry["Id"]} for entry in Entries if entry["Id"] not in refused]
        return {"Failed": failed, "Successful": taken}


def sqs_record(number: int, body: str) -> dict[str, Any]:
    attributes = {"SentTimestamp": "1780000000000", "ApproximateFirstReceiveTimestamp": "1780000000500"}
    return {"messageId": f"sqs-{number}", "body": body, "attributes": attributes, "messageAttributes": {}}


def good(number: int, topic: str = "events") -> dict[str, Any]:
    return sqs_record(
        number,
        f'{{"message_id":"m{number}","idempotency_key":"k{number}","topic_name":"{topic}",'
        f'"publish_time":"2026-05-28T10:00:00Z","payload":{{"n":{number}}}}}',
    )


def run(
    messages: list[dict[str, Any]],
    firehose: Firehose,
    queue: Queue,
    seconds: float = 60,
    parser: EventParser = PARSER,
) -> BatchOutcome:
    return process(
        messages,
        settings=SETTINGS,
        parser=parser,
        firehose=firehose,  # type: ignore[arg-type] # the one method that is called
        sqs=queue,  # type: ignore[arg-type]
        retry=NO_WAIT,
        time_left_s=lambda: seconds,
    )


def accepted_numbers(firehose: Firehose) -> list[int]:
    return [int(data.split(b'"message_id":"m')[1].split(b'"')[0]) for data in firehose.accepted]


@pytest.mark.parametrize("percent", [0, 10, 50, 90, 100])
@pytest.mark.parametrize("seed", range(5))
def test_under_partial_failures_every_message_has_exactly_one_fate(percent: int, seed: int) -> None:
    draw = random.Random(seed)
    messages = [
        sqs_record(i, "broken") if draw.random() < 0.1 else good(i, draw.choice(["events", "weather"]))
        for i in range(1_300)
    ]
    firehose, queue = Firehose(percent / 100, seed=seed), Queue(refuse_every=7)
    outcome = run(messages, firehose, queue)
    delivered = [f"sqs-{n}" for n in accepted_numbers(firehose)]
    dead = [a["source_message_id"]["StringValue"] for a in queue.attributes]
    assert sorted([*delivered, *dead, *outcome.retry]) == sorted(m["messageId"] for m in messages)
    assert sum(minutes.total() for minutes in outcome.delivered.values()) == len(delivered)
    assert sum(outcome.rejected.values()) == len(dead)


def test_a_dropped_message_before_a_refused_one_does_not_shift_the_blame() -> None:
    """The similar project's fault A: positions counted over records, not over messages."""
    firehose = Firehose(errors=(EndpointConnectionError(endpoint_url="x"),) * 3)
    outcome = run([sqs_record(0, "broken"), good(1), sqs_record(2, "broken"), good(3)], firehose, Queue())
    assert sorted(outcome.retry) == ["sqs-1", "sqs-3"]


def test_one_poison_message_in_ten_thousand_costs_only_itself() -> None:
    messages = [good(i) for i in range(10_000)]
    messages[4_321] = sqs_record(4_321, "{poison")
    firehose, queue = Firehose(), Queue()
    outcome = run(messages, firehose, queue)
    assert (len(firehose.accepted), queue.bodies, list(outcome.retry)) == (9_999, ["{poison"], [])


def test_a_connection_lost_once_is_tried_again_within_the_batch() -> None:
    firehose = Firehose(errors=(EndpointConnectionError(endpoint_url="x"),))
    assert run([good(1)], firehose, Queue()).retry == []
    assert firehose.calls == [1, 1]


def test_a_missing_stream_is_reported_at_once_and_by_name() -> None:
    refusal = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "PutRecordBatch")
    firehose = Firehose(errors=(refusal,) * 9)
    outcome = run([good(1)], firehose, Queue())
    assert (outcome.retry, outcome.error_codes, firehose.calls) == (
        ["sqs-1"],
        ["ResourceNotFoundException"],
        [1],
    )


def test_close_to_the_deadline_what_is_left_goes_back_to_the_queue() -> None:
    messages = [good(i) for i in range(1_200)]
    firehose = Firehose(failure_rate=1.0)
    outcome = run(messages, firehose, Queue(), seconds=5)
    assert firehose.calls == [500]
    assert len(outcome.retry) == 1_200


def test_the_dead_letter_is_the_message_as_it_was_with_the_reason_beside_it() -> None:
    queue = Queue()
    message = sqs_record(1, '{"message_id": 5, "é": "\\ud83d"}')
    message["messageAttributes"] = {"tenant": {"dataType": "String", "stringValue": "north"}}
    run([message], Firehose(), queue)
    assert queue.bodies == [message["body"]]
    (attributes,) = queue.attributes
    assert attributes["error_code"]["StringValue"] in {"NOT_JSON", "MALFORMED_FIELD"}
    assert attributes["first_seen"]["StringValue"] == "2026-05-28T20:26:40.500000+00:00"
    assert attributes["tenant"] == {"DataType": "String", "StringValue": "north"}


def test_calls_are_filled_up_to_the_limits_of_put_record_batch() -> None:
    small, large = b"x" * 1_000, b"x" * (1_000 * 1024)
    assert [len(call) for call in batches([small] * 1_001, len, PUT_RECORDS)] == [500, 500, 1]
    assert [len(call) for call in batches([large] * 9, len, PUT_RECORDS)] == [4, 4, 1]
    assert list(batches([], len, PUT_RECORDS)) == []
    assert deliver(Firehose(), "lean-ops-test-x", [], retry=NO_WAIT, time_left_s=lambda: 60).failed == []  # type: ignore[arg-type]


class BrokenParser(EventParser):
    """Falls over one message, as a fault of the code would make it."""

    def parse(self, body: str, ingestion_us: int) -> tuple[str, bytes]:
        if '"m2"' in body:
            raise IndexError(f"a word of {body}")
        return super().parse(body, ingestion_us)


def test_a_message_that_the_code_cannot_read_is_dead_with_its_reason_and_its_neighbours_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    firehose, queue = Firehose(), Queue()
    outcome = run([good(n) for n in range(5)], firehose, queue, parser=BrokenParser(TOPICS))
    assert accepted_numbers(firehose) == [0, 1, 3, 4]
    assert (outcome.retry, dict(outcome.rejected)) == ([], {"UNPROCESSABLE": 1})
    (attributes,) = queue.attributes
    assert queue.bodies == [good(2)["body"]]
    detail = attributes["error_detail"]["StringValue"]
    assert "IndexError" in detail
    assert "a word of" not in detail + capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"message": "<html>Bad gateway</html>"},
        {"FailedPutCount": 0},
        {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"}]},
        {"FailedPutCount": 1, "RequestResponses": []},
    ],
)
def test_an_answer_of_firehose_that_does_not_name_every_record_counts_as_none_accepted(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    firehose = Firehose()
    monkeypatch.setattr(firehose, "put_record_batch", lambda **_request: answer)
    outcome = run([good(1), good(2)], firehose, Queue())
    assert (list(outcome.retry), list(outcome.error_codes)) == (["sqs-1", "sqs-2"], ["MalformedAnswer"])


def test_a_dead_letter_that_the_queue_does_not_name_as_taken_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Queue()
    monkeypatch.setattr(queue, "send_message_batch", lambda **_request: {"message": "<html>"})
    outcome = run([sqs_record(1, "broken")], Firehose(), queue)
    assert (list(outcome.retry), dict(outcome.rejected)) == (["sqs-1"], {})
