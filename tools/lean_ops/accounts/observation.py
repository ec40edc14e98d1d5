"""Observation: what a stack holds, counted in its queues and tables, for reconciliation with the ledger."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import duckdb
from pyiceberg.table import Table

from common.contract.casting import UNPROCESSABLE
from common.intake import queue_pass
from common.lake.closing import closed_before
from common.runtime import outside
from lean_ops.accounts.reconciliation import Observed, ObservedTopic, Since
from lean_ops.environment import lake
from lean_ops.environment.target import Target

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

# The reason of a dead letter that SQS itself moved, after too many tries.
REDRIVEN: Final = "REDRIVEN"
HIDDEN: Final = "HIDDEN"
"""In place of a reason: of letters that somebody else hid all the time."""
# Longer than counting takes: a message is counted once.
_PEEK_VISIBILITY_S: Final = 120
# A pass that was killed (an archive's, on a full disk) hides what it held for so long.
_HELD_S: Final = queue_pass.VISIBILITY_S + 30
_LOOK_AGAIN_S: Final = 1.0


def observe(target: Target) -> Observed:
    """Count messages and rows of ``target``. Meant for a stack that has settled (see ``settle``)."""
    since = {table.name()[-1]: _since(table) for table in lake.tables(target)}
    with lake.connect(target) as connection:
        names = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
        topics = sorted(name.removeprefix("raw_") for name in names if name.startswith("raw_"))
        return Observed(
            topics={topic: _topic(connection, topic, names, since) for topic in topics},
            dead_letters=dead_letters(target),
            in_flight=in_flight(target),
        )


def in_flight(target: Target) -> int:
    """Messages that the source queue still has: waiting, being processed or delayed."""
    attributes = target.client("sqs").get_queue_attributes(
        QueueUrl=target.queue_url(target.source_queue),
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )["Attributes"]
    return sum(int(count) for count in attributes.values())


def dead_letters(target: Target) -> dict[str, int]:
    """Messages in the dead-letter queue by reason.

    Every message is received once and handed back at once; nothing is deleted. What another pass hides
    meanwhile (the hourly archive, a replay) is waited for: it would be missing. What stays hidden for longer
    than a pass that was killed hides it is counted under ``HIDDEN``. On AWS a message that was received three
    times leaves the queue's age metric, and counts of hidden messages are late, so this is for local stacks.
    """
    client = target.client("sqs")
    url = target.queue_url(target.dead_letter_queue)
    deadline = outside.monotonic() + _HELD_S
    while True:
        reasons, hidden = _letters_in_sight(client, url)
        if not hidden or outside.monotonic() >= deadline:
            break
        outside.sleep(_LOOK_AGAIN_S)
    return dict(Counter(reasons)) | ({HIDDEN: hidden} if hidden else {})


def _letters_in_sight(client: "SQSClient", url: str) -> tuple[list[str], int]:
    """The reason of each letter that can be received now, and how many others hide."""
    reasons: dict[str, str] = {}
    handles: list[str] = []
    try:
        while received := client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=_PEEK_VISIBILITY_S,
            MessageAttributeNames=["error_code"],
        ).get("Messages", []):
            for message in received:
                attribute = message.get("MessageAttributes", {}).get("error_code")
                reasons[message["MessageId"]] = attribute["StringValue"] if attribute else REDRIVEN
                handles.append(message["ReceiptHandle"])
        counts = client.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
    finally:
        for start in range(0, len(handles), 10):
            client.change_message_visibility_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for i, handle in enumerate(handles[start : start + 10])
                ],
            )
    return list(reasons.values()), max(0, int(counts["ApproximateNumberOfMessagesNotVisible"]) - len(reasons))


def settle(target: Target, *, timeout_s: float, on_wait: Callable[[int], None] = lambda _n: None) -> int:
    """Wait until the source queue is empty and Firehose has delivered; return what is left (0: settled).

    ``on_wait`` is told how many messages the queue still has. The local stand-in is asked to deliver at
    once; on AWS its buffering interval passes by itself.
    """
    deadline = outside.monotonic() + timeout_s
    while (left := in_flight(target)) and outside.monotonic() < deadline:
        on_wait(left)
        outside.sleep(0.1)
    target.deliver_now()
    return left


_UNJUDGED_KEYS: Final = (
    f"""count(DISTINCT idempotency_key) FILTER (contains(reasons, '"rule": "{UNPROCESSABLE}"'))"""
)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _since(table: Table) -> int:
    """From when on a table has rows: what was published before is past, though a file may still have it."""
    closed = closed_before(table)
    return (closed - _EPOCH) // timedelta(microseconds=1) if closed else 0


def _topic(
    connection: duckdb.DuckDBPyConnection, topic: str, names: set[str], since: Mapping[str, int]
) -> ObservedTopic:
    def count(what: str, table: str) -> int:
        first = since[f"{table}_{topic}"]
        row = connection.execute(
            f'SELECT {what} FROM "{table}_{topic}" WHERE coalesce(epoch_us(publish_time), {first}) >= {first}'  # noqa: S608 - catalog names
        ).fetchone()
        return int(row[0]) if row else 0

    from_then = Since(*(since.get(f"{layer}_{topic}", 0) for layer in ("raw", "curated", "semantic")))
    judged = max(from_then.curated, from_then.semantic)

    keys = "count(DISTINCT idempotency_key)"
    has_contract = f"semantic_{topic}" in names
    return ObservedTopic(
        raw_rows=count("count(*)", "raw"),
        raw_message_ids=count("count(DISTINCT message_id)", "raw"),
        curated_rows=count("count(*)", "curated"),
        curated_keys=count(keys, "curated"),
        semantic_keys=count(keys, "semantic") if has_contract else None,
        quarantine_keys=_waiting(connection, topic, judged) if has_contract else None,
        unserved_keys=_unserved(connection, topic, judged) if has_contract else None,
        set_aside_keys=count(_UNJUDGED_KEYS, "quarantine") if has_contract else 0,
        since=from_then,
    )


def _waiting(connection: duckdb.DuckDBPyConnection, topic: str, since: int) -> int:
    """Keys whose row of Curated was refused and is not in Semantic."""
    version = "idempotency_key, message_id, publish_time"
    row = connection.execute(
        f"""SELECT count(*) FROM (
                SELECT {version} FROM "curated_{topic}"
                WHERE coalesce(epoch_us(publish_time), {since}) >= {since}
                INTERSECT SELECT {version} FROM "quarantine_{topic}"
                EXCEPT SELECT {version} FROM "semantic_{topic}")"""  # noqa: S608 - catalog names
    ).fetchone()
    return int(row[0]) if row else 0


_ALIVE: Final = "c._tombstone IS NOT TRUE"


def _unserved(connection: duckdb.DuckDBPyConnection, topic: str, since: int) -> int:
    row = connection.execute(
        f"""SELECT count(*) FROM "curated_{topic}" c
            WHERE {_ALIVE} AND coalesce(epoch_us(c.publish_time), {since}) >= {since}
                AND c.idempotency_key NOT IN (
                SELECT idempotency_key FROM "semantic_{topic}"
                UNION ALL SELECT idempotency_key FROM "quarantine_{topic}")"""  # noqa: S608 - catalog names
    ).fetchone()
    return int(row[0]) if row else 0
