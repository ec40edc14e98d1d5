"""Failed deliveries: what Firehose put under its error prefix goes to the delivery stream again.

Records are sent as they are, with the ``ingestion_ts`` that they had: for the de-duplication rule nothing has
happened. Files that were written but never committed are read, and their rows sent: adding the files to the
table by a commit would need what Firehose never wrote, manifests; and a file whose commit did succeed after
all is found in the table and left alone.

Lines leave their error object once the stream has accepted what they hold: they are copied under
``delivery-errors/_replayed/``, then taken out of the object, which is deleted with its last line. Lines that
are not selected, and malformed ones, stay. A replay that is killed between the two sends one object again,
and two replays at once may send a record twice, which the merge removes.

Whatever cannot be read or sent is named, stays where it is, and keeps nothing else from going on: a line, a
file, an object, or all of a topic whose stream is gone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.exceptions import ClientError
from pyiceberg.table import Table

from common.intake.delivery import deliver
from common.intake.events import RawRecord
from common.lake.reading import read_rows
from common.lake.specifications import open_table
from common.runtime.errors import PermanentError, TransientError
from common.runtime.retrying import RetryPolicy
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate.replay.error_objects import (
    PREFIX,
    REPLAYED_PREFIX,
    Entry,
    FailedRecord,
    Malformed,
    UncommittedFiles,
    parse,
    topic_of,
)
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.selection import Selection, Tally, Waiting

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

# Records put at once: one PutRecordBatch call.
_IDENTITY: Final = ("idempotency_key", "message_id", "publish_time")
_CHUNK: Final = 500
# Longer than Firehose is throttled by a burst.
_PATIENT: Final = RetryPolicy(attempts=8, base_s=0.2)
_RECORD_COLUMNS: Final = [field.name for field in msgspec.structs.fields(RawRecord)]
# What Firehose says of a stream that does not exist: its topic was removed.
_NO_STREAM: Final = "ResourceNotFoundException"
# Another replay was faster; or it is in cold storage, or not ours to read.
_GONE: Final = "NoSuchKey"
_UNREADABLE: Final = frozenset({"InvalidObjectState", "AccessDenied"})
_encode: Final = msgspec.json.Encoder().encode


@dataclass
class FailedDeliveries:
    """What waits, or what a replay found. ``stuck``: what cannot be replayed, by its place, and why."""

    tally: Tally = field(default_factory=Tally)
    others: int = 0
    stuck: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorObject:
    """An error object in the lake bucket."""

    key: str
    written: datetime
    size: int


def error_objects(target: Target, selection: Selection, limit: int | None = None) -> list[ErrorObject]:
    """The error objects that may hold something selected; by topic, and by when they were written.

    An object is written after its records arrived: one written before ``since`` is left out. ``limit``: of
    the first so many of the bucket alone.
    """
    prefix = f"{PREFIX}{selection.topic}/" if selection.topic else PREFIX
    pages = target.client("s3").get_paginator("list_objects_v2")
    return [
        ErrorObject(entry["Key"], entry["LastModified"], entry["Size"])
        for page in pages.paginate(
            Bucket=target.lake_bucket, Prefix=prefix, PaginationConfig={"MaxItems": limit} if limit else {}
        )
        for entry in page.get("Contents", [])
        if not entry["Key"].startswith(REPLAYED_PREFIX)
        and (selection.since is None or entry["LastModified"] >= selection.since)
    ]


def look(
    target: Target,
    objects: Sequence[ErrorObject],
    selection: Selection,
    *,
    samples: int = 3,
    on_progress: Callable[[int], None] = lambda _n: None,
) -> FailedDeliveries:
    """Count what waits in ``objects``; nothing is sent. A file counts as one, whatever rows it has."""
    found = FailedDeliveries(Tally(samples))
    s3 = target.client("s3")
    for number, error_object in enumerate(objects, 1):
        for entry in (
            read(s3, target.lake_bucket, error_object, topic_of(error_object.key), found.stuck) or ()
        ):
            if isinstance(entry, Malformed):
                found.stuck[_place(error_object, entry)] = entry.why
            elif selection.takes(entry.waiting):
                found.tally.add(entry.waiting)
            else:
                found.others += 1
        on_progress(number)
    return found


def replay(
    target: Target,
    objects: Sequence[ErrorObject],
    selection: Selection,
    entry: audit.Entry,
    *,
    pace: Pace,
    retry: RetryPolicy = _PATIENT,
    on_progress: Callable[[int], None] = lambda _n: None,
) -> FailedDeliveries:
    """Send what is selected to the streams of its topics, object by object.

    Counts in ``entry``: ``sent`` records; ``objects`` that were taken from; ``empty`` ones, which are
    removed; ``committed`` files, which RAW has after all. Raises TransientError when a stream keeps refusing:
    the objects of its topic that were not sent stay whole, all others are done, and the same replay can be
    run again.
    """
    found = FailedDeliveries()
    s3 = target.client("s3")
    sender = _StreamSender(target, entry, pace, retry)
    refusing: dict[str, TransientError] = {}
    for number, error_object in enumerate(objects, 1):
        topic = topic_of(error_object.key)
        lines = read(s3, target.lake_bucket, error_object, topic, found.stuck)
        if lines == []:
            s3.delete_object(Bucket=target.lake_bucket, Key=error_object.key)
            entry.counts["empty"] += 1
        elif lines and topic not in refusing:
            try:
                done, left = _send(sender, error_object, lines, selection, found)
            except _NoStream as gone:
                found.stuck[error_object.key] = str(gone)
            except TransientError as error:
                refusing[topic] = error
            else:
                if done:
                    key = error_object.key
                    _take_out(s3, target.lake_bucket, key, entry.operation_id, done=done, left=left)
                    entry.counts["objects"] += 1
        on_progress(number)
        entry.heartbeat()
    if refusing:
        raise next(iter(refusing.values()))
    return found


def _send(
    sender: "_StreamSender",
    error_object: ErrorObject,
    lines: Sequence[Entry],
    selection: Selection,
    found: FailedDeliveries,
) -> tuple[list[bytes], list[bytes]]:
    """Send what is selected of an object; the lines that are done, and those that stay."""
    done: list[bytes] = []
    left: list[bytes] = []
    sent: list[Waiting] = []
    topic = topic_of(error_object.key)
    for line in lines:
        if isinstance(line, Malformed):
            found.stuck[_place(error_object, line)] = line.why
            left.append(line.line)
        elif not selection.takes(line.waiting):
            found.others += 1
            left.append(line.line)
        elif why := sender.add(line, topic):
            found.stuck[f"{error_object.key}: {line.waiting.ids[0]}"] = why
            left.append(line.line)
        else:
            sent.append(line.waiting)
            done.append(line.line)
    sender.flush(topic)
    for waiting in sent:
        found.tally.add(waiting)
    return done, left


class _NoStream(PermanentError):  # noqa: N818 - the stream is none; "error" would say less
    """The topic of an error object has no delivery stream."""


class _StreamSender:
    """Puts records on delivery streams, a call's worth at a time."""

    def __init__(self, target: Target, entry: audit.Entry, pace: Pace, retry: RetryPolicy) -> None:
        self._target: Final = target
        self._firehose: Final = target.client("firehose")
        self._entry: Final = entry
        self._pace: Final = pace
        self._retry: Final = retry
        self._pending: list[bytes] = []

    def add(self, entry: FailedRecord | UncommittedFiles, topic: str) -> str:
        """Take over what a line holds; gives why it cannot be, or nothing."""
        if isinstance(entry, FailedRecord):
            self._put(entry.data, topic)
            return ""
        try:
            return self._add_files(entry, topic)
        except (TransientError, _NoStream):
            raise
        except Exception as error:  # a cut file, a table that is none; its words may quote what is stored
            return (
                f"expected data files of RAW that can be read, found {type(error).__name__}; restore them "
                "from a backup, or let their sender repeat their events"
            )

    def _add_files(self, entry: UncommittedFiles, topic: str) -> str:
        table = open_table(self._target.catalog(), self._target.settings.table("raw", topic))
        foreign = [path for path in entry.paths if not path.startswith(f"{table.location()}/")]
        if foreign:
            return f"expected files under {table.location()}/, found {foreign[0]}"
        missing = [path for path in entry.paths if not table.io.new_input(path).exists()]
        if missing:
            return (
                f"expected the file {missing[0]}, found none: orphan removal has taken it; "
                "its events are lost unless their sender repeats them"
            )
        for path in entry.paths:
            if _is_committed(table, path):
                self._entry.counts["committed"] += 1
                continue
            for record in _records(table, path):
                self._put(record, topic)
            self._entry.counts["files"] += 1
        return ""

    def flush(self, topic: str) -> None:
        """Put what is pending; raises TransientError when the stream keeps refusing, _NoStream for none."""
        records, self._pending = self._pending, []
        if not records:
            return
        self._pace.wait(len(records))
        stream = self._target.settings.delivery_stream(topic)
        outcome = deliver(
            self._firehose, stream, records, retry=self._retry, time_left_s=lambda: float("inf")
        )
        self._entry.counts["sent"] += len(records) - len(outcome.failed)
        if _NO_STREAM in outcome.error_codes:
            raise _NoStream(
                f"expected the stream {stream}, found none: was topic {topic} removed? Bring it back "
                "(contracts/, LEAN_OPS_TOPICS) and replay, or remove its error objects"
            )
        if outcome.failed:
            raise TransientError(
                f"stream {stream}: expected it to accept {len(records)} records, found "
                f"{len(outcome.failed)} refused with {', '.join(sorted(outcome.error_codes))}; they stay in "
                "their error object: run the same command again, later or with a lower --rate"
            )

    def _put(self, record: bytes, topic: str) -> None:
        self._pending.append(record)
        if len(self._pending) == _CHUNK:
            self.flush(topic)


def read(
    s3: "S3Client", bucket: str, error_object: ErrorObject, topic: str, stuck: dict[str, str]
) -> list[Entry] | None:
    """The lines of an object of ``topic``; None where it is gone, or cannot be read and is ``stuck``."""
    try:
        content = s3.get_object(Bucket=bucket, Key=error_object.key)["Body"].read()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _UNREADABLE:
            stuck[error_object.key] = f"expected to read it, found {code}; restore it, or see who may read it"
        elif code != _GONE:
            raise
        return None
    return list(parse(content, topic, error_object.written))


def _take_out(
    s3: "S3Client", bucket: str, key: str, operation_id: str, *, done: list[bytes], left: list[bytes]
) -> None:
    """Move lines under the prefix of what was replayed; the copy first."""
    moved = f"{REPLAYED_PREFIX}{key.removeprefix(PREFIX)}-{operation_id}"
    s3.put_object(Bucket=bucket, Key=moved, Body=b"\n".join([*done, b""]))
    if left:
        s3.put_object(Bucket=bucket, Key=key, Body=b"\n".join([*left, b""]))
    else:
        s3.delete_object(Bucket=bucket, Key=key)


def _is_committed(table: Table, path: str) -> bool:
    """Whether RAW has the file, or every event of it; reads only partitions of the file's days.

    A file that was committed may have been compacted since, and the snapshot that knew it may have expired;
    then the table holds its events under another name.
    """
    events = pa.Table.from_batches(list(_batches(table, path, _IDENTITY)))
    if not events.num_rows:
        return True  # nothing to send
    bounds: Any = pc.min_max(events["publish_time"])
    first, last = bounds.as_py().values()
    when = f"publish_time >= '{first.isoformat()}' and publish_time <= '{last.isoformat()}'"
    if any(task.file.file_path == path for task in table.scan(row_filter=when).plan_files()):
        return True
    missing = set(_identities(events))
    for batch in read_rows(table, when, _IDENTITY):
        missing -= set(_identities(pa.Table.from_batches([batch])))
        if not missing:
            return True
    return False


def _identities(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    """What copies of an event have in common."""
    moments = rows["publish_time"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    yield from zip(
        rows["idempotency_key"].to_pylist(),
        rows["message_id"].to_pylist(),
        moments.to_pylist(),
        strict=True,
    )


def _records(table: Table, path: str) -> Iterator[bytes]:
    """The rows of a data file of RAW as the records that they were."""
    for batch in _batches(table, path, _RECORD_COLUMNS):
        rows = pa.Table.from_batches([batch])
        for name in ("publish_time", "ingestion_ts"):
            moments = rows[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
            rows = rows.set_column(rows.column_names.index(name), name, moments)
        for row in rows.to_pylist():
            yield _encode({name: row.get(name) for name in _RECORD_COLUMNS})


def _batches(table: Table, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with table.io.new_input(path).open() as stream:
        file: Any = stream  # an Arrow file, whatever the interface of FileIO promises
        parquet = pq.ParquetFile(file)
        # One that was written before RAW had all of today's columns lacks some.
        there = [name for name in columns if name in parquet.schema_arrow.names]
        yield from parquet.iter_batches(columns=there)


def _place(error_object: ErrorObject, malformed: Malformed) -> str:
    return f"{error_object.key}, line {malformed.number}"
