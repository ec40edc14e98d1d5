"""The lease of a topic as operators see it, and how they keep the pipeline away from a topic.

    with leases.exclusively(target, "events", "roll back", wait_s=60):
        ...                                # no run of the topic is in progress, and none begins

A hold is an attribute of the lease item (``get_all_checkpoints.lease``): while it is there, every run ends in
``AnotherRunActive``. An execution that was aborted or timed out may have left its function running; such a
function could still commit, so it counts as in progress until no function can be alive any more.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from botocore.exceptions import ClientError

from common.errors import InvalidInput
from lean_ops.repository import function_catalogue
from lean_ops.target import Target

# States of an execution that may leave an invocation of a job behind.
_LEAVES_FUNCTION_RUNNING: Final = frozenset({"ABORTED", "TIMED_OUT"})
_FORGOTTEN: Final = "FORGOTTEN"  # Step Functions forgets executions 90 days after they ended


@dataclass(frozen=True)
class Lease:
    """Who works on a topic. ``holder``: ARN of the execution that had the lease last, empty before any.

    ``status``: Step Functions' word for it; ``ended``: when it ended. ``hold``: why the topic is on hold,
    empty when it is not, with ``held_by`` and ``held_since``.
    """

    topic: str
    holder: str = ""
    status: str = ""
    ended: datetime | None = None
    hold: str = ""
    held_by: str = ""
    held_since: str = ""

    def in_progress(self, now: datetime, function_lifetime: timedelta) -> bool:
        """Whether the holder, or a function that it left behind, may still commit."""
        if self.status == "RUNNING":
            return True
        left_behind = self.status in _LEAVES_FUNCTION_RUNNING and self.ended is not None
        return left_behind and self.ended is not None and now - self.ended < function_lifetime


def read(target: Target, topic: str) -> Lease:
    """The lease of ``topic``."""
    item = (
        target.client("dynamodb")
        .get_item(TableName=target.checkpoints_table, Key=_key(topic), ConsistentRead=True)
        .get("Item", {})
    )
    texts = {name: str(value["S"]) for name, value in item.items() if "S" in value}
    holder = texts.get("execution_arn", "")
    status, ended = _execution(target, holder) if holder else ("", None)
    return Lease(
        topic,
        holder,
        status,
        ended,
        texts.get("on_hold", ""),
        texts.get("held_by", ""),
        texts.get("held_since", ""),
    )


def pause(target: Target, topic: str, reason: str) -> None:
    """Put ``topic`` on hold; raises InvalidInput where it is on hold already."""
    try:
        target.client("dynamodb").update_item(
            TableName=target.checkpoints_table,
            Key=_key(topic),
            UpdateExpression="SET on_hold = :reason, held_by = :who, held_since = :now",
            ConditionExpression="attribute_not_exists(on_hold)",
            ExpressionAttributeValues={
                ":reason": {"S": reason},
                ":who": {"S": target.caller},
                ":now": {"S": datetime.now(UTC).isoformat(timespec="seconds")},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        found = read(target, topic)
        raise InvalidInput(
            f"topic {topic}: expected it not to be on hold, found it on hold since {found.held_since} by "
            f"{found.held_by} ({found.hold}); lift that with `lean-ops resume --topic {topic}` when done"
        ) from error


def resume(target: Target, topic: str) -> bool:
    """Lift the hold of ``topic``; False when there was none."""
    before = target.client("dynamodb").update_item(
        TableName=target.checkpoints_table,
        Key=_key(topic),
        UpdateExpression="REMOVE on_hold, held_by, held_since",
        ReturnValues="ALL_OLD",
    )
    return "on_hold" in before.get("Attributes", {})


def stop(target: Target, topic: str, reason: str) -> str:
    """Stop the execution that works on ``topic``; gives its ARN, empty where none runs.

    A function that it called runs on to its end and may still commit, which is harmless to the next run.
    """
    lease = read(target, topic)
    if lease.status != "RUNNING":
        return ""
    target.client("stepfunctions").stop_execution(
        executionArn=lease.holder, error="StoppedByOperator", cause=reason
    )
    return lease.holder


@contextmanager
def exclusively(
    target: Target, topic: str, purpose: str, *, wait_s: float, keep_hold: bool = False
) -> Iterator[None]:
    """Keep the pipeline away from ``topic`` meanwhile: on hold, and no run in progress.

    A hold that was there before serves, and stays. ``keep_hold``: so does the new one, when all went well.
    Raises InvalidInput when a run is still in progress after ``wait_s`` seconds.
    """
    already = bool(read(target, topic).hold)
    if not already:
        pause(target, topic, purpose)
    lift = not already
    try:
        _await_quiet(target, topic, wait_s)
        yield
        lift = lift and not keep_hold
    finally:
        if lift:
            resume(target, topic)


def function_lifetime() -> timedelta:
    """How long a function may outlive the execution that called it: the longest timeout of all."""
    return timedelta(seconds=max(entry.timeout_s for entry in function_catalogue()))


def _await_quiet(target: Target, topic: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    lifetime = function_lifetime()
    while (lease := read(target, topic)).in_progress(datetime.now(UTC), lifetime):
        if time.monotonic() >= deadline:
            raise InvalidInput(
                f"topic {topic}: expected no run in progress, found execution {lease.holder} {lease.status}"
                + (f" since {lease.ended:%H:%M:%S}, whose function may still run" if lease.ended else "")
                + "; try again when it is over, or wait for it with --wait SECONDS"
            )
        time.sleep(0.2 if target.is_local else 2.0)


def _execution(target: Target, arn: str) -> tuple[str, datetime | None]:
    client = target.client("stepfunctions")
    try:
        found = client.describe_execution(executionArn=arn)
    except client.exceptions.ExecutionDoesNotExist:
        return _FORGOTTEN, None
    return found["status"], found.get("stopDate")


def _key(topic: str) -> dict[str, dict[str, str]]:
    return {"checkpoint_id": {"S": f"{topic}#lease"}}
