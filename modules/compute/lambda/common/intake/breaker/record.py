"""The breaker's record: one item of the checkpoints table, changed under a version.

Whoever changes the breaker first writes the new state here and then brings the event source mapping into
line. ``enforced`` says that this was done; while it is false anyone who comes by does it. So a crash between
the two, or two that decide at once, end with the mapping as the newest record says.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from common.intake.breaker.mapping import Pace
from common.intake.breaker.rules import Breaker, Phase

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

ITEM: Final = "breaker#source"


@dataclass(frozen=True)
class Record:
    """The breaker as written down.

    ``normal``: the mapping's own pace, kept from before it is slowed down until it was seen to be back. None:
    whatever the mapping has is its own.
    """

    breaker: Breaker = field(default_factory=Breaker)
    version: int = 0
    enforced: bool = True
    normal: Pace | None = None

    def changed(self, breaker: Breaker, normal: Pace | None) -> "Record":
        """The next version, still to be enforced."""
        return Record(breaker, self.version + 1, enforced=False, normal=normal)


class RecordStore:
    """Reads and conditionally writes the record in the DynamoDB table ``table``."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb: Final = dynamodb
        self._table: Final = table

    def load(self) -> Record:
        """The record as it is now; a closed breaker where there is none yet."""
        item = self._dynamodb.get_item(
            TableName=self._table, Key={"checkpoint_id": {"S": ITEM}}, ConsistentRead=True
        ).get("Item")
        if item is None:
            return Record()
        pace = item.get("normal", {}).get("M")
        return Record(
            Breaker(
                Phase(item["phase"]["S"]),
                datetime.fromisoformat(item["since"]["S"]),
                int(item["openings"]["N"]),
                held=item["held"]["BOOL"],
                reason=item["reason"]["S"],
            ),
            version=int(item["version"]["N"]),
            enforced=item["enforced"]["BOOL"],
            normal=None if pace is None else Pace(**{name: int(value["N"]) for name, value in pace.items()}),
        )

    def save(self, record: Record) -> bool:
        """Write ``record`` if its version is the next one; False when somebody else wrote that first."""
        breaker = record.breaker
        item: dict[str, Any] = {
            "checkpoint_id": {"S": ITEM},
            "version": {"N": str(record.version)},
            "phase": {"S": breaker.phase.value},
            "since": {"S": breaker.since.isoformat()},
            "openings": {"N": str(breaker.openings)},
            "held": {"BOOL": breaker.held},
            "reason": {"S": breaker.reason},
            "enforced": {"BOOL": record.enforced},
        }
        if record.normal is not None:
            item["normal"] = {"M": {name: {"N": str(n)} for name, n in record.normal.as_json().items()}}
        before = record.version - 1
        if before == 0:
            condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
        else:
            condition = {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": {"N": str(before)}},
            }
        try:
            self._dynamodb.put_item(TableName=self._table, Item=item, **condition)
        except ClientError as error:
            return _lost(error)
        return True

    def confirm(self, record: Record) -> bool:
        """Write down that the mapping is as ``record`` says; False when there is a newer record.

        A breaker that never changed has no item (version 0), and gets none by being confirmed.
        """
        if record.version == 0:
            return self.load().version == 0
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"checkpoint_id": {"S": ITEM}},
                UpdateExpression="SET enforced = :true",
                ConditionExpression="version = :version",
                ExpressionAttributeValues={
                    ":true": {"BOOL": True},
                    ":version": {"N": str(record.version)},
                },
            )
        except ClientError as error:
            return _lost(error)
        return True


def _lost(error: ClientError) -> bool:
    """False where somebody else was faster; any other error rises."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    return False
