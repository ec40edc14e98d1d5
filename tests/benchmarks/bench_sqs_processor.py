"""How fast ``sqs_processor`` turns a batch of queued messages into Firehose calls; the calls are stubbed.

    python tests/benchmarks/bench_sqs_processor.py [--events 100000] [--runs 5]

Compared in one run with what a team would otherwise write: Powertools' ``BatchProcessor`` with ``json``,
which checks the same fields and builds the same record; and with the same readings as a device would send
them, plain JSON with epoch milliseconds and neither id nor key, which a source makes events of
(docs/sources.md).
Batches hold 10,000 messages, as on the queue.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from page import write_section

from common.intake.events import EventParser
from common.intake.reading import MessageReader
from common.intake.sources import Sources, compile_source
from common.runtime.retrying import RetryPolicy
from common.runtime.settings import SqsProcessorSettings
from lean_ops.simulate.history import History, Scenario
from sqs_processor.batch import process

BATCH = 10_000
SETTINGS = SqsProcessorSettings("lean-ops", "bench", "queue", "lake")


class _Sink:
    """Accepts everything, as fast as can be."""

    def put_record_batch(self, *, Records: list[Any], **_request: Any) -> dict[str, Any]:
        return {"FailedPutCount": 0, "RequestResponses": [{}] * len(Records)}

    def send_message_batch(self, *, Entries: list[Any], **_request: Any) -> dict[str, Any]:
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}


def usual_way(sink: _Sink) -> Callable[[dict[str, Any]], object]:
    """Powertools' processor, one call of ``handle`` a message, then the same cut into calls of 500."""
    processor = BatchProcessor(event_type=EventType.SQS)
    records: list[dict[str, bytes]] = []

    def handle(record: SQSRecord) -> None:
        event = json.loads(record.body)
        published = datetime.fromisoformat(event["publish_time"]).astimezone(UTC)
        row = {
            "message_id": event["message_id"],
            "idempotency_key": event["idempotency_key"],
            "topic_name": event["topic_name"],
            "period_reference": event.get("period_reference") or published.strftime("%Y-%m"),
            "correlation_id": event.get("correlation_id"),
            "publish_time": int(published.timestamp() * 1_000_000),
            "ingestion_ts": int(record.attributes.sent_timestamp or 0) * 1000,
            "json_payload": json.dumps(event["payload"]),
        }
        records.append({"Data": json.dumps(row).encode()})

    def run(event: dict[str, Any]) -> object:
        records.clear()
        answer = process_partial_response(event, handle, processor, None)
        for start in range(0, len(records), 500):
            sink.put_record_batch(DeliveryStreamName="s", Records=records[start : start + 500])
        return answer

    return run


def ours(sink: Any, reader: MessageReader | None = None) -> Callable[[dict[str, Any]], object]:
    """The function's own code, from the Lambda event to the Firehose calls."""
    parser = EventParser(frozenset({"events"}))

    def run(event: dict[str, Any]) -> object:
        return process(
            event["Records"],
            settings=SETTINGS,
            parser=parser,
            firehose=sink,
            sqs=sink,
            retry=RetryPolicy(),
            time_left_s=lambda: 60,
            reader=reader,
        )

    return run


SOURCE = {
    "version": 1,
    "match": {"attributes": {"format": "simulated"}},
    "topic": "events",
    "key": ["device.id", "$time"],
    "time": {"at": "ts", "as": "ms"},
    "delete": "gone",
}


def as_devices_send(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same readings without the envelope: the payload with its time in milliseconds."""
    return [{"Records": [_as_sent(record) for record in event["Records"]]} for event in events]


def _as_sent(record: dict[str, Any]) -> dict[str, Any]:
    event = json.loads(record["body"])
    _, found, payload = record["body"].partition('"payload":')
    payload = payload[:-1] if found else f'{{"device":{{"id":"{event["idempotency_key"]}"}},"gone":true}}'
    ms = round(datetime.fromisoformat(event["publish_time"]).timestamp() * 1000)
    attributes = {"format": {"dataType": "String", "stringValue": "simulated"}}
    return {**record, "body": f'{{"ts":{ms},{payload[1:]}', "messageAttributes": attributes}


def lambda_events(count: int) -> list[dict[str, Any]]:
    """Simulated good events as Lambda events of ``BATCH`` messages."""
    sent = str(int(time.time() * 1000))
    attributes = {"SentTimestamp": sent, "ApproximateFirstReceiveTimestamp": sent}
    records = [
        {"messageId": str(i), "body": message.body, "attributes": attributes, "eventSource": "aws:sqs"}
        for i, message in enumerate(History(Scenario(events=count, broken_rate=0)))
    ]
    return [{"Records": records[i : i + BATCH]} for i in range(0, count, BATCH)]


def main() -> None:
    """Print events a second of both ways, with the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    events = lambda_events(options.events)
    sink = _Sink()
    sent = as_devices_send(events)
    reader = MessageReader(Sources([compile_source("simulated", SOURCE)]))
    ways = {
        "Powertools BatchProcessor + json": (usual_way(sink), events),
        "sqs_processor": (ours(sink), events),
        "sqs_processor, by a source": (ours(sink, reader), sent),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.runs):  # taking turns, so that a busy moment of the machine hits all
        for name, (run, batches) in ways.items():
            started = time.perf_counter()
            for event in batches:
                run(event)
            rates[name].append(options.events / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["sqs_processor"] / medians["Powertools BatchProcessor + json"]
    turns = zip(rates["sqs_processor, by a source"], rates["sqs_processor"], strict=True)
    share = statistics.median(by_source / direct for by_source, direct in turns)
    if options.json:
        json.dump({"events_per_s": rates, "medians": medians, "ratio": ratio, "share": share}, sys.stdout)
        return
    lines = [f"| {'way':<32} | events/s, median | lowest to highest |", "|---|---|---|"]
    for name, values in rates.items():
        lines.append(f"| {name:<32} | {medians[name]:,.0f} | {min(values):,.0f} to {max(values):,.0f} |")
    lines.append(
        f"\n`sqs_processor` handles {ratio:.1f} times as many events a second; messages that a source makes "
        f"events of, times, keys and ids included, at {share:.0%} of the direct path."
    )
    print("\n".join(lines))
    if options.write:
        command = f"python tests/benchmarks/bench_sqs_processor.py --events {options.events}"
        write_section("sqs_processor", command, "\n".join(lines))


if __name__ == "__main__":
    main()
