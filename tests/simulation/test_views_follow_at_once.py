"""Whoever gives a column another type, or takes it away, brings Athena's view of the table along.

Athena refuses a view whose columns are not those that its SELECT gives, and upkeep comes once an hour. That a
rebuild drops a column, see ``test_a_rebuild_admits_by_use.py``.
"""

import pytest

from common.lake import views
from lean_ops.operate.checkpoints import MergedLayer

from .conftest import done
from .services import TOPIC
from .world import Aim, World

WHY = ("--reason", "a test", "--json")


@pytest.fixture
def seen(world: World) -> World:
    """Upkeep has been there, and made the views."""
    done(world.command("maintain", *WHY))
    assert type_of_reading(world) == "bigint"
    return world


def test_of_a_contract_that_is_applied_and_a_rollback(seen: World) -> None:
    before = seen.snapshots("semantic")[0]
    seen.contract = ("2.0.0", "string")
    seen.send(4)
    seen.command("run")
    assert type_of_reading(seen) == "string"
    done(seen.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    done(seen.command("rollback", "semantic", "--to", before, *WHY))
    assert type_of_reading(seen) == "bigint"


def test_of_a_contract_that_is_published(seen: World) -> None:
    file = seen.folder / "next.yaml"
    file.write_text(seen.next_contract())
    done(seen.command("contract", "publish", str(file), "--accept", *WHY))
    assert type_of_reading(seen) == "string"


@pytest.mark.parametrize("fault", ["killed", "refused"])
def test_a_view_that_cannot_be_written_leaves_the_topic_free(seen: World, fault: str) -> None:
    """The rollback is done, and says what is not; upkeep, or the same command again, does it."""
    before = seen.snapshots("semantic")[0]
    seen.contract = ("2.0.0", "string")
    seen.send(4)
    seen.command("run")
    words = ("rollback", "semantic", "--to", before, *WHY)
    (process,) = seen.beside([words], aims={0: Aim("change a view", fault)})
    assert process.killed == (fault == "killed")
    assert process.error is not None
    assert seen.snapshots("semantic")[0] == before
    assert type_of_reading(seen) == "string"
    seen.contract = ("3.0.0", "integer")
    done(seen.command("run"))
    done(seen.command("maintain", *WHY))
    assert type_of_reading(seen) == "bigint"


def columns(world: World, layer: str) -> dict[str, str]:
    """The columns of a layer's view, as Glue has them; the text that Athena reads has the same ones."""
    table = world.catalog.load_table(world.target.settings.table(layer, TOPIC))
    found = world.views[f"{layer}_{TOPIC}{views.CURRENT}"]
    names = {column["Name"]: column["Type"] for column in found["StorageDescriptor"]["Columns"]}
    assert names.keys() <= set(table.schema().column_names), "the view names a column that is not there"
    return names


def type_of_reading(world: World) -> str:
    return columns(world, MergedLayer.SEMANTIC)["reading"]
