"""The audit trail: which operation was run on an environment, by whom, on what, and how it ended.

    with audit.operation(target, "replay.dlq", reason="INC-12", selection={"topic": "events"}) as entry:
        entry.counts["sent"] += 1
        entry.heartbeat()

An operation is on record before it begins: without its record it does not start. The record then says
``succeeded``, ``failed`` (with the error) or ``interrupted`` (Ctrl-C, SIGTERM). A process that was killed
cannot say anything: its record stays ``started``, with the time of its last sign of life, until its
repetition takes its work up.

The trail is the DynamoDB table ``<project>-<env>-audit``, one item an operation, kept without limit. It holds
no payload value: selections are what the operator typed, counts are numbers.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from botocore.exceptions import ClientError

from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.environment.target import Target

HEARTBEAT_S: Final = 5.0
# The name of an operation whose record cannot be read.
UNREADABLE: Final = "unreadable"
_ID_TIME: Final = "%Y%m%dT%H%M%SZ"


class Outcome(StrEnum):
    """How an operation ended. STARTED: it is running, or it was killed."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass
class Entry:
    """The record of one operation; ``counts`` and ``place`` are the operation's to fill.

    ``place``: how far it is, for an operation that a later one can take up there.
    """

    operation_id: str
    operation: str
    who: str
    reason: str
    selection: Mapping[str, Any]
    resumes: str | None
    started_at: datetime
    seen_at: datetime
    outcome: Outcome = Outcome.STARTED
    error: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    place: str = ""
    _target: Target | None = field(default=None, repr=False, compare=False)
    _written: float = field(default=0.0, repr=False, compare=False)

    @property
    def seconds(self) -> float:
        """From the start to the end, or to the last sign of life."""
        return (self.seen_at - self.started_at).total_seconds()

    def heartbeat(self) -> None:
        """Record the counts so far; does nothing when that was done within ``HEARTBEAT_S`` seconds."""
        if outside.monotonic() - self._written >= HEARTBEAT_S:
            self._write()

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values; times are ISO 8601 in UTC."""
        return {
            "operation_id": self.operation_id,
            "operation": self.operation,
            "who": self.who,
            "reason": self.reason,
            "selection": dict(self.selection),
            "resumes": self.resumes,
            "started_at": self.started_at.isoformat(),
            "seen_at": self.seen_at.isoformat(),
            "outcome": self.outcome.value,
            "error": self.error,
            "counts": {name: count for name, count in self.counts.items() if count},
            "place": self.place,
        }

    def _write(self) -> None:
        if self._target is None:
            return
        self.seen_at = outside.now()
        document = self.as_json()
        item = {
            **{name: {"S": value} for name, value in document.items() if isinstance(value, str) and value},
            "selection": {"S": json.dumps(document["selection"], default=str)},
            "counts": {"S": json.dumps(document["counts"])},
        }
        self._target.client("dynamodb").put_item(TableName=self._target.audit_table, Item=item)
        self._written = outside.monotonic()


@contextmanager
def operation(
    target: Target,
    name: str,
    *,
    reason: str = "",
    selection: Mapping[str, Any] | None = None,
    resumes: str | None = None,
) -> Iterator[Entry]:
    """Record the operation ``name`` (``checkpoints.reset``) around its work.

    ``selection`` (JSON values) says what it was applied to; ``resumes`` is the id of the operation that it
    takes up again. What the work raises is recorded and passes through; where even that cannot be recorded,
    the error carries a note about it.
    """
    now = outside.now()
    entry = Entry(
        operation_id=f"{now:{_ID_TIME}}-{outside.new_id().hex[:8]}",
        operation=name,
        who=target.caller,
        reason=reason,
        selection=selection or {},
        resumes=resumes,
        started_at=now,
        seen_at=now,
        _target=target,
    )
    entry._write()  # the entry is this module's own
    try:
        yield entry
    except BaseException as error:  # an interrupt is neither an Exception nor of a class known here
        entry.outcome = Outcome.FAILED if isinstance(error, Exception) else Outcome.INTERRUPTED
        entry.error = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else ""
        try:
            entry._write()
        except Exception as unrecorded:  # the work's own error matters more
            error.add_note(f"operation {entry.operation_id}: its end could not be recorded: {unrecorded}")
        raise
    entry.outcome = Outcome.SUCCEEDED
    entry._write()


def taken_up(target: Target, operation_id: str, *, by: str) -> None:
    """Close the record of an operation that was killed: the operation ``by`` has taken its work up."""
    try:
        target.client("dynamodb").update_item(
            TableName=target.audit_table,
            Key={"operation_id": {"S": operation_id}},
            UpdateExpression="SET outcome = :interrupted, #error = :by",
            ConditionExpression="outcome = :started",
            ExpressionAttributeNames={"#error": "error"},
            ExpressionAttributeValues={
                ":interrupted": {"S": Outcome.INTERRUPTED.value},
                ":started": {"S": Outcome.STARTED.value},
                ":by": {"S": f"killed; taken up by {by}"},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def entries(target: Target, *, operation: str = "", limit: int | None = None) -> list[Entry]:
    """Recorded operations, the newest first: those whose name starts with ``operation``, ``limit`` at most.

    Reads the whole table, which has one small item an operation.
    """
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.audit_table)
    found = [_entry(item) for page in pages for item in page["Items"]]
    found = [entry for entry in found if entry.operation.startswith(operation)]
    return sorted(found, key=lambda entry: entry.started_at, reverse=True)[:limit]


def find(target: Target, operation_id: str) -> Entry:
    """The record of one operation; raises InvalidInput where there is none."""
    answer = target.client("dynamodb").get_item(
        TableName=target.audit_table, Key={"operation_id": {"S": operation_id}}
    )
    if "Item" not in answer:
        raise InvalidInput(
            f"operation {operation_id!r}: expected it in {target.audit_table}, found none; "
            "`lean-ops audit` lists them"
        )
    return _entry(answer["Item"])


def _entry(item: Mapping[str, Any]) -> Entry:
    """The record as it was written; one that cannot be read is a failed operation, and hides no other."""
    try:
        return _read(item)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        operation_id = str(item["operation_id"]["S"])
        at = _begun(operation_id)
        return Entry(
            operation_id,
            UNREADABLE,
            who="",
            reason="",
            selection={},
            resumes=None,
            started_at=at,
            seen_at=at,
            outcome=Outcome.FAILED,
            error=f"its record cannot be read ({type(error).__name__}): restore it, or remove the item",
        )


def _begun(operation_id: str) -> datetime:
    """When an operation began, by its id."""
    try:
        return datetime.strptime(operation_id.partition("-")[0], _ID_TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its offset")
    return moment


def _read(item: Mapping[str, Any]) -> Entry:
    def text(name: str) -> str:
        return str(item[name]["S"]) if name in item else ""

    selection, counts = json.loads(text("selection")), json.loads(text("counts"))
    if not isinstance(selection, dict) or not all(isinstance(count, int) for count in counts.values()):
        raise ValueError("no selection, or no counts")
    return Entry(
        operation_id=text("operation_id"),
        operation=text("operation"),
        who=text("who"),
        reason=text("reason"),
        selection=selection,
        resumes=text("resumes") or None,
        started_at=_moment(text("started_at")),
        seen_at=_moment(text("seen_at")),
        outcome=Outcome(text("outcome")),
        error=text("error"),
        counts=Counter(counts),
        place=text("place"),
    )
