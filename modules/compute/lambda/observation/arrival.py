"""Whether everything that Firehose accepted arrives in RAW: counted on both sides, hour by hour of ingestion.

For the hour of ingestion time that ended ``SETTLED`` ago::

    missing = accepted - in RAW - refused by Firehose - accepted late

- *accepted*: ``EventsAccepted``, which sqs_processor counts by the minute in which the queue took a message;
- *in RAW*: rows whose ``ingestion_ts`` lies in that hour. Data files that lie in it as a whole are counted by
  their metadata; of those on its edges, and of files without bounds, that one column is read;
- *refused*: rows that Firehose put under its error prefix since then (``FailedRowCount``);
- *accepted late*: ``EventsAcceptedLate`` of the last ``SETTLED``: messages that waited in the queue, so that
  they were accepted just now although they belong to that hour, and may still be in Firehose's buffer.

What this cannot see: a repetition by Firehose or by a retried call makes up for a missing record of the same
hour, and an event that waited in the queue for longer than the hour is not counted on either side. It never
reports more than is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import LongType

from common.lake.reading import read_files
from common.runtime.metrics import LATE_S
from observation.freshness import INGESTED

if TYPE_CHECKING:
    from types_boto3_cloudwatch.client import CloudWatchClient
    from types_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDataQueryTypeDef

# Longer than Firehose buffers (60 s here, at most 900 s) and than metrics take to arrive.
SETTLED: Final = timedelta(seconds=LATE_S)
WINDOW: Final = timedelta(hours=1)
_EVER: Final = (-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Window:
    """A span of ingestion time, ``since`` included, ``until`` not."""

    since: datetime
    until: datetime

    @classmethod
    def settled(cls, now: datetime) -> "Window":
        """The last one that everything accepted must have arrived of."""
        until = (now - SETTLED).replace(second=0, microsecond=0)
        return cls(until - WINDOW, until)


def missing(accepted: int, in_raw: int, refused: int, accepted_late: int) -> int:
    """Records that must be in RAW and are not: see the module. Never negative."""
    return max(0, accepted - in_raw - refused - accepted_late)


def rows(raw: Table, window: Window) -> int:
    """Rows of RAW that were ingested in ``window``."""
    begin, end = _micros(window.since), _micros(window.until)
    whole = 0
    edges: list[FileScanTask] = []
    for file, first, last in _files_since(raw, window.since):
        if begin <= first and last < end:
            whole += file.record_count
        elif last >= begin and first < end:
            edges.append(FileScanTask(file))
    for batch in read_files(raw, edges, columns=[INGESTED]):
        times = batch.column(INGESTED).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
        whole += int(np.count_nonzero((begin <= times) & (times < end)))
    return whole


def _files_since(raw: Table, since: datetime) -> Iterator[tuple[DataFile, int, int]]:
    """Live files that may hold rows ingested after ``since``, with their first and last ingestion time.

    A row is committed after it is ingested, so that older commits need no look. Compaction writes files anew,
    in newer commits.
    """
    current = raw.current_snapshot()
    if current is None:
        return
    column = raw.schema().find_field(INGESTED).field_id
    before = [s.sequence_number or 0 for s in raw.snapshots() if s.timestamp_ms < since.timestamp() * 1000]
    oldest = max(before, default=0)
    for manifest in current.manifests(raw.io):
        if manifest.content != ManifestContent.DATA or manifest.sequence_number <= oldest:
            continue
        for entry in manifest.fetch_manifest_entry(raw.io, discard_deleted=True):
            file = entry.data_file
            lower, upper = (
                bounds.get(column) for bounds in (file.lower_bounds or {}, file.upper_bounds or {})
            )
            # A writer that keeps no bounds says nothing of when its rows were ingested: they may be any time.
            first = _EVER[0] if lower is None else int(from_bytes(LongType(), lower))
            last = _EVER[1] if upper is None else int(from_bytes(LongType(), upper))
            yield file, first, last


@dataclass(frozen=True)
class Counters:
    """What CloudWatch has counted for one topic of the environment ``env``."""

    cloudwatch: "CloudWatchClient"
    project: str
    env: str
    topic: str
    stream: str

    def read(self, window: Window, now: datetime) -> tuple[int, int, int]:
        """Accepted in ``window``; refused by Firehose since its begin; accepted late since its end."""
        topic: list[DimensionTypeDef] = [
            {"Name": "environment", "Value": self.env},
            {"Name": "topic", "Value": self.topic},
        ]
        stream: list[DimensionTypeDef] = [{"Name": "DeliveryStreamName", "Value": self.stream}]
        refused = "DeliveryToIceberg.FailedRowCount"
        return (
            self._sum(_query(self.project, "EventsAccepted", topic), window.since, window.until),
            self._sum(_query("AWS/Firehose", refused, stream), window.since, now),
            self._sum(_query(self.project, "EventsAcceptedLate", topic), window.until, now),
        )

    def _sum(self, query: "MetricDataQueryTypeDef", since: datetime, until: datetime) -> int:
        answer = self.cloudwatch.get_metric_data(MetricDataQueries=[query], StartTime=since, EndTime=until)
        return int(sum(answer["MetricDataResults"][0]["Values"]))


def _query(namespace: str, name: str, dimensions: "list[DimensionTypeDef]") -> "MetricDataQueryTypeDef":
    return {
        "Id": "counted",
        "MetricStat": {
            "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions},
            "Period": 60,
            "Stat": "Sum",
        },
    }


def _micros(time: datetime) -> int:
    return int(time.astimezone(UTC).timestamp() * 1_000_000)
