"""Rows of RAW that cannot be curated: they go to the dead-letter queue as the events that they were.

RAW keeps them as well. The queue is where operators look for what did not get through: letters are counted by
reason, alarmed by age, archived, and sent again with ``lean-ops replay dlq`` once the fault is mended, which
gives RAW a copy that the merge takes for what it is. Letters leave before the merge is committed: a run that
is repeated sends them again, which changes nothing, and never loses one.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common import dead_letters
from common.errors import RejectedEvent, ServiceFailure
from common.merge.source import KEY_LENGTH_LIMIT
from common.setting_aside import SetAside, stream

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

ERROR_CODE: Final = "SET_ASIDE"
"""The ``error_code`` of these letters; their event is in RAW too."""
_PAYLOAD: Final = "json_payload"
_ENVELOPE: Final = ("message_id", "idempotency_key", "topic_name", "period_reference", "correlation_id")
# What a message may have in all, less room for attributes (SQS quotas: 1 MiB).
_LONGEST_BODY: Final = dead_letters.MAX_CALL_BYTES - 4_096


def curable(
    batches: Iterable[pa.RecordBatch],
    flatten: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    aside: list[SetAside],
) -> Iterator[pa.RecordBatch]:
    """The flattened rows; those without a usable key, or that flattening fails on, are put ``aside``."""
    return stream(_with_keys(batches, aside), flatten, aside.append, "flattening rows of RAW")


def send_letters(client: "SQSClient", queue_url: str, rows: Sequence[SetAside]) -> None:
    """Send the events of these rows to the dead-letter queue; raises ServiceFailure if it takes not all."""
    letters = [dead_letters.DeadLetter(_record(row), RejectedEvent(ERROR_CODE, row.found)) for row in rows]
    if refused := dead_letters.send(client, queue_url, letters):
        raise ServiceFailure(
            f"dead-letter queue: expected it to take {len(letters)} rows that cannot be curated, found "
            f"{len(refused)} refused; nothing was committed, and the next run sends them again"
        )


def _with_keys(batches: Iterable[pa.RecordBatch], aside: list[SetAside]) -> Iterator[pa.RecordBatch]:
    """The rows whose key the merge takes: the event contract holds for what came by the queue only."""
    for batch in batches:
        keys: Any = batch["idempotency_key"]
        lengths = pc.utf8_length(keys).fill_null(0).to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero((lengths < 1) | (lengths > KEY_LENGTH_LIMIT))
        if not len(wrong):
            yield batch
            continue
        table = pa.Table.from_batches([batch])
        for row in wrong.tolist():
            found = f"expected a key of 1 to {KEY_LENGTH_LIMIT} characters, found one of {lengths[row]}"
            aside.append(SetAside(table.slice(row, 1), found))
        yield from table.take(np.setdiff1d(np.arange(len(lengths)), wrong)).to_batches()


def _record(aside: SetAside) -> dict[str, Any]:
    """The row as the queue's record of the event that it was."""
    (row,) = aside.row.to_pylist()
    seen = row["ingestion_ts"]
    return {
        "body": _body(row),
        "messageId": row["message_id"] or "unknown",
        "attributes": {"ApproximateFirstReceiveTimestamp": str(int(seen.timestamp() * 1000) if seen else 0)},
        "messageAttributes": {},
    }


def _body(row: dict[str, Any]) -> str:
    """The event as it was sent, its payload byte for byte; without it where no message can hold it."""
    envelope = {name: row[name] for name in _ENVELOPE if row[name] is not None}
    if row["publish_time"] is not None:
        envelope["publish_time"] = row["publish_time"].isoformat()
    head = json.dumps(envelope, ensure_ascii=False)
    if row[_PAYLOAD] is None:
        return head
    body = f'{head[:-1]}, "payload": {row[_PAYLOAD]}}}'
    return body if len(body.encode()) <= _LONGEST_BODY else head
