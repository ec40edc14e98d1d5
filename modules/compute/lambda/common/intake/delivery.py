"""Delivery: records → Firehose, with the outcome of every single record.

``PutRecordBatch`` takes at most 500 records and 4 MiB a call and may accept some records and refuse
others (Firehose API reference, PutRecordBatch). What is refused is tried again a few times; what still
is not accepted is returned, so that the caller can hand exactly those messages back to the queue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.runtime.batching import PUT_RECORDS, batches
from common.runtime.retrying import RetryPolicy

if TYPE_CHECKING:
    from types_boto3_firehose.client import FirehoseClient

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
    for call in batches(range(len(records)), lambda i: len(records[i]), PUT_RECORDS):
        pending = call
        for attempt in range(retry.attempts):
            pending, codes = _put(client, stream, records, pending)
            outcome.error_codes |= codes
            if not pending or codes & _HOPELESS or time_left_s() < 10:
                break
            if attempt + 1 < retry.attempts:
                retry.wait(attempt)
        outcome.failed += pending
        if time_left_s() < 10:
            outcome.failed += range(call[-1] + 1, len(records))
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
