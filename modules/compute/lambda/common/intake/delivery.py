"""Delivery: records → Firehose, with the outcome of every single record.

``PutRecordBatch`` takes at most 500 records and 4 MiB a call and may accept some records and refuse
others (Firehose API reference, PutRecordBatch). What is refused is tried again a few times; what still
is not accepted is returned, so that the caller can hand exactly those messages back to the queue.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.runtime.retrying import RetryPolicy

if TYPE_CHECKING:
    from types_boto3_firehose.client import FirehoseClient

MAX_BATCH_RECORDS: Final = 500
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
# Asking again cannot help with these; they are reported at once, and loudly.
_HOPELESS: Final = frozenset(
    {
        "AccessDeniedException",
        "InvalidArgumentException",
        "ResourceNotFoundException",
        "InvalidKMSResourceException",
    }
)
# An answer that does not say what became of each record, whoever gave it: none counts as accepted.
_MALFORMED: Final = "MalformedAnswer"


@dataclass
class DeliveryOutcome:
    """Indices (into the records given) that Firehose did not accept, and the error codes it gave."""

    failed: list[int] = field(default_factory=list)
    error_codes: set[str] = field(default_factory=set)


def batches(records: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Cut ``records`` into the longest runs ``[start, end)`` that one PutRecordBatch call takes."""
    start = size = 0
    for i, record in enumerate(records):
        if i - start == MAX_BATCH_RECORDS or size + len(record) > MAX_BATCH_BYTES:
            yield start, i
            start, size = i, 0
        size += len(record)
    if start < len(records):
        yield start, len(records)


def deliver(
    client: "FirehoseClient",
    stream: str,
    records: Sequence[bytes],
    *,
    retry: RetryPolicy,
    time_left_s: Callable[[], float],
) -> DeliveryOutcome:
    """Put ``records`` (each at most 1,000 KiB) on ``stream`` and say which were not accepted.

    Stops trying when ``time_left_s()`` falls under ten seconds: what is left then counts as failed, and
    the queue delivers it again. Never raises for what the service answered.
    """
    outcome = DeliveryOutcome()
    for start, end in batches(records):
        pending = list(range(start, end))
        for attempt in range(retry.attempts):
            pending, codes = _put(client, stream, records, pending)
            outcome.error_codes |= codes
            if not pending or codes & _HOPELESS or time_left_s() < 10:
                break
            if attempt + 1 < retry.attempts:
                retry.wait(attempt)
        outcome.failed += pending
        if time_left_s() < 10:
            outcome.failed += range(end, len(records))
            break
    return outcome


def _put(
    client: "FirehoseClient", stream: str, records: Sequence[bytes], pending: list[int]
) -> tuple[list[int], set[str]]:
    """One call; returns the indices not accepted and the error codes seen."""
    try:
        answer = client.put_record_batch(
            DeliveryStreamName=stream, Records=[{"Data": records[i]} for i in pending]
        )
    except ClientError as error:
        return pending, {error.response["Error"]["Code"]}
    except (BotoCoreError, ResponseParserError) as error:  # refused connection, timeout, half an answer
        return pending, {type(error).__name__}
    responses = answer.get("RequestResponses", [])
    if len(responses) != len(pending):
        return pending, {_MALFORMED}
    if answer.get("FailedPutCount") == 0:
        return [], set()
    refused = [
        (i, entry["ErrorCode"]) for i, entry in zip(pending, responses, strict=True) if "ErrorCode" in entry
    ]
    return [i for i, _ in refused], {code for _, code in refused}
