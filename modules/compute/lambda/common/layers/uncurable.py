"""Rows of RAW that cannot be curated: they go to the dead-letter queue as the events that they were.

RAW keeps them as well. The queue is where operators look for what did not get through: letters are counted by
reason, alarmed by age, archived, and sent again with ``lean-ops replay dlq`` once the fault is mended, which
gives RAW a copy that the merge takes for what it is. Letters leave before the merge is committed: a run that
is repeated sends them again, which changes nothing, and never loses one.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.contract.typed_texts import FIRST_SECOND, LAST_SECOND
from common.intake import archive, dead_letters
from common.intake.queue_pass import QueuedMessage, QueuePass
from common.lake.merge import KEY_LENGTH_LIMIT
from common.lake.setting_aside import SetAside, stream
from common.payload.flattening import OPERATION
from common.runtime import outside
from common.runtime.batching import SEND_MESSAGES
from common.runtime.errors import RejectedEvent, ServiceFailure

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_sqs.client import SQSClient

ERROR_CODE: Final = "SET_ASIDE"
"""The ``error_code`` of these letters; their event is in RAW too."""
_LONGEST_PERIOD: Final = 64
_NAMELESS: Final = "unknown"
_PAYLOAD: Final = "json_payload"
_ENVELOPE: Final = ("message_id", "idempotency_key", "topic_name", "period_reference", "correlation_id")
# What a message may have in all, less room for attributes (SQS quotas: 1 MiB).
_LONGEST_BODY: Final = SEND_MESSAGES.bytes - 4_096


def curable(
    batches: Iterable[pa.RecordBatch],
    flatten: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    aside: list[SetAside],
) -> Iterator[pa.RecordBatch]:
    """The flattened rows; those whose envelope fits no table, or that flattening fails on, are ``aside``."""
    return stream(_mergeable(batches, aside), flatten, aside.append, "flattening rows of RAW")


def in_time(
    batches: Iterable[pa.RecordBatch], days: int | None, aside: list[SetAside]
) -> Iterator[pa.RecordBatch]:
    """Events that were published in the last ``days`` days before the one that they were received on, in UTC.

    Others are ``aside``; None: every event is in time. It is a function of the event and the contract alone:
    whenever RAW is read, the same ones are late.
    """
    if days is None:
        yield from batches
        return
    for batch in batches:
        received: Any = pc.floor_temporal(batch["ingestion_ts"], unit="day")
        first: Any = pc.subtract(received, pa.scalar(timedelta(days=days), pa.duration("us")))
        late: Any = pc.fill_null(pc.less(batch["publish_time"], first), pa.scalar(False))  # noqa: FBT003
        found = f"expected an event of the {days} days that its contract keeps rows for, found an older one"
        rows = np.flatnonzero(late.to_numpy(zero_copy_only=False))
        aside += [SetAside(pa.Table.from_batches([batch.slice(int(row), 1)]), found) for row in rows]
        yield batch.filter(pc.invert(late))


def send_letters(client: "SQSClient", queue_url: str, rows: Sequence[SetAside]) -> None:
    """Send the events of these rows to the dead-letter queue; raises ServiceFailure if it takes not all."""
    letters = [dead_letters.DeadLetter(_record(row), RejectedEvent(ERROR_CODE, row.found)) for row in rows]
    if refused := dead_letters.send(client, queue_url, letters):
        raise ServiceFailure(
            f"dead-letter queue: expected it to take {len(letters)} rows that cannot be curated, found "
            f"{len(refused)} refused; nothing was committed, and the next run sends them again"
        )


def set_aside_since(
    since: datetime, *, sqs: "SQSClient", queue_url: str, s3: "S3Client", bucket: str
) -> Iterator[str]:
    """Message ids of rows that were set aside ``since`` then, from the queue and the archive of its letters.

    Of a row without an id it is the empty text. Looking at the queue is a receive of all its letters
    (``common.intake.queue_pass``).
    """
    with QueuePass(sqs, queue_url) as letters:
        for batch in letters.batches():
            yield from _ids_of_rows(batch)
    for archived in archive.read(s3, bucket, since.date(), outside.now().date()):
        yield from _ids_of_rows(archived.messages)


def _ids_of_rows(letters: Iterable[QueuedMessage]) -> Iterator[str]:
    for letter in letters:
        if letter.text_attribute("error_code") == ERROR_CODE:
            name = letter.text_attribute("source_message_id") or _NAMELESS
            yield name
            if name == _NAMELESS:
                yield ""


def _mergeable(batches: Iterable[pa.RecordBatch], aside: list[SetAside]) -> Iterator[pa.RecordBatch]:
    """The rows whose envelope a table can hold: what did not come by the queue was asked for nothing."""
    for batch in batches:
        found = _misfits(batch)
        if not found:
            yield batch
            continue
        table = pa.Table.from_batches([batch])
        aside += [SetAside(table.slice(row, 1), reason) for row, reason in sorted(found.items())]
        yield from _mergeable(
            table.take(np.setdiff1d(np.arange(len(batch)), list(found))).to_batches(), aside
        )


def _misfits(batch: pa.RecordBatch) -> dict[int, str]:
    """Rows of a batch whose envelope no merge takes, and why."""
    if broken := _not_utf8(batch):
        return broken  # the rest of its rows come again without them
    keys = _lengths(batch["idempotency_key"])
    periods = _lengths(batch["period_reference"])
    masks = {
        f"expected a key of 1 to {KEY_LENGTH_LIMIT} characters": (keys < 1) | (keys > KEY_LENGTH_LIMIT),
        # The name of a directory.
        f"expected a period_reference of {_LONGEST_PERIOD} characters at most": periods > _LONGEST_PERIOD,
    }
    for name in ("publish_time", "ingestion_ts"):
        seconds = batch[name].cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) // 1_000_000
        outside = (seconds < FIRST_SECOND) | (seconds > LAST_SECOND)
        masks[f"expected {name} within the years 1 to 9999"] = outside
    return {int(row): f"{why}, found another" for why, mask in masks.items() for row in np.flatnonzero(mask)}


def _not_utf8(batch: pa.RecordBatch) -> dict[int, str]:
    """Rows with an envelope field whose bytes are no text: a reader of Parquet does not look."""
    found: dict[int, str] = {}
    for name in _ENVELOPE:
        column = batch[name]
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            values: list[bytes | None] = column.cast(pa.binary()).to_pylist()
            wrong = (row for row, value in enumerate(values) if not _is_utf8(value))
            found |= dict.fromkeys(wrong, f"expected {name} as UTF-8, found other bytes")
    return found


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _lengths(texts: Any) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.int64] = pc.utf8_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
    return lengths


def _record(aside: SetAside) -> dict[str, Any]:
    """The row as the queue's record of the event that it was."""
    # RAW may be from before it had a column for the operation.
    names = [n for n in (*_ENVELOPE, OPERATION, _PAYLOAD) if n in aside.row.column_names]
    texts = {name: aside.row[name].cast(pa.binary())[0].as_py() for name in names}
    # What is not UTF-8 is shown by its escapes; RAW has the bytes.
    row: dict[str, Any] = {
        n: None if t is None else t.decode(errors="backslashreplace") for n, t in texts.items()
    }
    published, ingested = (_moment(aside.row[name]) for name in ("publish_time", "ingestion_ts"))
    seen_ms = int(ingested.timestamp() * 1000) if ingested else 0
    return {
        "body": _body(row, published),
        "messageId": row["message_id"] or _NAMELESS,
        "attributes": {"ApproximateFirstReceiveTimestamp": str(seen_ms)},
        "messageAttributes": {},
    }


def _moment(column: Any) -> datetime | None:
    """The one moment of a column; None for one that Python's calendar does not have."""
    (microseconds,) = column.cast(pa.int64()).to_pylist()
    if microseconds is None or not FIRST_SECOND <= microseconds // 1_000_000 <= LAST_SECOND:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _body(row: dict[str, Any], published: datetime | None) -> str:
    """The event as it was sent, its payload byte for byte; without it where no message can hold it."""
    envelope = {name: row[name] for name in (*_ENVELOPE, OPERATION) if row.get(name) is not None}
    if published is not None:
        envelope["publish_time"] = published.isoformat()
    head = json.dumps(envelope, ensure_ascii=False)
    if row[_PAYLOAD] is None:
        return head
    body = f'{head[:-1]}, "payload": {row[_PAYLOAD]}}}'
    return body if len(body.encode()) <= _LONGEST_BODY else head
