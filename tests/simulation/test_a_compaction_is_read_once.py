"""A compaction of Curated brings no rows: one run looks at it, and those after it have nothing to do."""

import pytest

from common.lake.merge import tiers

from .conftest import done
from .world import World


def test_runs_are_idle_again_after_a_compaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "LARGEST_REWRITE_BYTES", 0)  # no merge puts files together
    for _ in range(8):  # until there are files to put together
        world.send(3)
        done(world.command("run"))
        merged = world.snapshots("curated")
        done(world.command("maintain", "--layer", "curated"))
        if world.snapshots("curated")[1:2] == merged[:1]:  # older ones may have expired
            break
    else:
        raise AssertionError("nothing was compacted")
    done(world.command("run"))
    done(world.command("run"))
    assert world.idle
