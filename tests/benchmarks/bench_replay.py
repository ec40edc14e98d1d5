"""How fast waiting events are replayed on a local stack, beside the loop that one would write by hand.

    python tests/benchmarks/bench_replay.py [--letters 10000] [--records 50000] [--rows 5000] [--runs 3]

The emulator answers in about a millisecond; on AWS a call takes ten to twenty, so only the ratio carries
over. ``--write`` puts the figures into docs/benchmarks.md.
"""

import argparse
import base64
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from page import write_section
from types_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

from common.contract.store import contract_key
from common.intake.events import RawRecord
from lean_ops.accounts import observation
from lean_ops.accounts.ledger import Ledger
from lean_ops.environment import audit
from lean_ops.environment.repository import contract_files
from lean_ops.environment.target import Target
from lean_ops.local.provision import Tuning, provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate import pipeline
from lean_ops.operate.replay import dead_letters, deliveries, quarantine
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.selection import Selection
from lean_ops.simulate import sender
from lean_ops.simulate.history import History, Scenario


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def put_letters(target: Target, count: int) -> None:
    """Fill the dead-letter queue with letters of about 300 bytes."""
    url, body = target.queue_url(target.dead_letter_queue), json.dumps({"payload": "x" * 280})
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        "error_code": {"DataType": "String", "StringValue": "NOT_JSON"}
    }
    for start in range(0, count, 10):
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(i), "MessageBody": body, "MessageAttributes": attributes}
            for i in range(min(10, count - start))
        ]
        target.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)


def by_hand(target: Target) -> None:
    """The loop of a runbook without tools: receive, send and delete one by one."""
    sqs = target.client("sqs")
    source, dead = target.queue_url(target.source_queue), target.queue_url(target.dead_letter_queue)
    while messages := sqs.receive_message(QueueUrl=dead).get("Messages"):
        for message in messages:
            sqs.send_message(QueueUrl=source, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])


def replay_letters(target: Target) -> None:
    """``lean-ops replay dlq --rate 0``."""
    with audit.operation(target, "bench") as entry:
        queue = dead_letters.open_queue(target)
        dead_letters.replay(target, queue, Selection(), entry, pace=Pace())


def letters(target: Target, count: int) -> dict[str, float]:
    """Letters a second, by the command and by hand; nobody reads the source queue meanwhile."""
    rates = {}
    for name, work, size in (
        ("dead letters, by hand", by_hand, count // 5),
        ("dead letters, replay dlq", replay_letters, count),
    ):
        put_letters(target, size)
        rates[name] = size / timed(partial(work, target))
        target.client("sqs").purge_queue(QueueUrl=target.queue_url(target.source_queue))
    return rates


def records(target: Target, count: int) -> dict[str, float]:
    """Records a second from error objects of 5,000 lines into their stream."""
    noon = int(datetime(2026, 2, 28, 12, tzinfo=UTC).timestamp()) * 1_000_000
    data = msgspec.json.encode(
        RawRecord("m", "k", "events", "2026-02", None, noon, noon, json.dumps({"v": "x" * 200}))
    )
    line = json.dumps({"errorCode": "x", "rawData": base64.b64encode(data).decode()}).encode()
    for number in range(count // 5_000):
        key = f"delivery-errors/events/iceberg-failed/2026/02/28/12/{number}"
        target.client("s3").put_object(Bucket=target.lake_bucket, Key=key, Body=b"\n".join([line] * 5_000))
    objects = deliveries.error_objects(target, Selection())
    with audit.operation(target, "bench") as entry:
        seconds = timed(lambda: deliveries.replay(target, objects, Selection(), entry, pace=Pace()))
    return {"failed deliveries, replay delivery": entry.counts["sent"] / seconds}


def rows(target: Target, count: int, folder: Path) -> dict[str, float]:
    """Quarantined rows a second into Semantic, from one contract that was mended."""
    right = contract_files()["events"].read_text()
    s3, key = target.client("s3"), contract_key("events")
    s3.put_object(
        Bucket=target.lake_bucket, Key=key, Body=right.replace("- value: pump", "- value: none_such")
    )
    scenario = Scenario(
        events=count * 5, days=1.0, broken_rate=0.0, violation_rate=0.0, end=datetime.now(UTC)
    )
    with closing(target.queue_client()) as client:
        source = target.queue_url(target.source_queue)
        sender.send(History(scenario).messages(), client, source, Ledger(folder / "ledger").begin({}))
    assert observation.settle(target, timeout_s=120) == 0
    arn = pipeline.start(target, "events")
    list(pipeline.follow(target, arn))
    outcome = pipeline.outcome(target, arn)
    assert outcome.succeeded, outcome
    s3.put_object(Bucket=target.lake_bucket, Key=key, Body=right.encode())
    judged = quarantine.Judged()

    def judge() -> None:
        for period in quarantine.periods(target, "events", Selection()):
            quarantine.judge(
                target, "events", period, Selection(), judged, operation_id="bench", dry_run=False
            )

    seconds = timed(judge)
    assert judged.counts["accepted"] == judged.counts["waiting"] > 0
    return {"quarantined rows, replay quarantine": judged.counts["accepted"] / seconds}


def main() -> None:
    """Print events a second, medians of all runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--letters", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stack = Stack(folder / "stack", tied_to_parent=True)
            stack.up()
            target = replace(LocalTarget.running(stack.folder), topics=("events",))
            provision(target, Tuning(buffer_interval_s=1))
            found = rows(target, options.rows, folder)
            client = target.client("lambda")
            for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
                client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
            found |= letters(target, options.letters) | records(target, options.records)
            stack.down(wipe=True)
        for what, rate in found.items():
            rates.setdefault(what, []).append(rate)
    lines = ["| what | events a second, median | lowest to highest |", "|---|---|---|"]
    for what, measured in rates.items():
        lines.append(
            f"| {what} | {statistics.median(measured):,.0f} | {min(measured):,.0f} to {max(measured):,.0f} |"
        )
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_section("Replay", f"python tests/benchmarks/bench_replay.py --runs {options.runs}", text)


if __name__ == "__main__":
    main()
