"""Maintenance by command and by schedule: fewer files, the same rows, and what a checkpoint needs stays."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import Result

from common.contract.store import contract_key, read_contract
from lean_ops.environment import audit
from lean_ops.environment.target import Target
from lean_ops.operate import pipeline

from ..support import weather

LeanOps = Callable[..., Result]


@pytest.fixture(scope="module", autouse=True)
def history(target: Target, send: Callable[..., None]) -> None:
    """Six deliveries of weather, with a run after each but the last."""
    readings = list(weather.readings(1, 2, every_days=10))
    for turn in range(6):
        send(iter(readings[turn::6]))
        if turn < 5:
            arn = pipeline.start(target, "weather")
            assert [v.name for v in pipeline.follow(target, arn)][-1] == "FullPipelineSuccess"


@pytest.fixture
def same_rows(target: Target) -> Iterator[None]:
    before = {layer: rows(target, layer) for layer in ("raw", "curated", "semantic")}
    yield
    for layer, kept in before.items():
        assert rows(target, layer) == kept, layer


def rows(target: Target, layer: str) -> list[str]:
    table = target.catalog().load_table(target.settings.table(layer, "weather"))
    ids: list[Any] = table.scan(selected_fields=("message_id",)).to_arrow()["message_id"].to_pylist()
    return sorted(ids)


def reported(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result
    document = json.loads(result.output)
    return {table["table"].rpartition(".")[2]: table for table in document["tables"]}


@pytest.mark.usefixtures("same_rows")
def test_a_dry_run_says_what_would_be_done_and_does_nothing(target: Target, lean_ops: LeanOps) -> None:
    operations = len(audit.entries(target))
    first = reported(lean_ops("maintain", "--topic", "weather", "--dry-run", "--json"))
    again = reported(lean_ops("maintain", "--topic", "weather", "--dry-run", "--json"))
    assert first == again
    assert first["raw_weather"]["compacted_files"] > 0
    assert len(audit.entries(target)) == operations
    assert "What would be done" in lean_ops("maintain", "--dry-run").output


@pytest.mark.usefixtures("same_rows")
def test_the_scheduled_function_keeps_up_every_table(target: Target) -> None:
    client = target.client("lambda")
    answer = client.invoke(
        FunctionName=target.function("maintenance"), Payload=json.dumps({"trigger": "schedule"}).encode()
    )
    document = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, document
    assert document["unfinished"] == []
    tables = {table["table"].rpartition(".")[2]: table for table in document["tables"]}
    assert {"raw_weather", "curated_weather", "semantic_weather"} <= tables.keys()
    assert tables["raw_weather"]["after"]["most_in_a_partition"] == 1
    assert max(table["after"]["most_in_a_partition"] for table in tables.values()) <= 8
    came_to = []
    for _ in range(2):  # nothing has changed since, but for the table that this pass was written into
        answer = client.invoke(
            FunctionName=target.function("maintenance"), Payload=json.dumps({"trigger": "schedule"}).encode()
        )
        came_to.append([table["table"] for table in json.loads(answer["Payload"].read())["tables"]])
    assert came_to == [[target.settings.table("ops", "upkeep")], []]


def test_what_runs_did_is_written_down_by_the_same_schedule(target: Target, lean_ops: LeanOps) -> None:
    asked = "SELECT layer, sum(inserted) AS inserted FROM ops_runs WHERE topic = 'weather' GROUP BY layer"
    told = {row["layer"]: row["inserted"] for row in json.loads(lean_ops("query", asked, "--json").output)}
    assert told == {layer: len(set(rows(target, layer))) for layer in ("curated", "semantic")}
    known = {
        row["subject"] for row in json.loads(lean_ops("query", "SELECT * FROM ops_drift", "--json").output)
    }
    assert "temperature_f" in known
    assert '"ops_runs"' in lean_ops("tables", "--json").output
    asked = (
        "SELECT layer, sum(files_compacted) AS files FROM ops_upkeep WHERE topic = 'weather' GROUP BY layer"
    )
    did = {row["layer"]: row["files"] for row in json.loads(lean_ops("query", asked, "--json").output)}
    assert did["raw"] > 0


def test_the_snapshots_that_curated_has_not_read_survive_and_are_read(
    target: Target, lean_ops: LeanOps
) -> None:
    """RAW is ahead by one delivery; everything before the checkpoint may go, whatever the age."""
    raw = target.catalog().load_table(target.settings.table("raw", "weather"))
    done = reported(lean_ops("maintain", "--topic", "weather", "--snapshot-days", "0", "--json"))
    assert done["curated_weather"]["after"]["delete_files"] == 0
    assert audit.entries(target)[0].operation == "maintain"
    assert len(raw.refresh().snapshots()) <= 10
    # A busy machine may have an answer of Firehose come too late, and a delivery made twice: RAW has both.
    before, arrived = len(rows(target, "curated")), len(set(rows(target, "raw")))
    assert before < arrived
    arn = pipeline.start(target, "weather")
    visits = {visit.name: visit for visit in pipeline.follow(target, arn)}
    written = visits["RunCurationJob"].output["curation"]["records_written"]
    assert written == len(rows(target, "curated")) - before > 0
    assert len(rows(target, "curated")) == arrived


def test_days_that_are_past_by_the_contract_are_foretold_and_dropped_by_command_and_by_schedule(
    target: Target, lean_ops: LeanOps
) -> None:
    """The readings are of the year 2010: the retention ends with a month, which has a file of its own."""
    times = sorted(published(target, "curated"))
    first = datetime(times[-1].year, times[-1].month, 1, tzinfo=UTC)
    kept = sum(moment >= first for moment in times)
    assert 0 < kept < len(times)
    s3, key = target.client("s3"), contract_key("weather")
    text = read_contract(s3, target.lake_bucket, "weather")
    days = (datetime.now(UTC).date() - first.date()).days
    entry = f"slaProperties:\n  - property: retention\n    value: {days}\n    unit: d\n"
    try:
        s3.put_object(Bucket=target.lake_bucket, Key=key, Body=(text + "\n" + entry).encode())
        foretold = reported(lean_ops("maintain", "--topic", "weather", "--dry-run", "--json"))
        past = foretold["curated_weather"]["past"]
        assert past["rows"] == len(times) - kept
        assert past["bytes"] > 0
        done = reported(lean_ops("maintain", "--topic", "weather", "--layer", "curated", "--json"))
        assert done["curated_weather"]["past"]["rows"] == past["rows"]
        assert len(published(target, "curated")) == kept
        assert audit.entries(target)[0].counts["rows_past"] == past["rows"]
        answer = target.client("lambda").invoke(
            FunctionName=target.function("maintenance"), Payload=json.dumps({"topic": "weather"}).encode()
        )
        document = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, document
        assert len(published(target, "semantic")) == kept
    finally:
        s3.put_object(Bucket=target.lake_bucket, Key=key, Body=text.encode())


def published(target: Target, layer: str) -> list[datetime]:
    """When the rows of a layer were published."""
    table = target.catalog().load_table(target.settings.table(layer, "weather"))
    found: list[Any] = table.scan(selected_fields=("publish_time",)).to_arrow()["publish_time"].to_pylist()
    return found
