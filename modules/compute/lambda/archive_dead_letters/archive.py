"""Copy what waits in the dead-letter queue into the archive; nothing is removed from the queue."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from common import dead_letter_archive
from common.dead_letter_archive import encode_line, object_key, sent_day
from common.queue_pass import QueuedMessage, QueuePass

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_sqs.client import SQSClient

# SQS keeps no message for longer than 14 days; one more, since days begin at midnight.
_LOOK_BACK: Final = timedelta(days=15)
# What is in memory before it is written.
_OBJECT_BYTES: Final = 8 * 1024 * 1024
_TIME_TO_GIVE_BACK_S: Final = 60


@dataclass(frozen=True)
class Archived:
    """What a pass did. ``known`` messages had been archived before; ``complete``: it saw the whole queue."""

    written: int
    known: int
    objects: int
    complete: bool


def archive(
    sqs: "SQSClient",
    s3: "S3Client",
    queue_url: str,
    bucket: str,
    *,
    now: datetime,
    time_left_s: Callable[[], float],
) -> Archived:
    """Archive the messages of the queue that are not in the archive yet.

    ``now`` names the objects. When ``time_left_s()`` falls under a minute the pass writes what it has, gives
    the messages back and ends; the next pass goes on.
    """
    first = now.date() - _LOOK_BACK
    known = {
        message.message_id
        for _key, messages in dead_letter_archive.read(s3, bucket, first, now.date())
        for message in messages
    }
    writer = _Writer(s3, bucket, now)
    repeated = 0
    in_time = True
    with QueuePass(sqs, queue_url) as queue:
        for batch in queue.batches():
            fresh = [message for message in batch if message.message_id not in known]
            repeated += len(batch) - len(fresh)
            for message in fresh:
                writer.add(message)
            in_time = time_left_s() > _TIME_TO_GIVE_BACK_S
            if not in_time:
                break
        writer.close()
    return Archived(writer.written, repeated, writer.objects, queue.complete and in_time)


class _Writer:
    """Gathers lines by day and writes an object when they are enough."""

    def __init__(self, s3: "S3Client", bucket: str, now: datetime) -> None:
        self.written = self.objects = 0
        self._s3: Final = s3
        self._bucket: Final = bucket
        self._now: Final = now
        self._open: Final[dict[date, tuple[str, bytearray]]] = {}

    def add(self, message: QueuedMessage) -> None:
        day = sent_day(message)
        _, lines = self._open.setdefault(day, (message.message_id, bytearray()))
        lines += encode_line(message)
        self.written += 1
        if len(lines) >= _OBJECT_BYTES:
            self._write(day)

    def close(self) -> None:
        for day in list(self._open):
            self._write(day)

    def _write(self, day: date) -> None:
        first_id, lines = self._open.pop(day)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=object_key(day, self._now, first_id),
            Body=bytes(lines),
            ContentType="application/x-ndjson",
        )
        self.objects += 1
