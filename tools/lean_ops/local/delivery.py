"""A delivery stream of the Firehose stand-in: journal → transformation → rows → Iceberg commit.

At least once, like Firehose, and exactly once as far as the commit can tell: each commit writes the
journal segment it delivers into its snapshot summary, so that a segment found after a crash between the
commit and the journal's clean-up is not delivered again.

Unlike Firehose, which gives up after RetryOptions.DurationInSeconds and writes to the error prefix, a
segment that cannot be delivered (emulator down, commit lost to other writers) is tried until it can. A record
that cannot be written, whatever the reason, goes to the error prefix as there, and its neighbours go on.
"""

import datetime as dt
import logging
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from botocore.exceptions import ClientError, ParamValidationError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from common.lake.merge import correct_pyiceberg
from lean_ops.local.error_objects import Undelivered, object_key, object_lines
from lean_ops.local.journal import Arrival, Journal, Segment
from lean_ops.local.rows import INVALID_RECORD, Refused, RowReader
from lean_ops.local.transformation import Destination, Routed, transform

if TYPE_CHECKING:
    from types_boto3_lambda.client import LambdaClient
    from types_boto3_s3.client import S3Client

# Keys of the snapshot summary of each of this stand-in's commits.
STREAM = "firehose.stream"
SEGMENT = "firehose.segment"

# Buffered data beyond this is refused with "Slow down.", as Firehose refuses what exceeds its quota.
MAX_BACKLOG_BYTES = 256 * 2**20
_RETRY_PAUSE_S = 0.5
# What the writing of rows raises because of the rows; a service that does not answer raises none of these.
_UNWRITABLE = (ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError)
# What Glue says of a name that no table can have.
_NO_NAME = frozenset({"InvalidInputException", "ValidationException"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """What a stream talks to."""

    catalog: Catalog
    s3: "S3Client"
    functions: "LambdaClient"


@dataclass(frozen=True)
class StreamDefinition:
    """What CreateDeliveryStream said, read once.

    ``destination_configuration`` is the IcebergDestinationConfiguration as it came.
    """

    name: str
    arn: str
    destination_configuration: dict[str, Any]

    @property
    def buffer_bytes(self) -> int:
        """Deliver when this much is buffered (BufferingHints.SizeInMBs, default 5)."""
        return int(self._hints.get("SizeInMBs", 5)) * 2**20

    @property
    def buffer_seconds(self) -> float:
        """Deliver when the oldest record is this old (BufferingHints.IntervalInSeconds, default 300)."""
        return float(self._hints.get("IntervalInSeconds", 300))

    @property
    def default_destination(self) -> Destination | None:
        """The one table of the configuration; None where records name theirs."""
        tables = self.destination_configuration.get("DestinationTableConfigurationList", [])
        if len(tables) != 1:
            return None
        return Destination(tables[0]["DestinationDatabaseName"], tables[0]["DestinationTableName"])

    @property
    def transformation_arn(self) -> str | None:
        """The transformation function, if the stream has one."""
        processing = self.destination_configuration.get("ProcessingConfiguration", {})
        if not processing.get("Enabled"):
            return None
        return next(
            (
                parameter["ParameterValue"]
                for processor in processing.get("Processors", [])
                if processor["Type"] == "Lambda"
                for parameter in processor.get("Parameters", [])
                if parameter["ParameterName"] == "LambdaArn"
            ),
            None,
        )

    @property
    def error_bucket(self) -> str:
        """Bucket of the error objects."""
        arn: str = self.destination_configuration["S3Configuration"]["BucketARN"]
        return arn.rsplit(":", 1)[-1]

    @property
    def error_prefix(self) -> str:
        """ErrorOutputPrefix, expressions included; empty when not given."""
        return str(self.destination_configuration["S3Configuration"].get("ErrorOutputPrefix", ""))

    @property
    def _hints(self) -> dict[str, int]:
        hints: dict[str, int] = self.destination_configuration.get("BufferingHints", {})
        return hints


@dataclass
class DeliveryCounts:
    """Records since the process started."""

    delivered: int = 0
    undelivered: int = 0
    commits: int = 0


class DeliveryStream:
    """One stream: accepts records, buffers them, delivers them. Safe to use from several threads."""

    def __init__(self, definition: StreamDefinition, folder: Path, services: Services) -> None:
        """Open the stream in its ``folder``, with what an earlier process left undelivered there."""
        correct_pyiceberg()
        self.definition = definition
        self.counts = DeliveryCounts()
        self._services = services
        self._folder = folder
        self._journal = Journal(folder / "journal")
        self._flushing = threading.Lock()
        self._closed: list[Segment] = list(self._journal.recovered)
        self._retry_at = 0.0

    @property
    def backlog_bytes(self) -> int:
        """Bytes accepted and not delivered yet."""
        current = self._journal.current
        return sum(segment.size for segment in self._closed) + (current.size if current else 0)

    @property
    def overdue_s(self) -> float:
        """How much longer the oldest record has waited than it is buffered for; 0 while none has."""
        waiting = [*self._closed, self._journal.current]
        arrived = [segment.records[0].arrived_ms for segment in waiting if segment and segment.records]
        waited = time.time() - min(arrived) / 1000 if arrived else 0.0
        return max(0.0, waited - self.definition.buffer_seconds)

    def accept(self, records: Sequence[bytes]) -> bool:
        """Take the records over, durably; False when the backlog is too large to take more."""
        if self.backlog_bytes > MAX_BACKLOG_BYTES:
            return False
        self._journal.append(records)
        return True

    def due(self) -> bool:
        """Whether the buffering hints, or an earlier failure, call for a delivery now."""
        now = time.monotonic()
        if self._closed:
            return now >= self._retry_at
        current = self._journal.current
        return current is not None and (
            current.size >= self.definition.buffer_bytes
            or now - current.opened >= self.definition.buffer_seconds
        )

    def flush(self) -> None:
        """Deliver everything accepted so far; raises what delivery raised, and keeps what is left."""
        with self._flushing:
            if (segment := self._journal.close_segment()) is not None:
                self._closed.append(segment)
            while self._closed:
                segment = self._closed[0]
                try:
                    self._deliver(segment)
                except Exception:
                    segment.uncertain = True
                    self._retry_at = time.monotonic() + _RETRY_PAUSE_S
                    raise
                self._journal.discard(segment)
                del self._closed[0]

    def close(self) -> None:
        """Accept no more; what is undelivered stays in the journal for the next process."""
        with self._flushing:
            self._journal.close()

    def destroy(self) -> None:
        """Forget the stream and what it has not delivered."""
        with self._flushing:
            self._journal.close()
            self._closed.clear()
            shutil.rmtree(self._folder)

    def _deliver(self, segment: Segment) -> None:
        routed = self._route(segment.records)
        undelivered = list(routed.undelivered)
        for destination, records in sorted(routed.records.items()):
            undelivered += self._append(destination, records, segment)
        self._write_errors(segment, undelivered)
        self.counts.undelivered += len(undelivered)

    def _route(self, arrivals: Sequence[Arrival]) -> Routed:
        default = self.definition.default_destination
        if function := self.definition.transformation_arn:
            return transform(self._services.functions, function, self.definition.arn, arrivals, default)
        routed = Routed()
        for arrival in arrivals:
            routed.add(default, arrival, arrival.data)
        return routed

    def _append(
        self, destination: Destination, records: Sequence[tuple[Arrival, bytes]], segment: Segment
    ) -> list[Undelivered]:
        """One commit with every record that fits the table; gives back the others."""
        try:
            table = self._services.catalog.load_table((destination.database, destination.table))
        except NoSuchTableError as error:
            return _failed(records, "Iceberg.NoSuchTable", str(error))
        except (ParamValidationError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] not in _NO_NAME:
                raise
            return _failed(records, "Iceberg.InvalidTableName", str(error))
        rows = RowReader(table.schema()).read([data for _, data in records])
        refused = list(rows.refused)
        identity = {STREAM: self.definition.name, SEGMENT: segment.number}
        if rows.table.num_rows and not (segment.uncertain and _has_commit(table, identity)):
            good = rows.table
            try:
                table.append(good, snapshot_properties=identity)
            except _UNWRITABLE:
                unwritable = _unwritable(table, rows.table)
                if not unwritable:
                    raise
                _log.warning("%s: %d records cannot be written", self.definition.name, len(unwritable))
                refused += [Refused(rows.places[row], INVALID_RECORD, why) for row, why in unwritable.items()]
                writable = [row not in unwritable for row in range(good.num_rows)]
                good = good.filter(pa.array(writable, pa.bool_()))
                if good.num_rows:
                    table.append(good, snapshot_properties=identity)
            self.counts.commits += bool(good.num_rows)
            self.counts.delivered += good.num_rows
        return [
            Undelivered("iceberg-failed", records[record.index][0], record.code, record.message)
            for record in refused
        ]

    def _write_errors(self, segment: Segment, undelivered: Sequence[Undelivered]) -> None:
        ended_ms = int(time.time() * 1000)
        for error_type in sorted({record.error_type for record in undelivered}):
            of_type = [record for record in undelivered if record.error_type == error_type]
            arrived = dt.datetime.fromtimestamp(segment.records[0].arrived_ms / 1000, dt.UTC)
            self._services.s3.put_object(
                Bucket=self.definition.error_bucket,
                Key=object_key(
                    self.definition.error_prefix, self.definition.name, segment.number, error_type, arrived
                ),
                Body=object_lines(of_type, ended_ms),
            )


def _failed(records: Sequence[tuple[Arrival, bytes]], code: str, message: str) -> list[Undelivered]:
    return [Undelivered("iceberg-failed", arrival, code, message) for arrival, _ in records]


def _unwritable(table: Table, rows: pa.Table) -> dict[int, str]:
    """The rows that cannot be written, by their places, and why; found by halves. Nothing is committed.

    None is named where no rows at all cannot be written either: then it is the table that is at fault. The
    files of these attempts are orphans, which maintenance removes.
    """
    found: dict[int, str] = {}
    ahead = [(0, rows.num_rows)] if _failure(table, rows.slice(0, 0)) is None else []
    while ahead:
        first, size = ahead.pop()
        error = _failure(table, rows.slice(first, size))
        if error is None:
            continue
        if size == 1:
            found[first] = f"expected a row that can be written, found {type(error).__name__}: {error}"
        else:
            half = size // 2
            ahead += [(first + half, size - half), (first, half)]
    return found


def _failure(table: Table, rows: pa.Table) -> Exception | None:
    """What the writing of ``rows`` fails with, if it does."""
    try:
        table.transaction().append(rows)
    except _UNWRITABLE as error:
        return error
    return None


def _has_commit(table: Table, identity: dict[str, str]) -> bool:
    return any(
        snapshot.summary is not None
        and all(snapshot.summary.additional_properties.get(k) == v for k, v in identity.items())
        for snapshot in table.metadata.snapshots
    )
