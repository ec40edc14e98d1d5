"""A table that went on and came back between plan and commit is not as planned: it is planned again."""

import pytest

from lean_ops.operate import rollback
from lean_ops.operate.checkpoints import MergedLayer

from .conftest import done
from .services import TOPIC
from .world import World


@pytest.mark.parametrize(
    "command", [("run",), ("rebuild", "--layer", "curated", "--yes", "--reason", "INC-1")], ids=lambda c: c[0]
)
def test_a_commit_beside_a_commit_and_its_rollback_is_planned_again(
    world: World, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    commit = type(world.catalog).commit_table
    curated = world.target.settings.table("curated", TOPIC)

    def overtaken(catalog: object, table: object, *changes: object) -> object:
        if world.process is not None and table.name()[-1] == curated.rpartition(".")[2]:  # type: ignore[attr-defined] # a table
            monkeypatch.setattr(type(world.catalog), "commit_table", commit)
            live = world.catalog.load_table(curated)
            before = int(world.snapshots("curated")[0])
            live.append(live.schema().as_arrow().empty_table())
            rollback.roll_back(world.target, TOPIC, MergedLayer.CURATED, before, lambda: None)
        return commit(catalog, table, *changes)  # type: ignore[arg-type] # passed on as they are

    world.send(4)
    monkeypatch.setattr(type(world.catalog), "commit_table", overtaken)
    done(world.command(*command))
    assert type(world.catalog).commit_table is commit, "nothing came between"
    done(world.command("run"))
    found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
    assert found == {key: event["message_id"] for key, event in world.expected().items()}
