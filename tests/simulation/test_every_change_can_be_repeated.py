"""Every command that changes something: given twice, killed and repeated, and beside itself."""

import os
from collections.abc import Iterator

import pytest
import typer

from common.runtime.errors import LeanOpsError
from lean_ops.cli import app
from lean_ops.operate.holds import Kind, Place

from .services import TOPIC
from .world import Process, World

WHY = ("--reason", "INC-1")
Words = tuple[str, ...]
# More in the long profile (``make test-operations-long``).
KILLS = 6 if "SIMULATED_LONG" in os.environ else 1

# What the simulated environment can do; SNAPSHOT is one that a command can go back to.
SIMULATED: dict[str, Words] = {
    "checkpoints reset": ("checkpoints", "reset", "curated", *WHY),
    "contract publish": ("contract", "publish", "CONTRACT", "--accept", "--json", *WHY),
    "checkpoints set": ("checkpoints", "set", "semantic", "--to", "SNAPSHOT", *WHY),
    "maintain": ("maintain", "--snapshot-days", "0", *WHY),
    "pause": ("pause", *WHY),
    "rebuild": ("rebuild", "--layer", "curated", "--yes", *WHY),
    "replay dlq": ("replay", "dlq", "--json"),
    "replay quarantine": ("replay", "quarantine", "--json"),
    "resume": ("resume", "--json"),
    "rollback": ("rollback", "curated", "--to", "SNAPSHOT", "--hold", *WHY),
    "run": ("run",),
}
# Where the others are given twice.
ELSEWHERE = {
    "breaker auto": "tests/unit/intake/test_circuit_breaker_decides_by_its_rules.py",
    "breaker close": "tests/unit/intake/test_circuit_breaker_decides_by_its_rules.py",
    "breaker open": "tests/unit/intake/test_circuit_breaker_decides_by_its_rules.py",
    "contract promote": "tests/integration/commands/test_a_contract_is_planned_before_it_is_in_place.py",
    "demo": "a stack of its own, made anew",
    "dlq archive": "tests/integration/handlers/test_dead_letters_are_archived.py",
    "down": "tests/drills/test_local_stack_comes_and_goes.py",
    "erase rows": "tests/simulation/test_an_erasure_ends_whatever_kills_it.py",
    "refresh": "changes nothing of ours",
    "release rollback": "tests/integration/operate/test_releases_go_back_and_forward.py",
    "replay delivery": "tests/integration/operate/test_failed_deliveries_are_replayed.py",
    "send": "tests/drills/test_a_killed_sender_loses_nothing.py",
    "stop": "tests/drills/test_runs_hang_die_and_lose_their_place.py",
    "up": "tests/drills/test_local_stack_comes_and_goes.py",
}
READING = {
    "alarms",
    "audit",
    "breaker show",
    "console",
    "checkpoints show",
    "contract diff",
    "contract export",
    "contract history",
    "contract init",
    "contract lint",
    "contract plan",
    "contract show",
    "contract test",
    "dlq show",
    "cost",
    "doctor",
    "erase verify",
    "query",
    "reconcile",
    "report",
    "snowflake check",
    "snowflake setup",
    "release show",
    "source lint",
    "source try",
    "status",
    "tables",
    "history",
    "trace",
}


def commands(group: object, path: str = "") -> Iterator[str]:
    for name, command in getattr(group, "commands", {}).items():
        if getattr(command, "commands", None):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_every_command_is_known_to_change_something_or_not() -> None:
    assert set(commands(typer.main.get_command(app))) == {*SIMULATED, *ELSEWHERE, *READING}


def state(world: World) -> dict[str, object]:
    """What a command can change: rows, who holds, what waits."""
    kinds: tuple[Kind, ...] = ("lease", "rebuild-curated", "rebuild-semantic")
    return {
        **{layer: sorted(map(content, world.rows(layer))) for layer in ("raw", "curated", "semantic")},
        "holds": [[(h.holder, h.reason) for h in Place(world.target, TOPIC, kind).holds()] for kind in kinds],
        "letters": len(world.queues.waiting["letters"]),
        "beside": [
            name[-1] for name in world.catalog.list_tables(world.target.database) if "rebuild" in name[-1]
        ],
    }


def content(row: dict[str, object]) -> str:
    return repr({name: value for name, value in row.items() if not name.endswith("_merge_seq")})


def words(world: World, command: str) -> Words:
    file = world.folder / "next.yaml"
    named = {"SNAPSHOT": lambda: world.snapshots("curated")[1], "CONTRACT": lambda: str(file)}
    if "CONTRACT" in SIMULATED[command]:
        file.write_text(world.next_contract())
    return tuple(named[word]() if word in named else word for word in SIMULATED[command])


def ok(process: Process) -> None:
    assert process.error is None, process


def undo(world: World) -> None:
    """Bring the world to where the next command finds something to do."""
    world.clock += 1000
    world.take_queue()
    world.command("resume", "--everybody", "--json")
    world.send(3)
    ok(world.command("run"))


@pytest.mark.parametrize("command", sorted(SIMULATED))
def test_given_twice_killed_and_beside_itself_it_ends_the_same(world: World, command: str) -> None:
    given = words(world, command)
    ok(world.command(*given))
    once = state(world)
    ok(world.command(*given))
    assert state(world) == once, "given twice"

    undo(world)
    given = words(world, command)
    calls = world.command(*given).calls
    for at in sorted({world.random.randrange(1, calls + 1) for _ in range(KILLS)}):
        for answered in (False, True):
            undo(world)
            given = words(world, command)
            world.command(*given, kill_at=at, answered=answered)
            world.clock += 1000
            ok(world.command(*given))
            repeated = state(world)
            ok(world.command(*given))
            assert state(world) == repeated, "killed and repeated"

    undo(world)
    given = words(world, command)
    both = world.beside([given, given])
    told = [process for process in both if process.error is not None]
    assert len(told) < 2
    assert all(isinstance(process.error, LeanOpsError) for process in told)
    done = state(world)
    ok(world.command(*given))
    assert state(world) == done, "beside itself"
    undo(world)
    expected = {key: event["message_id"] for key, event in world.expected().items()}
    assert {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")} == expected
    assert state(world)["holds"] == [[], [], []]
