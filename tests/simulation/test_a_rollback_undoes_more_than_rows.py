"""A rollback brings back what the snapshot was: rows, columns, partition spec, and where readers go on."""

import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import StringType

from common.lake.checkpoints import NOTHING, SOURCE_TOKEN
from common.lake.history import said_by
from common.lake.upkeep import retention
from common.runtime.errors import InvalidInput, TableMismatch
from lean_ops.environment import lake
from lean_ops.operate import checkpoints
from lean_ops.operate.checkpoints import MergedLayer

from .front import Event
from .services import TOPIC
from .world import Process, World

WHY = ("--reason", "INC-1")


def ok(process: Process) -> None:
    assert process.error is None, process.error


def readings(world: World) -> dict[str, object]:
    return {row["idempotency_key"]: row["reading"] for row in world.rows("semantic")}


def seen_by_duckdb(world: World) -> set[object]:
    """The readings as an engine sees them that did not write them."""
    table = world.catalog.load_table(world.target.settings.table("semantic", TOPIC))
    with duckdb.connect() as connection:
        for name in ("avro", "iceberg"):
            connection.execute(f"LOAD '{lake._extension(name)}'")
        rows = connection.execute(
            f"SELECT reading FROM iceberg_scan('{table.metadata_location}')"  # noqa: S608 - a path of the test
        ).fetchall()
    return {value for (value,) in rows}


def replaced_by_a_rebuild(world: World) -> str:
    """Give the column another type by a rebuild; gives the snapshot before."""
    before = world.snapshots("semantic")[0]
    world.contract = ("2.0.0", "string")
    ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    assert set(map(type, readings(world).values())) == {str}
    return before


def test_values_of_a_replaced_column_are_there_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    right = readings(world)
    before = replaced_by_a_rebuild(world)
    capsys.readouterr()
    ok(world.command("rollback", "semantic", "--to", before, *WHY))
    said = " ".join(capsys.readouterr().out.split())
    assert "Again as they were: reading. Bring the contract back" in said
    assert readings(world) == right
    assert seen_by_duckdb(world) == set(right.values())
    world.contract = ("1.0.0", "integer")
    world.send(4)
    ok(world.command("run"))
    assert readings(world) == world.published()


def test_a_snapshot_of_older_versions_alone_can_be_gone_back_to(world: World) -> None:
    def event(number: int, reading: object) -> Event:
        return {
            "message_id": f"stood-{number}",
            "idempotency_key": "stood",
            "topic_name": TOPIC,
            "period_reference": "2026-06",
            "publish_time": datetime(2026, 6, 1, number, tzinfo=UTC),
            "ingestion_ts": datetime(2026, 6, 2, number, tzinfo=UTC),
            "json_payload": json.dumps({"reading": reading}),
        }

    world.deliver([event(2, "broken")])
    ok(world.command("run"))
    world.deliver([event(1, 7)])  # late: Curated has nothing new of it
    ok(world.command("run"))
    looked_up = world.snapshots("semantic")[0]
    table = world.catalog.load_table(world.target.settings.table("semantic", TOPIC))
    assert SOURCE_TOKEN not in said_by(table.current_snapshot())
    world.send(6)
    ok(world.command("run"))
    ok(world.command("rollback", "semantic", "--to", looked_up, *WHY))
    assert readings(world)["stood"] == 7
    ok(world.command("run"))
    assert readings(world) == world.published()


def keyed(world: World) -> dict[str, dict[str, Any]]:
    return {row["idempotency_key"]: row for row in world.rows("curated")}


def test_a_column_that_a_run_replaced_comes_back_with_its_values(world: World) -> None:
    right, before = readings(world), world.snapshots("semantic")[0]
    world.contract = ("2.0.0", "string")
    world.send(4)
    ok(world.command("run"))
    assert None in readings(world).values()
    ok(world.command("rollback", "semantic", "--to", before, *WHY))
    assert readings(world) == right


def test_a_column_that_was_replaced_without_new_rows_comes_back_too(world: World) -> None:
    right, current = readings(world), world.snapshots("semantic")[0]
    semantic = world.catalog.load_table(world.target.settings.table("semantic", TOPIC))
    with semantic.update_schema() as update:
        update.delete_column("reading")
        update.add_column("reading", StringType())
    assert set(readings(world).values()) == {None}
    ok(world.command("rollback", "semantic", "--to", current, *WHY))
    assert readings(world) == right


def test_under_a_contract_that_was_not_taken_back_a_rebuild_brings_the_new_type(world: World) -> None:
    before = replaced_by_a_rebuild(world)
    ok(world.command("rollback", "semantic", "--to", before, *WHY))
    world.send(4)
    ok(world.command("run"))
    ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    ok(world.command("run"))
    assert readings(world) == world.published()


def test_columns_that_came_later_under_names_of_their_own_stay(world: World) -> None:
    before = world.snapshots("curated")[1]
    curated = world.catalog.load_table(world.target.settings.table("curated", TOPIC))
    names = set(curated.schema().column_names)
    ok(world.command("rollback", "curated", "--to", before, *WHY))
    assert set(curated.refresh().schema().column_names) == names
    assert "leaf" in "".join(names)


def test_files_are_merged_into_again_after_the_partition_spec_was_changed(world: World) -> None:
    before = world.snapshots("curated")[0]
    curated = world.catalog.load_table(world.target.settings.table("curated", TOPIC))
    old = curated.metadata.default_spec_id
    with curated.update_spec() as update:
        update.add_field("topic_name", IdentityTransform(), "by_topic")
    world.send(3)
    assert isinstance(world.command("run").error, TableMismatch)
    row = curated.scan(limit=1).to_arrow()
    with warnings.catch_warnings(action="ignore"):  # pyiceberg says what it does not implement
        curated.append(row.cast(curated.schema().as_arrow()))
    ok(world.command("rollback", "curated", "--to", before, *WHY))
    assert curated.refresh().metadata.default_spec_id == old
    ok(world.command("run"))
    expected = {key: event["message_id"] for key, event in world.expected().items()}
    assert {key: row["message_id"] for key, row in keyed(world).items()} == expected


def test_semantic_reads_on_from_where_curated_goes(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    ok(world.command("rollback", "curated", "--to", world.snapshots("curated")[1], *WHY))
    counts = checkpoints.read(world.target, TOPIC, MergedLayer.SEMANTIC).counts
    assert counts is not None
    assert (counts.token, counts.rewound) == (world.snapshots("curated")[0], True)
    ok(world.command("run"))
    ok(world.command("run"))
    assert world.idle
    # Its record still has the mark, and that is in order: there is nothing that it is to read again.
    capsys.readouterr()
    ok(world.command("checkpoints"))
    assert "rewound" not in capsys.readouterr().out


def test_a_rebuild_of_semantic_is_possible_after_a_rebuild_of_curated_was_undone(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = world.snapshots("curated")[0]
    right = readings(world)
    ok(world.command("rebuild", "--layer", "curated", "--yes", *WHY))
    ok(world.command("run"))
    capsys.readouterr()
    ok(world.command("rollback", "curated", "--to", before, *WHY))
    assert "lean-ops rebuild --layer semantic" in capsys.readouterr().out
    ok(world.command("run"))
    ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    assert readings(world) == right
    ok(world.command("run"))
    ok(world.command("run"))
    assert world.idle


def test_a_rollback_to_the_current_snapshot_does_not_take_back_a_reset(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    ok(world.command("checkpoints", "reset", "curated", *WHY))
    ok(world.command("rollback", "curated", "--to", world.snapshots("curated")[0], *WHY))
    counts = checkpoints.read(world.target, TOPIC, MergedLayer.CURATED).counts
    assert counts is not None
    assert (counts.token, counts.rewound) == (NOTHING, True)
    capsys.readouterr()
    ok(world.command("checkpoints"))
    assert "DynamoDB (rewound)" in " ".join(capsys.readouterr().out.split())


def test_maintenance_never_forgets_the_snapshot_that_a_rollback_has_just_made_current(world: World) -> None:
    identifier = world.target.settings.table("curated", TOPIC)
    oldest = world.snapshots("curated")[-1]
    decide = retention.expirable
    decided: list[int] = []

    def overtaken(*arguments: object) -> list[int]:
        decided.append(1)
        ids = decide(*arguments)  # type: ignore[arg-type] # passed on as they are
        if len(decided) == 1:
            assert int(oldest) in ids
            ok(world.command("rollback", "curated", "--to", oldest, *WHY))
        return ids

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "expirable", overtaken)
        retention.expire_snapshots(
            world.catalog, identifier, older_than=datetime.now(UTC) + timedelta(hours=1), keep_last=0
        )
    assert world.snapshots("curated")[0] == oldest
    assert world.rows("curated")


def test_a_snapshot_that_expires_under_the_rollback_is_one_sentence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = world.snapshots("curated")[-1]
    commit = type(world.catalog).commit_table

    def overtaken(catalog: object, *arguments: object) -> object:
        monkeypatch.setattr(type(world.catalog), "commit_table", commit)
        table = world.catalog.load_table(world.target.settings.table("curated", TOPIC))
        table.maintenance.expire_snapshots().by_ids([int(oldest)]).commit()
        return commit(catalog, *arguments)  # type: ignore[arg-type] # passed on as they are

    monkeypatch.setattr(type(world.catalog), "commit_table", overtaken)
    error = world.command("rollback", "curated", "--to", oldest, *WHY).error
    assert isinstance(error, InvalidInput)
    assert "expired by a maintenance" in str(error)
