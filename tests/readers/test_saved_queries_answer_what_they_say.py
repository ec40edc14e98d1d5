"""Every query that Athena has at hand gives on Trino, its engine, what the events say that were sent."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from common.lake.upkeep import Shape, Upkeep
from common.layers import reports
from lean_ops.accounts import observation
from lean_ops.environment.repository import operations_queries, saved_queries
from lean_ops.local.target import LocalTarget
from lean_ops.local.trino import Trino

from ..support.pipeline import LeanOps

NOW: Final = datetime.now(UTC).replace(microsecond=123456)
QUERIES: Final = saved_queries("events", "lean_ops_local") | operations_queries()
A_DAY_AGO: Final = "(current_timestamp - INTERVAL '1' DAY)"
Row = dict[str, Any]


def sent(key: str, turn: int, **more: Any) -> str:
    """An event; ``turn`` is also the minutes that it is newer."""
    kind = more.pop("kind", "pump")
    payload = {"device": {"id": key, "type": kind}, "reading": {"value": turn, "unit": "bar"}, **more}
    at = (NOW - timedelta(hours=1) + timedelta(minutes=turn)).isoformat()
    event: Row = {"message_id": f"{key}-{turn}", "idempotency_key": key, "topic_name": "events"}
    event |= {"publish_time": at}
    event |= {"operation": "delete"} if more.get("delete") else {"payload": payload}
    return json.dumps(event)


def deliver(target: LocalTarget, lean_ops: LeanOps, *bodies: str) -> None:
    url = target.queue_url(target.source_queue)
    for body in bodies:
        target.client("sqs").send_message(QueueUrl=url, MessageBody=body)
    assert observation.settle(target, timeout_s=300) == 0
    done = lean_ops("run")
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def between(target: LocalTarget, lean_ops: LeanOps) -> datetime:
    """All that is asked about; the time between its two runs."""
    first = [sent("corrected", 0), sent("deleted", 0), sent("plain", 0), sent("refused", 0, kind="nosuch")]
    first.append(sent("spelled", 0, **{"NO₂": 1, "NO₃": 2}))
    deliver(target, lean_ops, *first)
    then = datetime.now(UTC)
    deliver(target, lean_ops, sent("corrected", 1), sent("deleted", 1, delete=True), sent("late", 1))
    return then


@pytest.fixture(scope="module")
def asked(trino: Trino, between: datetime) -> Any:
    """Runs a query that is saved, with values for its parameters."""

    def ask(name: str, *parameters: str, at: str = "") -> list[Row]:
        sql = QUERIES[name]
        if at:  # Trino takes no parameter there
            assert A_DAY_AGO in sql
            sql = sql.replace(A_DAY_AGO, at)
        if parameters:
            text = sql.replace("'", "''")
            sql = f"EXECUTE IMMEDIATE '{text}' USING {', '.join(repr(one) for one in parameters)}"
        columns, rows = trino.query(sql)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    assert isinstance(between, datetime)
    return ask


def test_freshness(asked: Any) -> None:
    found = {row["layer"]: row for row in asked("freshness")}
    assert {layer: row["row_count"] for layer, row in found.items() if layer != "raw"} == {
        "curated": 6, "semantic": 4,
    }  # fmt: skip
    assert found["raw"]["row_count"] >= 8  # more, where the queue delivers twice
    newest = NOW - timedelta(minutes=59)
    assert {row["newest_published"] for row in found.values()} == {newest}
    assert all(0 <= row["minutes_since_received"] < 60 for row in found.values())


def test_corrections(asked: Any) -> None:
    found = asked("corrections")
    assert {(r["idempotency_key"], r["what"], r["corrected"], r["message_id"]) for r in found} == {
        ("corrected", "upsert", "corrected-0", "corrected-1"),
        ("deleted", "delete", "deleted-0", "deleted-1"),
    }
    (row,) = [r for r in found if r["idempotency_key"] == "corrected"]
    assert json.loads(row["payload_before"])["reading"]["value"] == 0
    assert json.loads(row["payload_after"])["reading"]["value"] == 1
    assert row["newer_because"] == "it was published later"


def test_history_of_a_key(asked: Any) -> None:
    newest, oldest = asked("key_history", "corrected")
    assert (newest["message_id"], newest["valid_to"], newest["stands_in_curated"]) == (
        "corrected-1",
        None,
        True,
    )
    assert (oldest["message_id"], oldest["superseded_by"]) == ("corrected-0", "corrected-1")
    assert oldest["valid_to"] == newest["valid_from"]
    assert newest["valid_from"].replace(tzinfo=UTC) == NOW - timedelta(minutes=59)
    assert asked("key_history", "nobody") == []


def test_columns(asked: Any, target: LocalTarget) -> None:
    schema = target.catalog().load_table(target.settings.table("curated", "events")).schema()
    assert [row["column_name"] for row in asked("columns")] == list(reversed(schema.column_names))


def test_drift(asked: Any) -> None:
    (row,) = asked("drift")
    assert (row["path"], row["row_count"]) == ("/NO₃", 1)
    assert row["first_published"] == row["newest_published"] == NOW - timedelta(hours=1)


def test_quarantine_by_rule(asked: Any) -> None:
    (row,) = asked("quarantine_by_rule")
    assert (row["column_name"], row["rule"], row["row_count"]) == ("device_type", "enum", 1)


def test_snapshots(asked: Any, target: LocalTarget) -> None:
    table = target.catalog().load_table(target.settings.table("curated", "events"))
    expected = [
        (snapshot.snapshot_id, snapshot.summary and snapshot.summary["lean-ops.run-id"])
        for snapshot in reversed(table.snapshots())
    ]
    assert [(row["snapshot_id"], row["run_id"]) for row in asked("snapshots")] == expected


def test_time_travel(asked: Any, between: datetime) -> None:
    found = {
        row["idempotency_key"]: row
        for row in asked("time_travel", at=f"TIMESTAMP '{between:%Y-%m-%d %H:%M:%S.%f} UTC'")
    }
    assert {key: (row["message_then"], row["message_now"]) for key, row in found.items()} == {
        "corrected": ("corrected-0", "corrected-1"),
        "deleted": ("deleted-0", "deleted-1"),
        "late": (None, "late-1"),
    }


def test_reconciliation(asked: Any) -> None:
    sums: Counter[str] = Counter()
    for row in asked("reconciliation"):
        sums.update({name: value for name, value in row.items() if name != "received_on"})
    assert sums == {
        "keys_in_raw": 6, "in_curated": 6, "deleted": 1, "in_semantic": 4, "in_quarantine": 1, "nowhere": 0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def written_down(target: LocalTarget, between: datetime) -> datetime:
    """What was done is in the tables of operations; when upkeep came."""
    assert isinstance(between, datetime)
    before = datetime.now(UTC)
    # So few runs leave upkeep nothing to do: its reports are made here, as it leaves them.
    for number in range(2):
        more, less = Shape(9 - number, 2, 9, 900, 30), Shape(2 + number, 0, 2, 700 + number, 20)
        did = Upkeep("lake.curated_events", more, less, 7, 2, 10, 3, 33, finished=number == 0, seconds=1.25)
        report = reports.Pass.of(did, "curated", f"m-{number}", before + timedelta(seconds=number))
        reports.leave(target.client("dynamodb"), target.checkpoints_table, "events", [report])
    for function in ("reconciliation", "maintenance"):
        answer = target.client("lambda").invoke(FunctionName=target.function(function), Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()
    return before


@pytest.mark.usefixtures("written_down")
def test_runs_by_day(asked: Any) -> None:
    found = [row for row in asked("runs_by_day") if row["topic"] == "events"]
    # Of Semantic and Curated both commits; what was deleted left Semantic.
    assert {row["layer"]: (row["commits"], row["rows_changed"]) for row in found} == {
        "curated": (2, 8), "quarantine": (1, 1), "semantic": (2, 7),
    }  # fmt: skip
    assert all(row["bytes"] > 0 and row["seconds"] >= 0 for row in found)


@pytest.mark.usefixtures("written_down")
def test_refused_by_rule(asked: Any) -> None:
    (row,) = asked("refused_by_rule")
    assert (row["topic"], row["column_name"], row["rule"], row["refused"]) == (
        "events", "device_type", "enum", 1,
    )  # fmt: skip
    assert row["first_refused"] == row["last_refused"]


@pytest.mark.usefixtures("written_down")
def test_differences_found(asked: Any) -> None:
    found = {(row["kind"], row["subject"]) for row in asked("differences_found") if row["topic"] == "events"}
    assert any("no_" in subject for _, subject in found), found


def test_upkeep_by_table(asked: Any, written_down: datetime) -> None:
    assert written_down < datetime.now(UTC)
    (row,) = [row for row in asked("upkeep_by_table") if row["layer"] == "curated"]
    assert row == {
        "topic": "events", "layer": "curated", "passes": 2, "unfinished": 1, "seconds": 2.5,
        "files_compacted": 14, "snapshots_expired": 20, "orphan_bytes": 66, "rows_past": 0,
        "most_data_files": 9, "data_files_now": 3, "bytes_now": 701,
    }  # fmt: skip


@pytest.mark.usefixtures("written_down")
def test_reconciled_hours(asked: Any) -> None:
    sums: Counter[str] = Counter()
    for row in asked("reconciled_hours"):
        if row["topic"] == "events":
            sums.update(
                {name: row[name] for name in ("events", "waiting", "unpublished", "refused", "wrong")}
            )
    assert sums == {"events": 8, "waiting": 0, "unpublished": 0, "refused": 1, "wrong": 0}


def test_every_saved_query_has_its_test() -> None:
    tested = {name.removeprefix("test_").replace("history_of_a_key", "key_history") for name in globals()}
    assert QUERIES.keys() <= tested
