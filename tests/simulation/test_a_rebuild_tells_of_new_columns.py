"""A rebuild that meets a leaf before any run does enters its column into the drift log, as a run would."""

from datetime import timedelta

import pytest

from .clock import START
from .conftest import done
from .services import TOPIC
from .world import World


@pytest.mark.parametrize("options", [("--yes",), ("--from", "2026-06-01", "--yes")])
def test_a_column_that_a_rebuild_adds_is_logged(world: World, options: tuple[str, ...]) -> None:
    new = {
        **world.event(),
        "json_payload": '{"reading": 1, "humidity": 40}',
        "operation": None,
        "publish_time": START + timedelta(hours=4),
    }
    world.deliver([new])
    done(world.command("rebuild", "--layer", "curated", *options, "--reason", "INC-1", "--json"))
    table = world.catalog.load_table(world.target.settings.table("curated", TOPIC))
    assert "humidity" in table.schema().column_names
    done(world.command("run"))
    assert "new-column#humidity" in world.drift_entries()
