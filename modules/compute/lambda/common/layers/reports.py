"""What upkeep did and reconciliation found, left where it is told from (``common.layers.operations``).

Either knows it at its end alone, and writes no table for it: several work at once, and would stand in each
other's way. Each adds to the set of the topic, one item of the checkpoints table; who tells takes away what
it has told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from common.lake.upkeep import Upkeep
from common.layers.reconciling import COUNTS, Fault, Reconciled
from common.runtime.logs import logger

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

MOST: Final = 30
"""So many reports of a topic wait at most: an item holds 400 KB, and a look of a week is 10 KB."""
_REPORTS: Final = "reports"


class Pass(msgspec.Struct, frozen=True, tag="upkeep"):
    """What one pass of upkeep did to a table; names are those of ``ops_upkeep``, ``at`` in seconds."""

    at: float
    layer: str
    run_id: str
    rows_past: int
    files_past: int
    files_compacted: int
    delete_files_dropped: int
    snapshots_expired: int
    orphans_removed: int
    orphan_bytes: int
    data_files_before: int
    data_files_after: int
    delete_files_before: int
    delete_files_after: int
    bytes_before: int
    bytes_after: int
    snapshots_after: int
    finished: bool
    seconds: float

    @classmethod
    def of(cls, done: Upkeep, layer: str, run_id: str, now: datetime) -> Self | None:
        """The report of a pass; None of one that changed nothing and was finished."""
        before, after = done.before, done.after
        report = cls(
            now.timestamp(),
            layer,
            run_id,
            done.past.rows,
            done.past.files,
            done.compacted_files,
            done.delete_files_dropped,
            done.snapshots_expired,
            done.orphans_removed,
            done.orphan_bytes,
            before.data_files,
            after.data_files,
            before.delete_files,
            after.delete_files,
            before.bytes,
            after.bytes,
            after.snapshots,
            done.finished,
            round(done.seconds, 3),
        )
        changed = (
            done.past.files
            + done.compacted_files
            + done.delete_files_dropped
            + done.snapshots_expired
            + done.orphans_removed
        )
        return report if changed or not done.finished else None

    def rows(self, topic: str) -> list[dict[str, Any]]:
        """The row of ``ops_upkeep``."""
        told = msgspec.structs.asdict(self)
        at = told.pop("at")
        entry = f"{self.layer}_{topic}/{at:.6f}"
        return [{"entry": entry, "publish_time": _moment(at), "topic": topic, **told}]


class Look(msgspec.Struct, frozen=True, tag="reconciliation"):
    """What one look of reconciliation found; ``hours``: of each its begin in seconds, and its numbers.

    These are ``COUNTS``, then keys by fault.
    """

    at: float
    hours: list[tuple[int, list[int]]]

    @classmethod
    def of(cls, found: Reconciled, now: datetime) -> Self | None:
        """The report of a look; None where no event was received."""
        hours = [
            (
                int(begin.timestamp()),
                [int(getattr(hour, count)) for count in COUNTS]
                + [sum(n for (_, what), n in hour.faults.items() if what == fault) for fault in Fault],
            )
            for begin, hour in sorted(found.hours.items())
        ]
        return cls(now.timestamp(), hours) if hours else None

    def rows(self, topic: str) -> list[dict[str, Any]]:
        """The rows of ``ops_reconciliation``."""
        names = [*COUNTS, *(fault.value for fault in Fault)]
        return [
            {
                "entry": f"{topic}/{self.at:.6f}/{begin}",
                "publish_time": _moment(self.at),
                "topic": topic,
                "received_hour": _moment(begin),
                **dict(zip(names, numbers, strict=True)),
                "wrong": sum(numbers[len(COUNTS) :]),
            }
            for begin, numbers in self.hours
        ]


@dataclass(frozen=True)
class Waiting:
    """The reports of a topic as they lie there, in no order."""

    texts: Sequence[str] = ()

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """What an item has; nothing, where it is damaged."""
        try:
            return cls(tuple(map(str, item[_REPORTS]["SS"])))
        except (KeyError, TypeError):
            return cls()

    def rows(self, topic: str) -> dict[str, list[dict[str, Any]]]:
        """Rows by table. A report that nobody can read has none, and goes with those that were told."""
        found: dict[str, list[dict[str, Any]]] = {}
        for text in self.texts:
            try:
                report = msgspec.json.decode(text, type=Pass | Look)
                found.setdefault(str(report.__struct_config__.tag), []).extend(report.rows(topic))
            except (msgspec.MsgspecError, ValueError, OverflowError):
                logger("reports").warning("a report was not understood", extra={"topic": topic})
        return found


def item_of(topic: str) -> str:
    """Id of the item that has the reports of a topic."""
    return f"{topic}#reports"


def leave(dynamodb: "DynamoDBClient", table: str, topic: str, reports: Iterable[Pass | Look | None]) -> None:
    """Add reports to those of the topic that wait; None is none.

    Where ``MOST`` wait, nobody has told for hours, which has its own alarm: it is logged then and not kept.
    """
    texts = [msgspec.json.encode(report).decode() for report in reports if report is not None]
    if not texts:
        return
    try:
        dynamodb.update_item(
            TableName=table,
            Key={"checkpoint_id": {"S": item_of(topic)}},
            UpdateExpression="ADD #reports :more",
            ConditionExpression="attribute_not_exists(#reports) OR size(#reports) < :most",
            ExpressionAttributeNames={"#reports": _REPORTS},
            ExpressionAttributeValues={":more": {"SS": texts}, ":most": {"N": str(MOST)}},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        logger("reports").warning("a report was not kept, too many wait", extra={"topic": topic})


def take_away(dynamodb: "DynamoDBClient", table: str, topic: str, told: Waiting) -> None:
    """Take away the reports that were told; those that came meanwhile stay. Done twice, it is done once."""
    if told.texts:
        dynamodb.update_item(
            TableName=table,
            Key={"checkpoint_id": {"S": item_of(topic)}},
            UpdateExpression="DELETE #reports :told",
            ExpressionAttributeNames={"#reports": _REPORTS},
            ExpressionAttributeValues={":told": {"SS": list(told.texts)}},
        )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
