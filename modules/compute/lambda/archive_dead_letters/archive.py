"""Copy what waits in the dead-letter queue into the archive; nothing is removed from the queue."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from common.intake import archive as dead_letter_archive
from common.intake.archive import encode_line, object_key, sent_day
from common.intake.queue_pass import QueuedMessage, QueuePass

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_sqs.client import SQSClient

# SQS keeps no message for longer than 14 days; one more, since days begin at midnight.
_LOOK_BACK: Final = timedelta(days=15)
# What is in memory before it is written.
_OBJECT_BYTES: Final = 8 * 1024 * 1024
# All days together: a pass over a backlog meets letters of every day.
_OPEN_BYTES: Final = 32 * 1024 * 1024
# What a pass ends early for: to write, and to give back what it holds, a call for ten.
_TIME_TO_WRITE_S: Final = 60
_TIME_TO_GIVE_BACK_S: Final = 0.003
# The share of the time that may go into learning what the archive has.
_TIME_TO_LEARN: Final = 0.5


@dataclass(frozen=True)
class Archived:
    """What a pass did.

    ``known`` messages had been archived before; ``complete``: it saw the whole queue. ``damaged``: lines and
    objects of the archive that cannot be read, by place; what they held is archived again if it still waits.
    """

    written: int
    known: int
    objects: int
    complete: bool
    damaged: tuple[str, ...] = ()


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

    ``now`` names the objects. When ``time_left_s()`` runs short the pass writes what it has, gives the
    messages back and ends; the next pass goes on. Of an archive too large to be read in half the time some
    messages are archived twice, and read once.
    """
    known: set[str] = set()
    damaged: list[str] = []
    enough_s = time_left_s() * _TIME_TO_LEARN
    for archived in dead_letter_archive.objects(s3, bucket, now.date() - _LOOK_BACK, now.date()):
        known.update(message.message_id for message in archived.messages)
        damaged += archived.damaged
        if time_left_s() < enough_s:
            break
    writer = _Writer(s3, bucket, now)
    repeated = 0
    in_time = True
    with QueuePass(sqs, queue_url) as queue:
        for batch in queue.batches():
            fresh = [message for message in batch if message.message_id not in known]
            repeated += len(batch) - len(fresh)
            for message in fresh:
                writer.add(message)
            in_time = time_left_s() > _TIME_TO_WRITE_S + queue.held * _TIME_TO_GIVE_BACK_S
            if not in_time:
                break
        writer.close()
    complete = queue.complete and in_time
    return Archived(writer.written, repeated, writer.objects, complete, tuple(damaged))


class _Writer:
    """Gathers lines by day and writes an object when they are enough."""

    def __init__(self, s3: "S3Client", bucket: str, now: datetime) -> None:
        self.written = self.objects = self._open_bytes = 0
        self._s3: Final = s3
        self._bucket: Final = bucket
        self._now: Final = now
        self._open: Final[dict[date, tuple[str, bytearray]]] = {}

    def add(self, message: QueuedMessage) -> None:
        day = sent_day(message)
        _, lines = self._open.setdefault(day, (message.message_id, bytearray()))
        line = encode_line(message)
        lines += line
        self._open_bytes += len(line)
        self.written += 1
        if len(lines) >= _OBJECT_BYTES:
            self._write(day)
        elif self._open_bytes >= _OPEN_BYTES:
            self._write(max(self._open, key=lambda day: len(self._open[day][1])))

    def close(self) -> None:
        for day in list(self._open):
            self._write(day)

    def _write(self, day: date) -> None:
        first_id, lines = self._open.pop(day)
        self._open_bytes -= len(lines)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=object_key(day, self._now, first_id),
            Body=bytes(lines),
            ContentType="application/x-ndjson",
        )
        self.objects += 1
