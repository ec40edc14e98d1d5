"""Sequences of deliveries, runs and operations, drawn from a seed: killed, repeated, beside each other."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Several
from pathlib import Path

from common.lake.checkpoints import NOTHING
from lean_ops.environment import audit
from lean_ops.operate import checkpoints
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.holds import Place

from .watching import Persons
from .world import PERSON, TOPIC, Process, World, simulated

COLLEAGUE = "arn:aws:iam::000000000000:user/colleague"
WHY = ("--reason", "a simulation", "--json")
SWAP = ("--yes",)

Words = tuple[str, ...]


# About how many external calls a command makes at most: where it can be killed.
CALLS = {
    ("checkpoints",): 24,
    ("maintain",): 50,
    ("pause",): 5,
    ("rebuild", "--discard"): 9,
    ("rebuild", "--yes"): 50,
    ("rebuild",): 30,
    ("replay",): 7,
    ("resume",): 6,
    ("rollback",): 24,
    ("run",): 40,
}


# What has a topic to itself.
ALONE = ("rollback", "rollback", "reset", "set")


class Sequence:
    """One sequence of steps, and the putting in order at its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.persons = Persons(world)
        world.letters_may_return = True
        self.killed: list[tuple[str, Words]] = []
        self.changed_contract = False

    def step(self) -> None:
        """One delivery, one command, two or three at the same time, or what operations harm each other by."""
        draw = self.random.random()
        if draw < 0.2:
            self.world.send(self.random.randrange(1, 7))
        elif draw < 0.5:
            self.work([self.draw()])
        elif draw < 0.65:
            self.work([self.draw() for _ in range(self.random.choice((2, 2, 3)))])
        elif draw < 0.72:
            self.work([self.draw(("letters", "letters", "maintain", "pause", "rebuild", "rebuild"))] * 2)
        elif draw < 0.88:
            self.world.send(self.random.randrange(1, 4))
            self.work([("run",), self.draw(ALONE), *([self.draw()] if self.random.random() < 0.3 else [])])
        else:  # one that is killed with its work half done, or a person's hold; and others after it
            if self.random.random() < 0.3:
                self.work([self.draw(("pause",))])
            else:
                self.work([self.draw((*ALONE, "rebuild"))], killed=True)
            self.world.send(self.random.randrange(1, 4))
            for _ in range(2):
                self.work([self.draw(("run", "resume", "resume", *ALONE))])

    def work(self, commands: list[Words], *, killed: bool = False) -> None:
        """Run commands, each killed at some call by a chance of one in three, or for sure."""
        kill: dict[int, tuple[int | None, bool]] = {
            index: (self.random.randrange(1, 1 + _calls(words)), self.random.random() < 0.5)
            for index, words in enumerate(commands)
            if killed or self.random.random() < 0.35
        }
        persons = [self.random.choice((PERSON, PERSON, COLLEAGUE)) for _ in commands]
        maintained = len(commands) == 1 and commands[0][0] == "maintain" and self.checkpoint_is_readable()
        lifting = any(words[0] == "resume" for words in commands)
        self.world.watch.on_hold = bool(self.persons.sure) and not lifting
        processes = self.world.beside(commands, kill, persons)
        for process, words in zip(processes, commands, strict=True):
            if process.killed and words[0] != "run":
                self.killed.append((process.person, words))
        self.world.watch.on_hold = False
        self.persons.gave(list(zip(processes, commands, strict=True)))
        if len(commands) == 1 and processes[0].error is None:
            self.did_as_told(commands[0])
            assert not maintained or self.checkpoint_is_readable(), "maintenance forgot where Curated is"
        self.world.take_queue()
        self.world.watch.raise_faults()
        if self.killed and not killed and self.random.random() < 0.6:
            self.repeat()

    def repeat(self) -> None:
        """Run the last command that was killed again."""
        person, words = self.killed.pop()
        process = self.world.command(*words, person=person)
        if process.killed:
            raise AssertionError("nobody kills a repetition")
        self.persons.gave([(process, words)])
        if process.error is None:
            self.did_as_told(words)
        self.world.watch.raise_faults()

    def did_as_told(self, words: Words) -> None:
        """A command that ended well, alone, has done what it says."""
        if words[0] == "rollback":
            assert self.world.snapshots(words[1])[0] == words[3], words
            then, now = (self.world.rows(words[1], of_then=when) for when in (True, False))
            assert then == [{name: row[name] for name in then[0]} for row in now], words
        elif words[:2] == ("checkpoints", "reset"):
            counts = checkpoints.read(self.world.target, TOPIC, MergedLayer(words[2])).counts
            assert counts is not None, words
            assert (counts.token, counts.rewound) == (NOTHING, True), words

    def checkpoint_is_readable(self) -> bool:
        """Whether RAW still knows the snapshot that Curated reads on from."""
        found = checkpoints.read(self.world.target, TOPIC, MergedLayer.CURATED)
        return found.counts is not None and found.snapshots_behind is not None

    def draw(self, among: Several[str] = ()) -> Words:
        """A command; one of ``among`` where they are named."""
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
            "give up": self._give_up,
        }
        weights = [4, 3, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 0.5]
        if among:
            return commands[self.random.choice(among)]()
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

    def _give_up(self) -> Words:
        """Lift the hold of an operation that was killed, or of none."""
        found = [hold.operation_id for hold in self.persons.place.holds() if hold.operation_id]
        return ("resume", "--operation", *(found or ["none"]), "--json")

    def put_in_order(self) -> None:
        """What an operator does in the end: repeat what was killed, lift what is held, run the pipeline."""
        while self.killed:
            self.repeat()
        for _ in range(2):  # a letter may come back once
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
                return
        assert self.changed_contract, "every run finds something new"

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
    assert semantic == world.published()
    refused = {row["idempotency_key"] for row in world.rows("quarantine")}
    assert {key for key in expected if key.startswith("bad")} <= refused
    raw = {row["message_id"] for row in world.rows("raw")}
    assert {letter["message_id"] for letter in world.letters} <= raw
    assert not any(world.queues.waiting.values())
    letters_are_accounted_for(world)
    for layer in ("curated", "semantic"):
        assert not world.catalog.table_exists(world.target.settings.rebuild_table(layer, TOPIC))
        assert not list(world.folder.rglob(f"rebuild_{layer}_{TOPIC}/**/*.json"))
    open_records = [e for e in audit.entries(world.target) if e.outcome is audit.Outcome.STARTED]
    assert len(open_records) <= sum(process.killed for process in world.processes.values())
    world.watch.raise_faults()


def letters_are_accounted_for(world: World) -> None:
    """A letter is sent once, and again only where it came back or its replay was killed before removing it.

    Both together leave two letters of one body, which the next replay sends both.
    """
    replays = [p for p in world.processes.values() if p.what.startswith("replay dlq")]
    killed = {process.number for process in replays if process.killed}
    sent, returned = world.queues.sent, world.queues.returned
    for (number, body), times in Counter(sent).items():
        assert times == 1 or (killed and body in returned), f"process {number} has sent a letter twice"
    for body, times in Counter(body for _, body in sent).items():
        assert times <= (1 + (body in returned)) * (1 + len(killed)), "a letter is sent again and again"
    told = [e for e in audit.entries(world.target, operation="replay.dlq") if e.outcome == "succeeded"]
    by_others = [number for number, _ in sent if number not in killed]
    if all(process.error is None for process in replays if not process.killed):
        assert len(by_others) <= sum(entry.counts["sent"] for entry in told) <= len(sent)


def play(folder: Path, seed: int) -> None:
    """Play the sequence of a seed; an error carries its history."""
    with simulated(folder, seed) as world:
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


def _calls(words: Words) -> int:
    return next(n for given, n in CALLS.items() if given[0] == words[0] and set(given) <= set(words))
