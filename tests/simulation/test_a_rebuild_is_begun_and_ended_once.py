"""A rebuild that was refused leaves nothing, one that was killed goes on, and two at once are one."""

import shutil
import warnings
from concurrent.futures import Executor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table

from common.lake.upkeep import retention
from common.runtime.errors import InvalidInput
from lean_ops.operate.rebuild import beside, filling

from .clock import START
from .conftest import refusal
from .services import TOPIC
from .world import Process, World

WHY = ("--reason", "INC-1")
CURATED = ("rebuild", "--layer", "curated", "--yes", *WHY)


def ok(process: Process) -> None:
    assert process.error is None, process.error


def left_behind(world: World) -> list[str]:
    """Rebuild tables, and files in their places."""
    found = [name[-1] for name in world.catalog.list_tables(world.target.database)]
    files = [path.name for path in world.folder.rglob("rebuild_*/**/*") if path.is_file()]
    return [*(name for name in found if name.startswith("rebuild")), *files]


def right(world: World) -> None:
    for _ in range(3):
        ok(world.command("run"))
    found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
    assert found == {key: event["message_id"] for key, event in world.expected().items()}
    assert {row["idempotency_key"]: row["reading"] for row in world.rows("semantic")} == world.published()


def test_a_refused_rebuild_leaves_nothing_that_refuses_the_next(world: World) -> None:
    ok(world.command("checkpoints", "reset", "curated", *WHY))
    said = refusal(world.command("rebuild", "--layer", "curated", "--from", "2026-06-01", "--yes", *WHY))
    assert "let the pipeline catch up first" in said
    assert left_behind(world) == []
    world.contract = ("2.0.0", "string")
    said = refusal(world.command("rebuild", "--layer", "semantic", "--from", "2026-06-01", "--yes", *WHY))
    assert "another type of reading" in said
    assert left_behind(world) == []
    ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    assert left_behind(world) == []


def test_a_rebuild_goes_on_where_an_earlier_one_is_begun_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command had no answer, and the table came about when the next one was to make it (seed 80462)."""
    register = type(world.catalog).register_table

    def begun_meanwhile(catalog: Any, identifier: str, path: str) -> Any:
        monkeypatch.setattr(type(world.catalog), "register_table", register)
        register(catalog, identifier, path)
        return register(catalog, identifier, path)

    monkeypatch.setattr(type(world.catalog), "register_table", begun_meanwhile)
    ok(world.command(*CURATED))
    assert type(world.catalog).register_table is register, "nothing came between"
    assert left_behind(world) == []
    right(world)


def late_registration(world: World) -> None:
    """A rebuild is begun, its registration has no answer, and lands when the rebuild has been removed."""
    register, asked = type(world.catalog).register_table, list[tuple[str, str]]()

    def unanswered(_catalog: Any, identifier: str, path: str) -> Any:
        asked.append((identifier, path))
        raise _Gone("no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.catalog), "register_table", unanswered)
        assert isinstance(world.command(*CURATED).error, _Gone)
    ((identifier, path),) = asked
    metadata = Path(path.removeprefix("file://"))
    content = metadata.read_bytes()
    ok(world.command("rebuild", "--layer", "curated", "--discard", *WHY))
    assert left_behind(world) == []
    metadata.parent.mkdir(parents=True)
    metadata.write_bytes(content)  # the request was made when it was there
    register(world.catalog, identifier, path)
    shutil.rmtree(metadata.parent.parent)
    assert left_behind(world), "nothing landed"


@pytest.mark.parametrize(
    "then", [CURATED, ("rebuild", "--layer", "curated", "--discard", *WHY)], ids=["again", "discard"]
)
def test_a_registration_that_lands_after_the_removal_is_in_no_way(
    world: World, then: tuple[str, ...]
) -> None:
    late_registration(world)
    ok(world.command("maintain"))
    ok(world.command("run"))
    ok(world.command(*then))
    assert left_behind(world) == []
    right(world)


@pytest.mark.parametrize("words", ["rebuild --layer curated --discard", "erase --key k1 --yes"])
def test_snapshots_that_expire_while_they_are_read_are_in_no_way(
    world: World, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upkeep forgets what the live table was, after somebody has loaded it (seed 272)."""
    world.send(2)
    ok(world.command("run", "--force"))
    ok(world.command("rebuild", "--layer", "curated", *WHY))
    read, asked = retention.referenced_files, list[str]()

    def expired_meanwhile(table: Table, pool: Executor) -> set[str]:
        if not asked and table.name()[-1] == f"curated_{TOPIC}":
            asked.append(table.metadata_location)
            ok(world.command("maintain", "--snapshot-days", "0"))
            kept = {one.manifest_list for one in world.catalog.load_table(table.name()).snapshots()}
            gone = {one.manifest_list for one in table.snapshots()} - kept
            assert gone, "nothing has expired"
            for path in gone:  # as a later pass does, for which it is an orphan
                Path(path.removeprefix("file://")).unlink()
        return read(table, pool)

    monkeypatch.setattr(retention, "referenced_files", expired_meanwhile)
    ok(world.command(*words.split(), *WHY))
    assert asked, "nobody has read the live table"
    monkeypatch.undo()
    world.erased |= {"k1"} if "erase" in words else set()
    right(world)


@pytest.mark.parametrize(
    "words", ["erase --key k1 --yes", "rollback curated --to {before}", "doctor", "reconcile"]
)
def test_what_landed_is_in_the_way_of_no_other_command(world: World, words: str) -> None:
    before = world.snapshots("curated")[-1]
    late_registration(world)
    why = WHY if words.startswith(("erase", "rollback")) else ("--json",)
    ok(world.command(*words.format(before=before).split(), *why))
    ok(world.command("run"))


def test_semantic_of_which_nothing_is_left_is_rebuilt(world: World) -> None:
    world.contract = ("2.0.0", "string")
    later = START + timedelta(days=2)
    world.deliver(
        [
            world.event(idempotency_key=key, json_payload=None, operation="delete", publish_time=later)
            for key in world.expected()
        ]
    )
    ok(world.command(*CURATED))
    assert world.rows("semantic")
    for _ in range(2):
        ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
        assert world.rows("semantic") == []
        assert left_behind(world) == []
    right(world)
    world.deliver([world.event(idempotency_key="new", json_payload='{"reading": "5"}', operation=None)])
    right(world)
    assert [row["idempotency_key"] for row in world.rows("semantic")] == ["new"]


def test_a_rebuild_of_nothing_is_refused(world: World) -> None:
    with warnings.catch_warnings(action="ignore"):
        world.catalog.load_table(world.target.settings.table("raw", TOPIC)).delete()
    assert "an empty table is not swapped in" in refusal(world.command(*CURATED))
    assert world.rows("curated")


def test_no_row_without_a_value_comes_over_when_a_column_was_replaced(world: World) -> None:
    world.contract = ("2.0.0", "string")
    ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    assert any(row["reading"] == "broken" for row in world.rows("semantic"))
    world.contract = ("3.0.0", "integer")
    ok(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    right(world)


@pytest.mark.parametrize("filled", [False, True])
def test_a_rebuild_that_cannot_be_gone_on_with_is_begun_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, filled: bool
) -> None:
    if filled:
        ok(world.command("rebuild", "--layer", "curated", *WHY))
        monkeypatch.setattr(beside, "LONGEST", timedelta(0))
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(filling, "curate", _killed)
            assert isinstance(world.command(*CURATED).error, _Gone)
    assert left_behind(world)
    first = world.catalog.load_table(
        world.target.settings.rebuild_table("curated", TOPIC)
    ).metadata.table_uuid
    monkeypatch.setattr(beside, "LONGEST", timedelta(0) if filled else timedelta(days=2))
    ok(world.command("rebuild", "--layer", "curated", *WHY))
    again = world.catalog.load_table(world.target.settings.rebuild_table("curated", TOPIC))
    assert again.metadata.table_uuid != first
    monkeypatch.undo()
    ok(world.command(*CURATED))
    assert left_behind(world) == []
    right(world)


def test_a_rebuild_that_was_killed_after_its_swap_is_not_swapped_in_twice(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.catalog), "drop_table", _killed)
        assert isinstance(world.command(*CURATED).error, _Gone)
    assert left_behind(world)
    swapped = world.snapshots("curated")[0]
    world.send(4)
    ok(world.command("run"))
    capsys.readouterr()
    ok(world.command(*CURATED))
    said = capsys.readouterr().out
    assert "It was swapped in before" in said
    assert swapped in said
    assert left_behind(world) == []
    right(world)


def test_a_swap_that_was_rolled_back_is_not_gone_on_with(world: World) -> None:
    before = world.snapshots("curated")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.catalog), "drop_table", _killed)
        assert isinstance(world.command(*CURATED).error, _Gone)
    ok(world.command("run"))
    ok(world.command("rollback", "curated", "--to", before, *WHY))
    first = world.catalog.load_table(world.target.settings.rebuild_table("curated", TOPIC))
    used = int(first.properties["lean-ops.merge-seq"])
    world.send(4)
    ok(world.command("run"))
    ok(world.command(*CURATED))
    live = world.catalog.load_table(world.target.settings.table("curated", TOPIC))
    assert int(live.properties["lean-ops.merge-seq"]) > used + 1_000_000
    right(world)


def test_two_rebuilds_of_a_layer_at_once_are_one_and_the_other_is_told(world: World) -> None:
    first, second = world.beside([CURATED, CURATED])
    refused = [process for process in (first, second) if process.error is not None]
    for process in refused:
        assert "rebuild of curated" in refusal(process)
    assert len(refused) == 1
    assert left_behind(world) == []
    right(world)


def test_a_rebuild_is_not_discarded_under_another_and_a_killed_one_is(world: World) -> None:
    discard = ("rebuild", "--layer", "curated", "--discard", *WHY)
    for process in world.beside([CURATED, discard]):
        assert process.error is None or "rebuild of curated" in refusal(process)
    assert world.command(*CURATED, kill_at=30).killed
    ok(world.command(*discard))
    assert left_behind(world) == []
    right(world)


def test_a_removal_that_was_interrupted_is_finished_by_the_next(world: World) -> None:
    ok(world.command("rebuild", "--layer", "curated", *WHY))
    discard = ("rebuild", "--layer", "curated", "--discard", *WHY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside, "_remove_folder", _killed)
        assert isinstance(world.command(*discard).error, _Gone)
    assert left_behind(world)
    ok(world.command(*discard))
    assert left_behind(world) == []


def test_a_first_day_does_not_swallow_a_checkpoint_that_was_set_back(world: World) -> None:
    from_june = ("rebuild", "--layer", "semantic", "--from", "2026-06-01", *WHY)
    ok(world.command(*from_june))
    ok(world.command("checkpoints", "reset", "semantic", *WHY))
    assert "is to read its source again" in refusal(world.command(*from_june, "--yes"))
    ok(world.command("run"))
    ok(world.command(*from_june, "--yes"))
    right(world)


class _Gone(InvalidInput):
    """The process ends here."""


def _killed(*_arguments: object, **_options: object) -> None:
    raise _Gone("gone")
