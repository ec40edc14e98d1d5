"""A request is done, its answer is lost, and the SDK makes it again: the answer says that another was first.

botocore does so up to twice where a connection breaks or no answer comes (``common.runtime.clients``). A
condition does not hold any more then, a table exists or is gone, and it was this very request.
"""

import json
from typing import Final

import pytest

from .conftest import done
from .world import Aim, World

WHY: Final = ("--reason", "a test", "--json")
# What changes something, and how many calls of each kind there may be.
CALLS: Final = {
    "catalog commit": 4,
    "catalog register": 1,
    "catalog drop": 1,
    "dynamodb update": 4,
    "dynamodb put": 4,
}
WORK: Final = {
    "run": ("run",),
    "rollback": ("rollback", "curated", "--to", "{before}", *WHY),
    "reset": ("checkpoints", "reset", "curated", *WHY),
    "rebuild curated": ("rebuild", "--layer", "curated", "--yes", *WHY),
    "rebuild semantic": ("rebuild", "--layer", "semantic", "--yes", *WHY),
    "publish": ("contract", "publish", "{contract}", "--accept", *WHY),
    "erase": ("erase", "--key", "k1", "--yes", *WHY),
    "pause": ("pause", *WHY),
    "upkeep": ("upkeep",),
}  # fmt: skip


def test_a_rollback_tells_what_it_undid_all_the_same(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """It compares the table of before, not the one that it finds when it looks whose commit that was."""
    before = world.snapshots("semantic")[0]
    world.contract = ("2.0.0", "string")
    world.send(4)
    world.command("run")
    done(world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
    capsys.readouterr()
    back = ("rollback", "semantic", "--to", before, *WHY)
    (process,) = world.beside([back], aims={0: Aim("catalog commit", "twice")})
    done(process)
    assert process.met
    told = json.loads(capsys.readouterr().out)
    assert (told["columns_restored"], told["rebuild_undone"]) == (["reading"], True)


@pytest.mark.parametrize("work", WORK)
def test_whatever_changes_something_is_done_once(world: World, work: str) -> None:
    contract = world.folder / "next.yaml"
    contract.write_text(world.next_contract())
    met = 0
    for call, times in CALLS.items():
        for number in range(1, 1 + times):
            world.send(2)
            done(world.command("run"))
            named = {"before": world.snapshots("curated")[:2][-1], "contract": str(contract)}
            world.send(2)
            words = tuple(word.format(**named) for word in WORK[work])
            (process,) = world.beside([words], aims={0: Aim(call, "twice", number)})
            done(process)
            met += bool(process.met)
            world.command("resume", "--everybody", "--json")
            if not process.met:
                break
    assert met, "nothing was asked for twice"
    world.command("run")
    done(world.command("run"))
    found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
    erased = {"k1"} if work == "erase" else set()
    assert found == {key: e["message_id"] for key, e in world.expected().items() if key not in erased}
