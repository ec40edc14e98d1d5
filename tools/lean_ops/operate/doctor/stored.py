"""Stored things that cannot be read: lines of the archive of dead letters and of error objects.

Commands go on around them; here they are shown. What is looked at is bounded, the newest first.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Final

from common.intake import archive as dead_letter_archive
from common.runtime import outside
from lean_ops.environment.target import Target
from lean_ops.operate.doctor.findings import Finding, Severity
from lean_ops.operate.replay import deliveries
from lean_ops.operate.replay.deliveries import ErrorObject
from lean_ops.operate.replay.error_objects import Malformed, topic_of

_OBJECTS: Final = 50
_BYTES: Final = 16 * 2**20
# As far back as letters of the queue can be archived again.
_ARCHIVE_DAYS: Final = 15


def archive(target: Target) -> Iterator[Finding]:
    """Every line of the archive's last days can be read."""
    s3, today = target.client("s3"), outside.now().date()
    days = (today - timedelta(days=ago) for ago in range(_ARCHIVE_DAYS))
    newest = (one for day in days for one in dead_letter_archive.objects(s3, target.lake_bucket, day, day))
    damaged = [sentence for one in islice(newest, _OBJECTS) for sentence in one.damaged]
    if damaged:
        yield Finding(
            f"s3://{target.lake_bucket}/{dead_letter_archive.PREFIX}",
            f"{len(damaged)} lines cannot be read, the first: {damaged[0]}",
            "restore the object's earlier version; what still waits in the queue is archived again by "
            "`lean-ops dlq archive`",
            Severity.NOTE,
        )


def malformed_lines(target: Target, objects: list[ErrorObject]) -> list[str]:
    """Lines of error objects that cannot be replayed, by place, as far as they were looked at."""
    s3, found, size = target.client("s3"), [], 0
    stuck: dict[str, str] = {}
    for one in sorted(objects, key=lambda one: one.written, reverse=True)[:_OBJECTS]:
        size += one.size
        if size > _BYTES:
            break
        lines = deliveries.read(s3, target.lake_bucket, one, topic_of(one.key), stuck) or ()
        found += [f"{one.key}, line {line.number}" for line in lines if isinstance(line, Malformed)]
    return [*found, *stuck]
