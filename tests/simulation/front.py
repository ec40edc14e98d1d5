"""What stands before the tables: producers, the queue and its function, Firehose.

The promises are AWS's and no better. The queue delivers late, out of order and, seldom, once more after a
message was removed; what a function does not get done is visible again after six minutes, and a message that
was received six times in vain goes to the dead-letter queue (Amazon SQS developer guide, "At-least-once
delivery", "Dead-letter queues"). Firehose takes some records of a call and refuses others (API reference,
PutRecordBatch), delivers what it took at least once, and puts what it cannot deliver under its error prefix.

The function, what it makes of a message and what becomes of its answer are the real ones.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from botocore.exceptions import ClientError

from lean_ops.operate.replay.error_objects import PREFIX as ERRORS

from .machine import Crashed
from .queues import LETTERS, SOURCE, Message
from .services import MAPPING, TOPIC, minute_of

if TYPE_CHECKING:
    from .world import World

Event = dict[str, Any]

VISIBILITY_S: Final = 360.0
MOST_RECEIVES: Final = 6
_BATCH: Final = 10
_TIMES: Final = ("publish_time", "ingestion_ts")


@dataclass(frozen=True)
class Batch:
    """What became of one batch of the queue's function, as metrics say it."""

    minute: datetime
    received: int
    failed: int
    crashed: bool = False


@dataclass
class Front:
    """Producers, queue function and Firehose of the one topic.

    ``told``: messages that producers were told are taken, bodies in order; ``broken`` those among them that
    nobody can read. ``down``: Firehose refuses that share of all records, until ``down_until``.
    """

    world: "World"
    told: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    buffer: list[bytes] = field(default_factory=list)
    mapping: dict[str, Any] = field(default_factory=lambda: {"State": "Enabled", **MAPPING})
    batches: list[Batch] = field(default_factory=list)
    down: float = 0.0
    down_until: float = 0.0

    # Producers ------------------------------------------------------------------------------------------

    def produce(self, bodies: Sequence[str], *, late_s: float = 0.0) -> None:
        """Send messages; a producer that is not sure sends one again."""
        for body in bodies:
            self.told.append(body)
            self.world.queues.put(SOURCE, body, visible_at=self.world.clock + late_s)

    # The queue's function -------------------------------------------------------------------------------

    def poll(self) -> int:
        """One batch from the queue through its function; how many messages it had."""
        if self.mapping["State"] != "Enabled":
            return 0
        queue = self.world.queues
        messages = queue.take(min(_BATCH, self.mapping["BatchSize"]), VISIBILITY_S, MOST_RECEIVES)
        if not messages:
            return 0
        minute = minute_of(self.world.now)
        try:
            answer = self.world.call_function("sqs_processor", {"Records": list(map(_record, messages))}, 60)
        except Crashed:
            self.batches.append(Batch(minute, len(messages), len(messages), crashed=True))
            return len(messages)
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        known = {message.id for message in messages}
        if not failed <= known:  # Lambda developer guide: an unknown identifier fails the whole batch
            failed = known
        self.batches.append(Batch(minute, len(messages), len(failed)))
        queue.done(SOURCE, [message for message in messages if message.id not in failed])
        return len(messages)

    def seen_until(self) -> datetime:
        """Up to which minute metrics have arrived: some take minutes (CloudWatch user guide, "Metrics")."""
        if not self.world.drawn or self.world.process is None:
            return self.world.now
        return self.world.now - timedelta(minutes=self.world.weather.choice((0, 0, 1, 2, 3)))

    def ringing(self) -> tuple[bool, bool]:
        """Whether the breaker's alarms are up: two bad minutes of the last ten, by their definitions."""
        now = self.seen_until()
        first = minute_of(now) - timedelta(minutes=10)
        minutes: dict[datetime, list[Batch]] = {}
        for batch in self.batches:
            if first <= batch.minute <= now:
                minutes.setdefault(batch.minute, []).append(batch)
        told = [[b for b in some if not b.crashed] for some in minutes.values()]
        failing = [sum(b.failed for b in some) >= sum(b.received for b in some) > 0 for some in told]
        crashing = [sum(b.crashed for b in some) > 0.05 * len(some) for some in minutes.values()]
        return sum(failing) >= 2, sum(crashing) >= 2

    # Firehose -------------------------------------------------------------------------------------------

    @property
    def refuses(self) -> float:
        """The share of records that it takes from nobody now."""
        return self.down if self.world.clock < self.down_until else 0.0

    def put_record_batch(self, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        """As the service's client; each record is taken or refused by itself."""
        assert DeliveryStreamName.endswith(TOPIC)
        assert 1 <= len(Records) <= 500

        def call() -> dict[str, Any]:
            answers: list[dict[str, str]] = []
            share = self.refuses
            if share == 1.0:
                raise ClientError(
                    {"Error": {"Code": "ServiceUnavailableException", "Message": ""}}, "PutRecordBatch"
                )
            for number, record in enumerate(Records):
                if share and self.world.weather.random() < share:
                    answers.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
                else:
                    self.buffer.append(bytes(record["Data"]))
                    answers.append({"RecordId": f"{self.world.clock}-{number}"})
            refused = sum("ErrorCode" in answer for answer in answers)
            if refused:
                self.world.cover("fault", "records refused")
            return {"FailedPutCount": refused, "RequestResponses": answers}

        return self.world.external(call, "put records")

    def flush(self, *, twice: bool = False, fails: bool = False) -> None:
        """Deliver what Firehose holds, in one commit; ``twice``: its answer was lost, and it delivers again.

        ``fails``: it cannot commit, and puts the records under the error prefix.
        """
        held, self.buffer = self.buffer, []
        if not held:
            return
        if fails:
            self.world.cover("fault", "delivery failed")
            self._refuse(held)
            return
        self.world.deliver([_row(record) for record in held])
        if twice:
            self.world.cover("fault", "delivered twice")
            self.world.deliver([_row(record) for record in held])

    def _refuse(self, records: Sequence[bytes]) -> None:
        now = int(self.world.now.timestamp() * 1000)
        lines = [
            {
                "attemptsMade": 4,
                "arrivalTimestamp": now,
                "errorCode": "Iceberg.CommitFailed",
                "errorMessage": "the table could not be committed to",
                "attemptEndingTimestamp": now,
                "rawData": base64.b64encode(record).decode(),
            }
            for record in records
        ]
        key = f"{ERRORS}{TOPIC}/iceberg-failed/{self.world.now:%Y/%m/%d/%H}/{TOPIC}-{len(self.world.objects)}"
        self.world.objects[key] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.world.put_at[key] = self.world.now

    @property
    def undelivered(self) -> list[str]:
        """Keys of error objects that wait to be replayed."""
        return [
            key for key in self.world.objects if key.startswith(ERRORS) and "/_replayed/" not in f"/{key}"
        ]

    @property
    def waiting(self) -> bool:
        """Whether anything is still on its way to RAW."""
        return bool(self.buffer or self.world.queues.waiting[SOURCE])


def _record(message: Message) -> dict[str, Any]:
    """The message as Lambda hands it on."""
    attributes = {
        name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
        for name, value in message.attributes.items()
    }
    return {
        "messageId": message.id,
        "receiptHandle": message.id,
        "body": message.body,
        "messageAttributes": attributes,
        "attributes": {
            "SentTimestamp": str(message.sent_ms),
            "ApproximateReceiveCount": str(message.receives),
            "ApproximateFirstReceiveTimestamp": str(message.sent_ms),
        },
    }


def _row(record: bytes) -> Event:
    """The row that Firehose makes of a record: each key the column of its name."""
    found: Event = json.loads(record)
    for name in _TIMES:
        found[name] = datetime.fromtimestamp(found[name] // 1_000_000, UTC) + timedelta(
            microseconds=found[name] % 1_000_000
        )
    return found


def body_of(event: Event) -> str:
    """The message of an event, as a device sends it."""
    envelope: Event = {
        "message_id": event["message_id"],
        "idempotency_key": event["idempotency_key"],
        "topic_name": event["topic_name"],
        "publish_time": event["publish_time"].isoformat(),
    }
    if event["operation"] is not None:
        envelope["operation"] = event["operation"]
    text = json.dumps(envelope)
    # The payload is kept byte for byte.
    return text if event["json_payload"] is None else f'{text[:-1]}, "payload": {event["json_payload"]}}}'


def as_rows(events: Sequence[Event], schema: pa.Schema) -> pa.Table:
    """Events as rows of RAW."""
    return pa.Table.from_pylist(
        [{name: event.get(name) for name in schema.names} for event in events], schema
    )


__all__ = ["LETTERS", "SOURCE", "Batch", "Event", "Front", "as_rows", "body_of"]
