"""A merged table went back past ``lean-ops rollback``: what is recorded of it is further, and stops nobody.

Another engine did it, or a rollback that was killed and given up. The runs that follow read a portion that
changes nothing, and so makes no commit; a checkpoint only moves forward, so they would read it for ever.
"""

import json
from datetime import timedelta
from typing import Any

import pytest

from common.lake.history import committed
from common.layers.versions import Versions
from lean_ops.environment import audit

from .clock import START
from .conftest import done
from .front import body_of
from .services import TOPIC
from .world import Aim, World


@pytest.fixture
def copies_come_first(world: World) -> World:
    """Of what was merged last, the first portion is copies of what was merged before."""
    copies = [event for event in world.sent if event["json_payload"] is not None]
    assert len(copies) > world.portion, "the copies fill no portion"
    for number in range(12):  # a portion ends with a file, and the key decides in which one its event is
        new = world.event(idempotency_key=f"new{number}")
        world.front.told.append(body_of(new))
        before = len(world.snapshots("curated"))
        world.deliver([*copies, new])
        done(world.command("run"))
        portions = list(world.stepfunctions.known.values())[-1].tries["curation"]
        if portions > 1 and len(world.snapshots("curated")) == before + 1 and _has_read_all(world):
            return world
    raise AssertionError("no key has its event in a later portion than the copies")


def _has_read_all(world: World) -> bool:
    """Whether the last commit to Curated was the one of the last portion."""
    table = world.catalog.load_table(world.target.settings.table("curated", TOPIC))
    checkpoint = committed(table)
    return checkpoint is not None and checkpoint.position.endswith("999999")


def test_another_engine_set_curated_back(copies_come_first: World) -> None:
    world = copies_come_first
    done(world.command("go-back", "curated"))
    lost = world.expected().keys() - {row["idempotency_key"] for row in world.rows("curated")}
    assert len(lost) == 1, "it did not go back"
    catches_up(world)


def test_a_rollback_was_killed_and_given_up(copies_come_first: World) -> None:
    world = copies_come_first
    back = ("rollback", "curated", "--to", world.snapshots("curated")[1], "--reason", "a test", "--json")
    (process,) = world.beside([back], aims={0: Aim("catalog commit", "killed after")})
    assert process.killed, "expected it to be killed"
    (left,) = audit.entries(world.target, operation="rollback")
    done(world.command("resume", "--operation", left.operation_id, "--json"))
    catches_up(world)


def test_another_engine_set_semantic_back_right_before_older_versions_are_merged_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those that RAW received since the state that the table no longer has (seed 72405)."""
    arrives(world, 30, "broken")
    arrives(world, 20, 20)
    assert stands_in(world) == 20
    merge = Versions.merge

    def set_back(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(Versions, "merge", merge)
        world.go_back("semantic")
        assert stands_in(world) is None, "it did not go back"
        return merge(*arguments, **named)

    monkeypatch.setattr(Versions, "merge", set_back)
    late = world.event(idempotency_key="late", publish_time=START + timedelta(minutes=10))
    world.deliver([{**late, "json_payload": '{"reading": 10}', "operation": None}])
    assert "next run reads on from where the table is" in str(world.command("run").error)
    assert Versions.merge is merge, "nothing came between"
    done(world.command("run"))
    assert stands_in(world) == 20


def arrives(world: World, minute: int, reading: object) -> None:
    """An event of one key, and a run."""
    event = world.event(idempotency_key="late", publish_time=START + timedelta(minutes=minute))
    payload = json.dumps({"reading": reading})
    world.deliver([{**event, "json_payload": payload, "operation": None}])
    done(world.command("run"))


def stands_in(world: World) -> object:
    return {row["idempotency_key"]: row["reading"] for row in world.rows("semantic")}.get("late")


def catches_up(world: World) -> None:
    done(world.command("run"))
    pending: list[Any] = world.stepfunctions.pending
    assert not pending, "the run went on and on, and began another"
    found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
    assert found == {key: event["message_id"] for key, event in world.expected().items()}
    item = world.dynamodb.get_item(
        TableName=world.target.checkpoints_table, Key={"checkpoint_id": {"S": f"{TOPIC}#curated"}}
    )["Item"]
    assert item["target_snapshot_id"]["S"] in world.snapshots("curated"), "recorded of what is no more"
