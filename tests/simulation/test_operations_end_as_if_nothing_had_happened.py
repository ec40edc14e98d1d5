"""Whatever is killed, repeated or run at the same time: in the end tables are right, and nobody holds.

A sequence is drawn from its seed: deliveries, runs and operations, some killed at some call, some beside each
other. What was killed is repeated, at once or at the end, as an operator would. ``make test-operations-long``
runs a thousand more (``OPERATION_SEQUENCES``, ``OPERATION_SEED``); the seed and the history of one that fails
are in its message.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lean_ops.environment import audit
from lean_ops.operate.holds import Place

from .world import TOPIC, Process, World, simulated

# Read when the tests are collected: they run without such settings.
SEQUENCES = int(os.environ.get("OPERATION_SEQUENCES", "32"))
FIRST_SEED = int(os.environ.get("OPERATION_SEED", "1"))
WHY = ("--reason", "a simulation", "--json")
SWAP = ("--yes",)

Words = tuple[str, ...]


class Sequence:
    """One sequence of steps, and the putting in order at its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.killed: list[Words] = []
        self.changed_contract = False

    def step(self) -> None:
        """One delivery, one command, or two or three at the same time."""
        draw = self.random.random()
        if draw < 0.25:
            self.world.send(self.random.randrange(1, 7))
        elif draw < 0.7:
            self.work([self.draw()])
        else:
            self.work([self.draw() for _ in range(self.random.choice((2, 2, 3)))])

    def work(self, commands: list[Words]) -> None:
        """Run commands, each killed at some call by a chance of one in four."""
        kill = {
            index: (self.random.randrange(1, 40), self.random.random() < 0.5)
            for index, _ in enumerate(commands)
            if self.random.random() < 0.25
        }
        for process, words in zip(self.world.beside(commands, kill), commands, strict=True):
            if process.killed and words[0] != "run":
                self.killed.append(words)
        self.world.take_queue()
        if self.killed and self.random.random() < 0.6:
            self.repeat()

    def repeat(self) -> None:
        """Run the last command that was killed again."""
        words = self.killed.pop()
        if self.world.command(*words).killed:
            raise AssertionError("nobody kills a repetition")

    def draw(self) -> Words:
        """A command."""
        layer = self.random.choice(("curated", "semantic"))
        commands: dict[str, Callable[[], Words]] = {
            "run": lambda: ("run", *self.random.choice(((), (), ("--force",)))),
            "rollback": lambda: self._rollback(layer),
            "reset": lambda: ("checkpoints", "reset", layer, *WHY),
            "set": lambda: self._set(layer),
            "rebuild": lambda: ("rebuild", "--layer", layer, *self.random.choice(((), SWAP, SWAP)), *WHY),
            "rebuild from": lambda: ("rebuild", "--layer", layer, "--from", "2026-06-01", *SWAP, *WHY),
            "discard": lambda: ("rebuild", "--layer", layer, "--discard", *WHY),
            "replay": lambda: ("replay", "quarantine", "--json"),
            "letters": lambda: ("replay", "dlq", "--json"),
            "pause": lambda: ("pause", *WHY),
            "resume": lambda: ("resume", "--json", *self.random.choice(((), ("--everybody",)))),
            "maintain": lambda: ("maintain", "--snapshot-days", self.random.choice("05"), *WHY),
            "contract": self._contract,
        }
        weights = [4, 3, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1]
        (name,) = self.random.choices(list(commands), weights)
        return commands[name]()

    def _set(self, layer: str) -> Words:
        known = self.world.snapshots("raw" if layer == "curated" else "curated") or ["1"]
        return ("checkpoints", "set", layer, "--to", self.random.choice(known), *WHY)

    def _contract(self) -> Words:
        """A new major version, with another type, and a run under it."""
        self.changed_contract = True
        version, kind = self.world.contract
        major = int(version.partition(".")[0]) + 1
        self.world.contract = (f"{major}.0.0", "string" if kind == "integer" else "integer")
        self.world.history.append(f"contract {self.world.contract}")
        return ("run",)

    def _rollback(self, layer: str) -> Words:
        known = self.world.snapshots(layer) or ["1"]
        hold = self.random.choice(((), (), ("--hold",)))
        return ("rollback", layer, "--to", self.random.choice(known[:5]), *hold, *WHY)

    def put_in_order(self) -> None:
        """What an operator does in the end: repeat what was killed, lift what is held, run the pipeline."""
        while self.killed:
            self.repeat()
        self.world.clock += 1000  # what a killed replay had hidden is visible again
        self.good(self.world.command("replay", "dlq", "--json"))
        self.world.take_queue()
        self.world.command("resume", "--everybody", "--json")
        self.holds_are_gone()
        if self.changed_contract:
            self.world.contract = ("99.0.0", "integer")
        self.settle()
        for layer in ("curated", "semantic"):
            self.good(self.world.command("rebuild", "--layer", layer, "--discard", *WHY))
        if self.changed_contract:
            self.good(self.world.command("rebuild", "--layer", "semantic", "--yes", *WHY))
            self.settle()

    def settle(self) -> None:
        """Run until there is nothing new, as the schedule does; another type waits for a rebuild."""
        for _ in range(4):
            process = self.world.command("run")
            assert self.changed_contract or process.error is None, process.error
            if self.world.idle:
                break

    def good(self, process: Process) -> None:
        """A command that must do what it says."""
        assert process.error is None, (process.what, process.error)

    def holds_are_gone(self) -> None:
        """Nobody holds anything that nobody works on."""
        places = [
            Place(self.world.target, TOPIC, kind) for kind in ("lease", "rebuild-curated", "rebuild-semantic")
        ]
        assert [place.holds() for place in places] == [(), (), ()]


def check(sequence: Sequence) -> None:
    """The tables are those of a single pass, nothing is left beside, and every record says how it ended."""
    world = sequence.world
    sequence.holds_are_gone()
    expected = world.expected()
    found = {row["idempotency_key"]: row for row in world.rows("curated")}
    assert {key: row["message_id"] for key, row in found.items()} == {
        key: event["message_id"] for key, event in expected.items()
    }
    assert len(world.rows("curated")) == len(found)
    semantic = {row["idempotency_key"]: row["reading"] for row in world.rows("semantic")}
    assert semantic == {key: int(row["reading"]) for key, row in found.items() if row["reading"] != "broken"}
    refused = {row["idempotency_key"] for row in world.rows("quarantine")}
    assert {key for key in expected if key.startswith("bad")} <= refused
    raw = {row["message_id"] for row in world.rows("raw")}
    assert {letter["message_id"] for letter in world.letters} <= raw
    assert not any(world.queues.waiting.values())
    for layer in ("curated", "semantic"):
        assert not world.catalog.table_exists(world.target.settings.rebuild_table(layer, TOPIC))
        assert not list(world.folder.rglob(f"rebuild_{layer}_{TOPIC}/**/*.json"))
    open_records = [e for e in audit.entries(world.target) if e.outcome is audit.Outcome.STARTED]
    assert len(open_records) <= sum(process.killed for process in world.processes.values())


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEQUENCES))
def test_tables_are_right_and_nobody_holds(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated(tmp_path / "lake", seed) as world:
        sequence = Sequence(world)
        try:
            world.send(6)
            world.command("run")
            for _ in range(world.random.randrange(3, 8)):
                sequence.step()
            sequence.put_in_order()
            check(sequence)
        except BaseException as error:
            error.add_note(f"seed {seed}:\n" + "\n".join(world.history))
            raise
        finally:
            capsys.readouterr()
