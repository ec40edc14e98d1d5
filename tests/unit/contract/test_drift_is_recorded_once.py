from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.contract.drift import KEPT_DAYS, missing_contract, new_column, record, uncontracted_column
from common.runtime import outside


class Log:
    """The conditional put of DynamoDB, and nothing else of it."""

    def __init__(self, failure: str | None = None) -> None:
        self.items: dict[tuple[str, str], Any] = {}
        self._failure = failure

    def put_item(self, *, TableName: str, Item: dict[str, Any], ConditionExpression: str) -> None:
        assert (TableName, ConditionExpression) == ("log", "attribute_not_exists(entry)")
        key = (Item["topic"]["S"], Item["entry"]["S"])
        code = self._failure or ("ConditionalCheckFailedException" if key in self.items else None)
        if code:
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "PutItem")
        self.items[key] = Item


def test_an_entry_is_written_when_first_seen_and_never_again() -> None:
    log: Any = Log()
    first = [new_column("events", "gps__lat", "run-1"), uncontracted_column("events", "gps__lat", "run-1")]
    assert record(log, "log", first) == 2
    assert record(log, "log", [new_column("events", "gps__lat", "run-2")]) == 0
    assert (
        record(log, "log", [new_column("weather", "gps__lat", "run-2"), missing_contract("weather", "r")])
        == 2
    )
    assert log.items["events", "new-column#gps__lat"]["run_id"] == {"S": "run-1"}


class At(outside.Outside):
    def now(self) -> datetime:
        return datetime.fromtimestamp(1_000.5, UTC)


def test_an_entry_expires_long_after_it_was_seen() -> None:
    log: Any = Log()
    with outside.standing_in(At()):
        record(log, "log", [missing_contract("events", "run-1")])
    (item,) = log.items.values()
    assert item["first_seen"] == {"S": "1970-01-01T00:16:40+00:00"}
    assert item["expires_at"] == {"N": str(1_000 + KEPT_DAYS * 86_400)}


def test_any_other_failure_of_the_log_is_raised() -> None:
    log: Any = Log("ProvisionedThroughputExceededException")
    with pytest.raises(ClientError, match="Throughput"):
        record(log, "log", [missing_contract("events", "run-1")])
