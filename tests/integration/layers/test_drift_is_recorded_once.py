"""An entry of the drift log is one, and says since when and on how many days; no news writes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.contract import drift
from common.contract.drift import (
    KEPT_DAYS,
    days_of,
    entries,
    missing_contract,
    new_column,
    record,
    uncontracted_column,
)
from common.runtime import outside
from lean_ops.environment.alarm_catalogue import load
from lean_ops.environment.target import Target

SINCE = datetime(1970, 1, 1, tzinfo=UTC)
BEGAN = datetime(2026, 3, 1, 22, 30, 15, 250_000, tzinfo=UTC)
TABLE = "log"


class At(outside.Outside):
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        return self._moment


class Log:
    """The log's table, and which operations were asked of it."""

    def __init__(self, client: Any) -> None:
        self.client, self.asked = client, list[str]()
        client.meta.events.register("before-call.dynamodb", lambda model, **_: self.asked.append(model.name))

    def met(self, at: datetime, *found: drift.DriftEntry) -> tuple[int, list[str]]:
        """What is told of a run that met entries then: how many are new, and what it asked."""
        self.asked.clear()
        with outside.standing_in(At(at)):
            return record(self.client, TABLE, found), self.asked.copy()

    def item(self, entry: drift.DriftEntry) -> dict[str, Any]:
        return dict(self.client.get_item(TableName=TABLE, Key=key(entry))["Item"])

    def said(self, entry: drift.DriftEntry) -> dict[str, Any]:
        return {name: next(iter(value.values())) for name, value in self.item(entry).items()}

    def put(self, item: dict[str, Any]) -> None:
        self.client.put_item(TableName=TABLE, Item=item)


def key(entry: drift.DriftEntry) -> dict[str, Any]:
    return {"topic": {"S": entry.topic}, "entry": {"S": entry.entry}}


@pytest.fixture
def log(target: Target) -> Iterator[Log]:
    client: Any = target.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "topic", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("topic", "entry")],
        BillingMode="PAY_PER_REQUEST",
    )
    yield Log(client)
    client.delete_table(TableName=TABLE)


def uncontracted(run_id: str, columns: int = 1) -> list[drift.DriftEntry]:
    return [uncontracted_column("events", f"column_{number}", run_id) for number in range(columns)]


def test_an_entry_is_one_however_many_runs_meet_it(log: Log) -> None:
    first = [new_column("events", "gps__lat", "run-1"), uncontracted_column("events", "gps__lat", "run-1")]
    assert log.met(BEGAN, *first)[0] == 2
    assert log.met(BEGAN, *first)[0] == 0  # the run again
    again = uncontracted_column("events", "gps__lat", "run-2")
    later = BEGAN + timedelta(hours=2)  # another day
    assert log.met(later, again)[0] == 0
    others = [new_column("weather", "gps__lat", "run-2"), missing_contract("bare", "r")]
    assert log.met(BEGAN, *others, *others, *first)[0] == 2
    found = log.said(again)
    assert (found["run_id"], found["last_run_id"], found["days"]) == ("run-1", "run-2", "2")
    assert (found["first_seen"], found["last_seen"]) == (
        "2026-03-01T22:30:15+00:00",
        "2026-03-02T00:30:15+00:00",
    )
    (one,) = [e for e in entries(log.client, TABLE, "events", SINCE) if e.entry.kind == "uncontracted-column"]
    assert one.entry.run_id == "run-1"
    assert one.first_seen.isoformat() == found["first_seen"]


def test_a_run_that_meets_nothing_new_asks_once_and_writes_nothing(log: Log) -> None:
    """The first of a day writes each again; however many columns there are, all others ask once."""
    assert log.met(BEGAN, *uncontracted("run-1", 30)) == (30, ["Query", *["PutItem"] * 30])
    for number in range(2, 5):
        at = BEGAN + timedelta(minutes=15 * number)
        assert log.met(at, *uncontracted(f"run-{number}", 30)) == (0, ["Query"])
    tomorrow = BEGAN + timedelta(hours=2)
    assert log.met(tomorrow, *uncontracted("run-5", 31)) == (
        1,
        ["Query", *["UpdateItem"] * 30, "PutItem"],
    )
    assert log.met(tomorrow, *uncontracted("run-6", 31)) == (0, ["Query"])
    assert log.met(tomorrow) == (0, [])


def test_the_alarm_counts_what_writes_entries_that_are_new(log: Log) -> None:
    (metric,) = load().alarms["schema-drift"].metrics
    entry = missing_contract("events", "run-1")
    assert log.met(BEGAN, entry)[1].count(metric.dimensions["Operation"]) == 1
    assert metric.dimensions["Operation"] not in log.met(BEGAN + timedelta(days=1), entry)[1]


def test_what_an_entry_says_now_is_written_on_the_same_day(log: Log) -> None:
    before = new_column("events", "gps__lat", "run-1")
    now = new_column("events", "gps__lat", "run-2", "47.1")
    assert log.met(BEGAN, before)[0] == 1
    assert log.met(BEGAN, now) == (0, ["Query", "UpdateItem"])
    found = log.said(now)
    assert (found["detail"], found["days"], found["run_id"]) == (now.detail, "1", "run-1")


def test_an_entry_expires_long_after_it_was_seen_last(log: Log) -> None:
    entry = missing_contract("events", "run-1")
    log.met(BEGAN, entry)
    kept = KEPT_DAYS * 86_400
    assert int(log.said(entry)["expires_at"]) == int(BEGAN.timestamp()) + kept
    tomorrow = BEGAN + timedelta(days=1)
    log.met(tomorrow, missing_contract("events", "run-2"))
    assert int(log.said(entry)["expires_at"]) == int(tomorrow.timestamp()) + kept
    # It is not there any more then, whether DynamoDB has removed it or not.
    long_after = tomorrow + timedelta(days=KEPT_DAYS)
    assert log.met(long_after, missing_contract("events", "run-3")) == (1, ["Query", "PutItem"])
    assert (log.said(entry)["run_id"], log.said(entry)["days"]) == ("run-3", "1")


def test_of_two_runs_at_once_one_writes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has asked before the other wrote: an entry is new once, and its day is counted once."""
    ask = drift._known

    def meanwhile(*arguments: Any) -> dict[str, dict[str, Any]]:
        known = ask(*arguments)
        monkeypatch.setattr(drift, "_known", ask)
        assert log.met(at, *uncontracted("other"))[0] == (at is BEGAN)
        return known

    for at in (BEGAN, BEGAN + timedelta(days=1)):
        monkeypatch.setattr(drift, "_known", meanwhile)
        assert log.met(at, *uncontracted("late"))[0] == 0
    found = log.said(uncontracted("other")[0])
    assert (found["run_id"], found["last_run_id"], found["days"]) == ("other", "other", "2")


def test_an_entry_that_expires_meanwhile_is_new_to_the_next_run(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half of an entry comes of it."""
    (entry,) = uncontracted("run-1")
    log.met(BEGAN, entry)
    ask, tomorrow = drift._known, BEGAN + timedelta(days=1)

    def meanwhile(*arguments: Any) -> dict[str, dict[str, Any]]:
        known = ask(*arguments)
        log.client.delete_item(TableName=TABLE, Key=key(entry))
        return known

    with monkeypatch.context() as patch:
        patch.setattr(drift, "_known", meanwhile)
        assert log.met(tomorrow, *uncontracted("run-2"))[0] == 0
    assert "Item" not in log.client.get_item(TableName=TABLE, Key=key(entry))
    assert log.met(tomorrow, *uncontracted("run-3"))[0] == 1


def test_an_item_of_another_version_or_a_damaged_one_is_made_whole(log: Log) -> None:
    """Whatever it lacks, the next run gives it; what it was first met by stays. It stops nothing."""
    (entry,) = uncontracted("run-9")
    log.met(BEGAN, *uncontracted("run-1"))
    whole, tomorrow = log.item(entry), BEGAN + timedelta(days=1)
    of_before = {name: value for name, value in whole.items() if name != "days"} | {"runs": {"N": "512"}}
    log.put(of_before)
    log.met(tomorrow, entry)
    assert log.said(entry).keys() == whole.keys()
    assert (log.said(entry)["run_id"], days_of(log.item(entry))) == ("run-1", 2)
    damages: list[Any] = [None, {"NULL": True}, {"S": "x"}, {"N": "-1"}, {"L": []}, {"M": {}}]
    once = {"run_id", "first_seen"}
    for name in whole.keys() - key(entry).keys():
        for damage in damages[: 1 if name in once else None]:
            rest = {other: value for other, value in whole.items() if other != name}
            log.put(rest if damage is None else rest | {name: damage})
            log.met(tomorrow, entry)
            assert {n: next(iter(v)) for n, v in log.item(entry).items()} == {
                n: next(iter(v)) for n, v in whole.items()
            }, (name, damage)
            assert log.met(tomorrow, entry) == (0, ["Query"]), (name, damage)


def test_what_was_written_before_an_error_stays_and_the_rest_comes_with_the_next_run(log: Log) -> None:
    class Failing:
        """A client of which the third write is refused."""

        get_paginator, left = log.client.get_paginator, 2

        def put_item(self, **request: Any) -> Any:
            if not self.left:
                raise ClientError({"Error": {"Code": "Throughput", "Message": ""}}, "PutItem")
            self.left -= 1
            return log.client.put_item(**request)

    failing: Any = Failing()
    with pytest.raises(ClientError, match="Throughput"), outside.standing_in(At(BEGAN)):
        record(failing, TABLE, uncontracted("run-1", 4))
    assert log.met(BEGAN, *uncontracted("run-1", 4)) == (2, ["Query", "PutItem", "PutItem"])


def test_of_a_long_log_every_page_is_read(log: Log) -> None:
    wide = [uncontracted_column("events", f"{number:03}_{'x' * 900}", "run") for number in range(3)]
    log.met(BEGAN, *wide)
    for entry in wide:  # DynamoDB answers with a mebibyte at most
        log.put({**log.item(entry), "padding": {"S": "x" * 390_000}})
    assert log.met(BEGAN, *wide) == (0, ["Query", "Query"])
