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

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import LongType

from common.lake.freshness import INGESTED
from common.lake.history import erased_by_minute
from common.lake.reading import read_files
from common.runtime.metrics import LATE_S

if TYPE_CHECKING:
    from types_boto3_cloudwatch.client import CloudWatchClient
    from types_boto3_cloudwatch.type_defs import (
        DimensionTypeDef,
        MetricDataQueryTypeDef,
        MetricStatTypeDef,
    )

# Longer than Firehose buffers (60 s here, at most 900 s) and than metrics take to arrive.
SETTLED: Final = timedelta(seconds=LATE_S)
WINDOW: Final = timedelta(hours=1)
# GetMetricData takes so many queries a call.
_AT_ONCE: Final = 500
_MINUTE_US: Final = 60_000_000
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
    """Rows of RAW that were ingested in ``window``, those included that were erased since.

    Erasures count by the minute: a window begins and ends with one.
    """
    begin, end = _micros(window.since), _micros(window.until)
    minutes = range(begin // _MINUTE_US, end // _MINUTE_US)
    whole = sum(count for minute, count in erased_by_minute(raw).items() if minute in minutes)
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
class Delivery:
    """What CloudWatch has counted of one topic's way into RAW.

    ``accepted`` in the window; ``refused`` by Firehose since its begin; ``accepted_late`` since its end.
    ``stalled``: since then Firehose took records and delivered none; ``age_s``: the age in seconds of the
    oldest that it had not delivered.
    """

    accepted: int = 0
    refused: int = 0
    accepted_late: int = 0
    stalled: bool = False
    age_s: float = 0.0


@dataclass(frozen=True)
class Counters:
    """Reads CloudWatch for the topics of the environment ``env``; ``streams``: by topic."""

    cloudwatch: "CloudWatchClient"
    project: str
    env: str
    streams: Mapping[str, str]

    def read(self, window: Window, now: datetime) -> dict[str, Delivery]:
        """Of every topic. Where nothing was accepted no more is asked: each metric that is read costs."""
        own, firehose = self._own, self._firehose
        accepted = self._values(window.since, window.until, [own("EventsAccepted", t) for t in self.streams])
        busy = [topic for topic, count in zip(self.streams, accepted, strict=True) if count]
        refused = self._values(
            window.since, now, [firehose("DeliveryToIceberg.FailedRowCount", topic) for topic in busy]
        )
        lately = [
            [own("EventsAcceptedLate", topic) for topic in busy],
            [firehose("IncomingRecords", topic) for topic in busy],
            [firehose("DeliveryToIceberg.SuccessfulRowCount", topic) for topic in busy],
            [firehose("DeliveryToIceberg.DataFreshness", topic, "Maximum") for topic in busy],
        ]
        late, incoming, delivered, age = (self._values(window.until, now, metrics) for metrics in lately)
        counts = dict(zip(self.streams, accepted, strict=True))
        return {topic: Delivery() for topic in self.streams} | {
            topic: Delivery(
                accepted=int(counts[topic]),
                refused=int(refused[number]),
                accepted_late=int(late[number]),
                stalled=incoming[number] > 0 and not delivered[number],
                age_s=age[number],
            )
            for number, topic in enumerate(busy)
        }

    def _own(self, name: str, topic: str) -> "MetricStatTypeDef":
        return _metric(self.project, name, {"environment": self.env, "topic": topic}, "Sum")

    def _firehose(self, name: str, topic: str, statistic: str = "Sum") -> "MetricStatTypeDef":
        return _metric("AWS/Firehose", name, {"DeliveryStreamName": self.streams[topic]}, statistic)

    def _values(
        self, since: datetime, until: datetime, metrics: "Sequence[MetricStatTypeDef]"
    ) -> list[float]:
        """The sum, or the greatest, of each metric's values; as many metrics a call as it takes."""
        found: list[float] = []
        for start in range(0, len(metrics), _AT_ONCE):
            some = metrics[start : start + _AT_ONCE]
            queries: list[MetricDataQueryTypeDef] = [
                {"Id": f"m{number}", "MetricStat": metric} for number, metric in enumerate(some)
            ]
            values: dict[str, list[float]] = defaultdict(list)
            page: Any = {}
            while True:
                answer = self.cloudwatch.get_metric_data(
                    MetricDataQueries=queries, StartTime=since, EndTime=until, **page
                )
                for result in answer["MetricDataResults"]:
                    values[result["Id"]] += result["Values"]
                if "NextToken" not in answer:
                    break
                page = {"NextToken": answer["NextToken"]}
            found += [
                max(values[f"m{number}"], default=0.0)
                if metric["Stat"] == "Maximum"
                else sum(values[f"m{number}"])
                for number, metric in enumerate(some)
            ]
        return found


def _metric(namespace: str, name: str, dimensions: Mapping[str, str], statistic: str) -> "MetricStatTypeDef":
    listed: list[DimensionTypeDef] = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {
        "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": listed},
        "Period": 60,
        "Stat": statistic,
    }


def _micros(time: datetime) -> int:
    return int(time.astimezone(UTC).timestamp() * 1_000_000)
