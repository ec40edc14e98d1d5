"""A job on Spark goes on when its execution has ended and ending it failed: operations wait, or say so."""

import json
from datetime import timedelta

import pytest

from common.runtime.errors import InvalidInput

from .conftest import done
from .services import TOPIC
from .world import World


def told(world: World, stage: str, silent_for: timedelta = timedelta(), run: str = "") -> None:
    """What a job has written about itself: the last run's, or that of an earlier ``run``."""
    at = (world.now - silent_for).isoformat()
    run = run or world.lease_holder().rpartition(":")[2]
    said = {"run_id": run, "layer": "curation", "stage": stage, "at": at}
    world.objects[f"jobs/{TOPIC}.json"] = json.dumps({**said, "stage_begun": at}).encode()


def back(world: World, *options: str) -> tuple[str, ...]:
    return ("rollback", "curated", "--to", world.snapshots("curated")[1], "--reason", "INC-1", *options)


@pytest.mark.parametrize("run", ["", "an-earlier-one"])
@pytest.mark.parametrize("stage", ["reading", "between stages", "writing"])
def test_a_table_is_not_rolled_back_under_a_job(world: World, stage: str, run: str) -> None:
    world.executions[world.lease_holder()] = "FAILED"
    told(world, stage, run=run)
    before = world.snapshots("curated")
    refused = world.command(*back(world, "--wait", "0"))
    assert isinstance(refused.error, InvalidInput), refused
    assert "whose function or job may still run" in str(refused.error)
    assert world.snapshots("curated") == before


def test_a_job_that_says_nothing_for_a_minute_is_waited_for_no_longer(world: World) -> None:
    told(world, "writing")
    done(world.command(*back(world, "--wait", "300")))


@pytest.mark.parametrize("stage", ["ended", "writing"])
def test_a_job_that_has_ended_or_was_killed_is_in_nobodys_way(world: World, stage: str) -> None:
    told(world, stage, timedelta(hours=stage == "writing"))
    done(world.command(*back(world, "--wait", "0")))


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"no json", b'{"stage": 1}', b'{"run_id": "r", "at": "2026"}', b"\xff"]
)
def test_what_nobody_can_read_stops_no_operation(world: World, damage: bytes) -> None:
    world.objects[f"jobs/{TOPIC}.json"] = damage
    done(world.command(*back(world, "--wait", "0")))
