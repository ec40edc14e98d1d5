"""A compaction of Curated brings no rows: one run looks at it, and those after it have nothing to do."""

from .conftest import done
from .world import World


def test_runs_are_idle_again_after_a_compaction(world: World) -> None:
    for _ in range(2):
        world.send(3)
        done(world.command("run"))
    merged = world.snapshots("curated")
    done(world.command("maintain", "--layer", "curated"))
    assert world.snapshots("curated")[1:] == merged, "nothing was compacted"
    done(world.command("run"))
    done(world.command("run"))
    assert world.idle
