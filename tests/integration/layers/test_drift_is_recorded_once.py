"""An entry of the drift log is one, and says when it was first and last seen and by how many runs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.contract.drift import (
    KEPT_DAYS,
    entries,
    missing_contract,
    new_column,
    record,
    uncontracted_column,
)
from common.runtime import outside
from lean_ops.environment.target import Target

SINCE = datetime(1970, 1, 1, tzinfo=UTC)


class Failing:
    """A log that answers with an error."""

    def update_item(self, **_request: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, "UpdateItem"
        )


@pytest.fixture
def log(target: Target) -> Iterator[Any]:
    """The log's table."""
    client: Any = target.client("dynamodb")
    client.create_table(
        TableName="log",
        KeySchema=[
            {"AttributeName": "topic", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("topic", "entry")],
        BillingMode="PAY_PER_REQUEST",
    )
    yield client
    client.delete_table(TableName="log")


def item(log: Any, topic: str, entry: str) -> dict[str, Any]:
    found = log.get_item(TableName="log", Key={"topic": {"S": topic}, "entry": {"S": entry}})["Item"]
    return {name: next(iter(value.values())) for name, value in found.items()}


def test_an_entry_is_one_however_many_runs_meet_it(log: Any) -> None:
    first = [new_column("events", "gps__lat", "run-1"), uncontracted_column("events", "gps__lat", "run-1")]
    assert record(log, "log", first) == 2
    assert record(log, "log", [uncontracted_column("events", "gps__lat", "run-1")]) == 0  # the run again
    with outside.standing_in(At()):
        assert record(log, "log", [uncontracted_column("events", "gps__lat", "run-2")]) == 0
    others = [new_column("weather", "gps__lat", "run-2"), missing_contract("weather", "r")]
    assert record(log, "log", others) == 2
    found = item(log, "events", "uncontracted-column#gps__lat")
    assert (found["run_id"], found["last_run_id"], found["runs"]) == ("run-1", "run-2", "2")
    assert found["last_seen"] == "1970-01-01T00:16:40+00:00" != found["first_seen"]
    (one,) = [e for e in entries(log, "log", "events", SINCE) if e.entry.kind == "uncontracted-column"]
    assert one.entry.run_id == "run-1"
    assert one.first_seen.isoformat() == found["first_seen"]


class At(outside.Outside):
    def now(self) -> datetime:
        return datetime.fromtimestamp(1_000.5, UTC)


def test_an_entry_expires_long_after_it_was_seen_last(log: Any) -> None:
    with outside.standing_in(At()):
        record(log, "log", [missing_contract("events", "run-1")])
    found = item(log, "events", "missing-contract#events")
    assert found["first_seen"] == found["last_seen"] == "1970-01-01T00:16:40+00:00"
    assert found["expires_at"] == str(1_000 + KEPT_DAYS * 86_400)
    record(log, "log", [missing_contract("events", "run-2")])
    assert int(item(log, "events", "missing-contract#events")["expires_at"]) > 1_000 + KEPT_DAYS * 86_400


def test_any_other_failure_of_the_log_is_raised() -> None:
    log: Any = Failing()
    with pytest.raises(ClientError, match="Throughput"):
        record(log, "log", [missing_contract("events", "run-1")])
