"""Curated reads RAW from the start again, in portions, and an operation comes between two of them.

Such a portion is so many of the files that are live, in no order of snapshots: how far it has come does not
say which snapshots it has passed. What took it for that left out the other files (seed 118981).
"""

from collections.abc import Callable
from typing import Any

import pytest

from common.layers.curated import curate
from common.runtime.errors import InvalidInput
from lean_ops.operate.checkpoints import MergedLayer, read

from .conftest import done, refusal
from .services import TOPIC
from .world import World

WHY = ("--reason", "a test", "--json")


@pytest.fixture
def half(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let Curated begin to read RAW anew, and be stopped behind its first portion."""

    def begin() -> None:
        done(world.command("checkpoints", "reset", "curated", *WHY))
        with monkeypatch.context() as patch:
            stopped_behind_a_portion(patch)
            assert world.command("run").error is not None
        counts = read(world.target, TOPIC, MergedLayer.CURATED).counts
        assert counts is not None
        assert counts.checkpoint is not None
        assert counts.checkpoint.full_scan, "it has read everything in one portion"

    return begin


def stopped_behind_a_portion(patch: pytest.MonkeyPatch) -> None:
    """Let a run curate one portion, and fail at the next."""
    times = list[int]()

    def once(*arguments: Any, **options: Any) -> Any:
        if times:
            raise InvalidInput("stopped")
        times.append(1)
        return curate(*arguments, **options)

    patch.setattr("curation.handler.curate", once)


def right(world: World) -> None:
    for _ in range(3):
        done(world.command("run"))
    found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
    assert found == {key: event["message_id"] for key, event in world.expected().items()}
    assert {row["idempotency_key"]: row["reading"] for row in world.rows("semantic")} == world.published()


def test_its_checkpoint_is_set_to_none_of_them(world: World, half: Callable[[], None]) -> None:
    world.send(6)
    done(world.command("run"))
    done(world.command("rollback", "curated", "--to", world.snapshots("curated")[-1], *WHY))
    half()
    for snapshot in world.snapshots("raw"):
        said = refusal(world.command("checkpoints", "set", "curated", "--to", snapshot, *WHY))
        assert "from the start again" in said
        assert "lean-ops run" in said
    right(world)
    done(world.command("checkpoints", "set", "curated", "--to", world.snapshots("raw")[-1], *WHY))
    right(world)


def test_it_is_behind_until_it_has_come_to_the_end(world: World, half: Callable[[], None]) -> None:
    assert behind(world) == (0, 0)
    half()
    assert behind(world) == (len(world.snapshots("raw")), len(world.rows("raw")))
    right(world)
    assert behind(world) == (0, 0)


def test_a_snapshot_that_is_read_in_part_is_behind(world: World) -> None:
    world.send(3 * world.portion)
    with pytest.MonkeyPatch.context() as patch:
        stopped_behind_a_portion(patch)
        assert world.command("run").error is not None
    assert behind(world)[0] == 1
    done(world.command("run"))
    assert behind(world) == (0, 0)


def behind(world: World) -> tuple[int | None, int | None]:
    """Snapshots and rows of RAW that Curated has not read."""
    found = read(world.target, TOPIC, MergedLayer.CURATED)
    return found.snapshots_behind, found.rows_behind


def test_no_rebuild_with_a_first_day_takes_its_place(world: World, half: Callable[[], None]) -> None:
    """It was begun when Curated had read everything; rows of before that day stay as they are."""
    words = ("rebuild", "--layer", "curated", "--from", "2026-06-01", *WHY)
    done(world.command(*words))
    half()
    assert "from the start again" in refusal(world.command(*words, "--yes"))
    right(world)
    done(world.command(*words, "--yes"))
    right(world)
