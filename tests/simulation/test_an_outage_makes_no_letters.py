"""Firehose down for forty minutes in quiet hours: good messages do not end in the dead-letter queue."""

import pytest

from .conftest import done
from .world import World

MINUTE = 60.0


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize("every", [1, 7, 40])
def test_what_comes_in_an_outage_is_delivered_afterwards(world: World, after: int, every: int) -> None:
    """The outage begins ``after`` good messages of the same minute; then one message in ``every`` minutes."""
    world.clock += MINUTE - world.clock % MINUTE
    for _ in range(after):
        world.produce(1)
        done(world.command("poll"))
    world.front.down, world.front.down_until = 1.0, world.clock + 40 * MINUTE
    minute = 0
    while world.clock < world.front.down_until:
        if minute % every == 0:
            world.produce(1)
        done(world.command("poll"))
        done(world.command("breaker-turn"))
        world.clock += MINUTE
        minute += 1
    for _ in range(150):
        if not world.queues.waiting["source"]:
            break
        done(world.command("breaker-turn"))
        done(world.command("poll"))
        world.clock += MINUTE
    assert not world.queues.waiting["source"]
    assert world.queues.redriven == []
