"""Whoever gives a column another type, or takes it away, brings Athena's view of the table along.

Athena refuses a view whose columns are not those that its SELECT gives, and upkeep comes once an hour. That a
rebuild drops a column, see ``test_a_rebuild_admits_by_use.py``.
"""

from typing import Any

import pytest

from common.lake import views
from lean_ops.environment import audit
from lean_ops.operate.checkpoints import MergedLayer

from .conftest import done
from .services import TOPIC, Glue
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
def test_a_view_that_cannot_be_written_leaves_the_topic_free(
    seen: World, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rollback is done, and says what is not; upkeep, or the same command again, does it."""
    before = seen.snapshots("semantic")[0]
    seen.contract = ("2.0.0", "string")
    seen.send(4)
    seen.command("run")
    words = ("rollback", "semantic", "--to", before, *WHY)
    (process,) = seen.beside([words], aims={0: Aim("change a view", fault)})
    assert process.killed == (fault == "killed")
    if not process.killed:
        done(process)
        said = " ".join(capsys.readouterr().err.split())
        assert f"view {seen.target.database}.semantic_{TOPIC}_current: expected to write it" in said
        assert "What was asked for is done; upkeep writes the view within the hour" in said
        (entry,) = audit.entries(seen.target, operation="rollback")
        assert entry.outcome is audit.Outcome.SUCCEEDED
    assert seen.snapshots("semantic")[0] == before
    assert type_of_reading(seen) == "string"
    seen.contract = ("3.0.0", "integer")
    done(seen.command("run"))
    done(seen.command("maintain", *WHY))
    assert type_of_reading(seen) == "bigint"


@pytest.mark.parametrize("slow", ["upkeep", "rollback"])
def test_who_writes_a_view_last_has_seen_the_columns_that_there_are(
    seen: World, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the table and its write of the view a run gives the column another type."""
    before = seen.snapshots("semantic")[0]
    seen.contract = ("2.0.0", "string")
    seen.send(4)
    with monkeypatch.context() as patch:
        if slow == "upkeep":
            patch.setattr(views, "follow", lambda *_: False)
        done(seen.command("run"))
    written, write = list[str](), Glue.update_table

    def overtaken(glue: Glue, *, TableInput: dict[str, Any], **rest: Any) -> None:
        if TableInput["Name"] == f"semantic_{TOPIC}{views.CURRENT}":
            written.append(slow)
            if len(written) == 1:
                seen.contract = ("3.0.0", "number")
                seen.send(1)
                done(seen.command("run"))
                assert len(written) > 1, "the run has written no view"
        write(glue, TableInput=TableInput, **rest)

    monkeypatch.setattr(Glue, "update_table", overtaken)
    words = ("maintain",) if slow == "upkeep" else ("rollback", "semantic", "--to", before)
    done(seen.command(*words, *WHY))
    assert written
    assert type_of_reading(seen) == "double"


def columns(world: World, layer: str) -> dict[str, str]:
    """The columns of a layer's view, as Glue has them; the text that Athena reads has the same ones."""
    table = world.catalog.load_table(world.target.settings.table(layer, TOPIC))
    found = world.views[f"{layer}_{TOPIC}{views.CURRENT}"]
    names = {column["Name"]: column["Type"] for column in found["StorageDescriptor"]["Columns"]}
    assert names.keys() <= set(table.schema().column_names), "the view names a column that is not there"
    return names


def type_of_reading(world: World) -> str:
    return columns(world, MergedLayer.SEMANTIC)["reading"]
