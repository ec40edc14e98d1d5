"""Histories drawn from a seed: what producers, services, schedules and operators do, and what breaks.

Each step is drawn: messages, the functions that take them on, the weather (Firehose refuses, the queue is at
its worst), time that passes, schedules, runs and operators' commands, alone or beside each other, some killed
or crashed at some call, some with calls that are refused or whose answer is lost. In the end the weather is
fine, whatever was killed or has failed is repeated, and time goes on until everything rests.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from random import Random

from common.intake.breaker.record import RecordStore
from common.intake.breaker.rules import Phase
from common.lake.checkpoints import NOTHING
from common.lake.history import lineage, stands_for
from common.runtime.errors import ContractError
from lean_ops.operate import checkpoints
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.holds import Place, places

from . import resting
from .front import body_of
from .queues import LETTERS
from .services import TOPIC
from .situations import SITUATIONS, WHY
from .watching import Persons
from .world import PERSON, WAITS, Aim, Process, World, simulated

COLLEAGUE = "arn:aws:iam::000000000000:user/colleague"
SWAP = ("--yes",)

Words = tuple[str, ...]


# About how many external calls a command makes at most: where it can be killed.
CALLS = {
    ("checkpoints",): 24,
    ("contract",): 83,
    ("deliver",): 4,
    ("maintain",): 60,
    ("pause",): 5,
    ("rebuild", "--discard"): 9,
    ("rebuild", "--yes"): 60,
    ("rebuild",): 30,
    ("replay",): 7,
    ("resume",): 6,
    ("rollback",): 24,
    ("run",): 86,
    ("execution",): 86,
    ("poll",): 4,
    ("dispatch",): 8,
    ("breaker-turn",): 8,
    ("erase",): 130,
    ("archive",): 6,
    ("lose-lease",): 1,
    ("upkeep",): 45,
}
# What services do by themselves, again and again: nobody repeats one that was killed.
BY_THEMSELVES = frozenset(
    {"run", "execution", "poll", "dispatch", "breaker-turn", "archive", "upkeep", "lose-lease", "go-back"}
)
# Kinds of steps, and how often each is drawn.
KINDS = {
    "front": 28,
    "schedule": 17,
    "meet": 18,
    "long_ago": 8,
    "command": 7,
    "commands": 8,
    "same_twice": 4,
    "run_beside": 12,
    "killed_midway": 12,
    "erase": 20,
    **{kind: often for kind, (_, often) in SITUATIONS.items()},
}
# What takes longer than others: part of few histories.
LONG = ("erase", "forgotten")
# What one planted fault or two are met by, and drawn histories by other kinds: part of none.
NAMED = ("swept", "taken_up", "unawaited")
# What has a topic to itself.
ALONE = ("rollback", "rollback", "reset", "set")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class Sequence:
    """One sequence of steps, and the putting in order at its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calms = self.storms = False
        self.calm_step = False  # nothing breaks in all of the step, whatever it asks for
        self.persons = Persons(world)
        world.letters_may_return = True
        self.killed: list[tuple[str, Words]] = []
        self.changed_contract = False
        self.forgotten: set[str] = set()
        erases = self.random.random() < 0.12
        # Of all that may happen, few kinds in one history: then they meet each other.
        others = [kind for kind in KINDS if kind not in (*LONG, *NAMED)]
        self.kinds = sorted(self.random.sample(others, self.random.choice((1, 2, 3, len(others)))))
        self.kinds += LONG * erases
        world.has_contract = self.random.random() >= 0.07

    @property
    def random(self) -> Random:
        """What everything of the current step is drawn from."""
        return self.world.random

    def step(self) -> None:
        """What happens next."""
        (kind,) = self.random.choices(self.kinds, [KINDS[kind] for kind in self.kinds])
        if kind in SITUATIONS:
            if self.random.random() < 0.8:
                self.tidy()
            self.world.history.append(f"({kind.replace('_', ' ')})")
            SITUATIONS[kind][0](self)
        else:
            getattr(self, kind)()

    def tidy(self) -> None:
        """Repeat what was killed, and lift what persons hold: no run would do anything."""
        while self.killed:
            self.repeat()
        if self.persons.place.holds():
            before, self.calms = self.calms, True
            self.work([("resume", "--everybody", "--json")])
            self.calms = before

    def command(self) -> None:
        """One command."""
        self.work([self.draw()])

    def commands(self) -> None:
        """Two or three at the same time."""
        self.work([self.draw() for _ in range(self.random.choice((2, 2, 3)))])

    def same_twice(self) -> None:
        """The same command by two persons."""
        self.work([self.draw(("letters", "letters", "maintain", "pause", "rebuild", "rebuild"))] * 2)

    def run_beside(self) -> None:
        """A run, and what wants the topic for itself."""
        self.send()
        self.work([("run",), self.draw(ALONE), *([self.draw()] if self.random.random() < 0.3 else [])])

    def killed_midway(self) -> None:
        """One that is killed with its work half done, or a person's hold; and others after it."""
        if self.random.random() < 0.3:
            self.work([self.draw(("pause",))])
        else:
            self.work([self.draw((*ALONE, "rebuild", "rebuild", "letters", "archive"))], killed=True)
        if self.random.random() < 0.25:
            self.work([self._give_up()])
        elif self.killed and self.random.random() < 0.3:
            self.repeat(refused=True)
        self.send()
        for _ in range(2):
            self.work([self.draw(("run", "resume", "resume", *ALONE))])

    def meet(self) -> None:
        """Two or three that write to the same tables, and something new to read for them."""
        layer = self.random.choice(("curated", "semantic"))
        rebuild: Words = ("rebuild", "--layer", layer, "--yes", *WHY)
        deliver: Words = ("deliver",)
        meetings: list[list[Words]] = [
            [("run",), deliver, rebuild, ("run",)],
            [("run",), rebuild],
            [("run",), ("upkeep",), deliver],
            [("upkeep",), rebuild],
            [("upkeep",), self._rollback(layer)],
            [("run",), ("lose-lease",), ("run",)],
            [("run",), ("lose-lease",), ("run",), ("upkeep",)],
            [("dispatch",), ("run",)],
        ]
        if self.random.random() < 0.4:  # half of a rebuild is there already
            self.work([("rebuild", "--layer", layer, *WHY)])
        self.pass_time(self.random.choice((0.0, 0.0, 6 * DAY)))
        self.send()
        self.world.produce(self.random.randrange(1, 6))
        self.world.front.poll()
        self.work(self.random.choice(meetings))
        self.executions()

    def long_ago(self) -> None:
        """A week goes by, upkeep forgets what is old, and somebody goes back as far as there is."""
        layer = self.random.choice(("curated", "curated", "semantic"))
        for _ in range(2):
            self.send()
            self.send()
            self.work([("run",)])
        self.pass_time(6 * DAY)
        self.work([("upkeep",)])
        self.send()
        self.work([("run",)])
        back: Words = ("rollback", layer, "--to", (self.world.snapshots(layer) or ["1"])[-1], *WHY)
        self.work([back], killed=self.random.random() < 0.3)
        self.send()

    def send(self) -> None:
        """Let events come to RAW, by the queue and Firehose, if nothing hinders them."""
        self.world.send(self.random.randrange(2, 7))

    def front(self) -> None:
        """Producers and their messages, what takes these on, and the weather."""
        world, draw = self.world, self.random.random()
        if draw < 0.35:
            world.produce(self.random.randrange(2, 10), late_s=self.random.choice((0.0, 0.0, 0.0, 400.0)))
            if self.random.random() < 0.3:
                self.break_message()
            self.work([("poll",)] * self.random.choice((1, 1, 2)))
            world.front.flush(twice=self.random.random() < 0.15, fails=self.random.random() < 0.15)
        elif draw < 0.55:
            world.front.down = self.random.choice((0.4, 0.8, 1.0))
            world.front.down_until = world.clock + self.random.choice((5, 20, 90)) * MINUTE
            world.queues.unreliable = True
            world.history.append(f"Firehose refuses {world.front.down:.0%}, the queue is at its worst")
            self.minutes(self.random.randrange(1, 4))
        elif draw < 0.7:
            self.minutes(self.random.randrange(1, 4))
        elif draw < 0.78:
            self.pass_time(self.random.choice((MINUTE, 10 * MINUTE, HOUR, DAY, 6 * DAY, 12 * DAY)))
        elif draw < 0.92:
            self.outage()
        else:
            self.send()

    def outage(self) -> None:
        """Firehose takes nothing for most of an hour, the schedules go on, and nothing breaks beside it."""
        world = self.world
        world.history.append("Firehose is down for forty minutes")
        harsh = self.random.random() < 0.5
        self.arrive()
        world.front.down, world.front.down_until = 1.0, world.clock + 40 * MINUTE
        world.queues.unreliable, redriven = False, len(world.queues.redriven)
        while world.clock < world.front.down_until:
            if self.random.random() < 0.2:
                world.produce(1)
            self.calm("poll")
            if harsh:
                self.work([("breaker-turn",)])
            else:
                self.calm("breaker-turn")
            world.clock += MINUTE
        self.arrive()
        assert len(world.queues.redriven) == redriven, "an outage has made letters of good messages"

    def minutes(self, number: int) -> None:
        """So many minutes in which messages come and are taken on, and the breaker looks."""
        for _ in range(number):
            self.world.produce(self.random.randrange(1, 4))
            self.work([("poll",), ("poll",)])
            self.pass_time(2 * MINUTE)
            self.work([("breaker-turn",)] * self.random.choice((1, 1, 2)))
        self.world.front.flush()

    def break_message(self) -> None:
        """A message that nobody can read, or that is none of this topic."""
        event = self.world.event()
        body = self.random.choice(
            (
                body_of(event)[:-3],
                body_of({**event, "topic_name": "nobodys"}),
                json.dumps({"message_id": event["message_id"]}),
            )
        )
        self.world.front.broken.add(body)
        self.world.front.produce([body])

    def pass_time(self, seconds: float) -> None:
        """Nothing happens for a while; of days, breaker and queue's function work in the first hours."""
        left = seconds
        if seconds >= DAY:
            began = self.world.clock
            self.world.clock += HOUR
            # An outage may have opened the breaker, and what waits is forgotten in two weeks.
            for _ in range(24):
                self.world.command("breaker-turn")
                self.world.take_queue()
                if not self.world.front.waiting:
                    break
                self.world.clock += 5 * MINUTE
            left -= self.world.clock - began
        for _ in range(int(left // (5 * DAY))):  # the archive's schedule
            self.world.clock += 5 * DAY
            self.world.queues.forget()
            self.calm("archive")
        self.world.clock += left % (5 * DAY)
        self.world.queues.forget()
        if seconds >= HOUR:
            self.world.history.append(f"{seconds / HOUR:.0f} hours pass")

    def schedule(self) -> None:
        """What schedules start: the dispatcher and its runs, upkeep, the archive, the breaker."""
        draw = self.random.random()
        if draw < 0.45:
            self.send()
            self.work([("dispatch",)] * self.random.choice((1, 2)))
            self.storms = self.random.random() < 0.3
            self.executions(beside=self.random.random() < 0.5)
            self.storms = False
        elif draw < 0.52:
            self.break_contract()
        elif draw < 0.58:
            self.world.send(20)
            self.world.stepfunctions.begin({"topic": TOPIC, "round": 19})
            self.executions()
        elif draw < 0.75:
            self.pass_time(self.random.choice((0.0, HOUR, 6 * DAY)))
            self.send()
            self.work([("upkeep",), ("run",), *([self.draw()] if self.random.random() < 0.5 else [])])
        elif draw < 0.9:
            self.work([("archive",), self.random.choice((("archive",), self.draw(("letters",))))])
        else:
            self.work([("breaker-turn",)])

    def break_contract(self) -> None:
        """Somebody registers what is no contract: runs fail for it, once each, until it is mended."""
        self.world.send(2)
        self.world.broken_contract = True
        self.world.has_contract = True
        process = self.world.command("run", "--force")
        self.world.broken_contract = False
        execution = list(self.world.stepfunctions.known.values())[-1]
        assert execution.visited[-1] == "AnotherRunActive" or isinstance(process.error, ContractError), (
            f"expected a run to fail for a contract that is none, found {process.error!r}"
        )
        assert execution.tries.get("semantic", 0) <= 1, "a contract that is none was read again and again"

    def erase(self) -> None:
        """An erasure of one key, or of what came late: alone, beside something else, or killed."""
        draw, late = self.random.random(), self.random.random() < 0.25
        key = f"k{self.random.randrange(6)}"
        words: Words = ("erase", *(("--late",) if late else ("--key", key)), "--yes", *WHY)
        if not late:
            self.world.erased.add(key)
        if draw < 0.5:
            self.send()
            self.work([words, self.random.choice((("run",), self.draw()))])
        else:
            self.work([words], killed=draw > 0.75)
            self.send()
            self.work([self.draw()])

    def executions(self, *, beside: bool = False) -> None:
        """Let Step Functions work on what was started, and on what that starts."""
        while pending := self.world.stepfunctions.pending:
            words: list[Words] = [("execution", one.name) for one in pending]
            self.work(words + ([self.draw()] if beside else []))
            beside = False

    def work(
        self, commands: list[Words], *, killed: bool = False, aims: Mapping[int, Aim] | None = None
    ) -> None:
        """Run commands, each killed at some call by a chance of one in three, or for sure.

        ``aims``: what happens instead, and where.
        """
        if self.calm_step:
            aims = {index: aim for index, aim in (aims or {}).items() if aim.fault == WAITS}
        faults = {index: self.faults(words, killed=killed) for index, words in enumerate(commands)}
        faults = {} if aims else faults
        persons = [self.random.choice((PERSON, PERSON, COLLEAGUE)) for _ in commands]
        keeping = len(commands) == 1 and commands[0][0] in ("maintain", "upkeep")
        maintained = keeping and self.checkpoint_is_readable()
        lifting = any(words[0] == "resume" for words in commands)
        self.world.watch.on_hold = bool(self.persons.sure) and not lifting
        processes = self.world.beside(commands, persons=persons, faults=faults, aims=aims)
        for process, words in zip(processes, commands, strict=True):
            failed = process.killed or (process.error is not None and process.met)
            if failed and words[0] not in BY_THEMSELVES:
                self.killed.append((process.person, words))
            self.is_true(process, words)
        self.world.watch.on_hold = False
        self.persons.gave(list(zip(processes, commands, strict=True)))
        if len(commands) == 1 and processes[0].error is None:
            self.did_as_told(commands[0])
            assert not maintained or self.checkpoint_is_readable(), "maintenance forgot where Curated is"
        self.world.watch.after_a_step()
        self.world.watch.raise_faults()
        if self.killed and not killed and not aims and self.random.random() < 0.6:
            self.repeat(refused=self.random.random() < 0.2)

    def faults(self, words: Words, *, killed: bool) -> Mapping[int, str]:
        """What happens to calls of a process: nothing to most."""

        def somewhere() -> int:
            return self.random.randrange(1, 1 + _calls(words))

        draw = self.random.random()
        if (
            self.calms or self.calm_step or words[0] in ("lose-lease", "deliver", "go-back")
        ):  # of the world, not of the product
            return {}
        if self.storms and words[0] == "execution":
            return dict.fromkeys(range(self.random.randrange(1, 20), 400), "refused")
        if killed or draw < 0.3:
            return {somewhere(): self.random.choice(("killed", "killed after"))}
        if draw < 0.5:
            kinds: tuple[str, ...] = ("refused", "refused", "unseen", "unseen", "twice", "twice")
            kinds += ("crashed", "crashed after", "hung")
            kinds += ("late", "late", "silent", "jumped")
            return {somewhere(): self.random.choice(kinds) for _ in range(self.random.choice((1, 1, 2)))}
        if draw < 0.54:  # a service that refuses everything for a while
            begins = somewhere()
            return dict.fromkeys(range(begins, begins + 60), "refused")
        return {}

    def calm(self, *words: str) -> Process:
        """One process to which nothing happens, and which must do what it says."""
        process = self.world.command(*words)
        self.good(process)
        return process

    def repeat(self, *, refused: bool = False) -> None:
        """Run the last command that was killed again; ``refused``: when a service refuses a call, or all."""
        person, words = self.killed.pop()
        begins = self.random.randrange(3, 9)  # it is on record, and has the topic, or not yet
        lasts = self.random.choice((1, 1, 60))
        faults = dict.fromkeys(range(begins, begins + lasts), "refused") if refused else {}
        (process,) = self.world.beside([words], persons=[person], faults={0: faults})
        if process.killed:
            raise AssertionError("nobody kills a repetition")
        if process.error is not None and process.met:
            self.killed.append((person, words))
        self.persons.gave([(process, words)])
        if process.error is None:
            self.did_as_told(words)
        self.world.watch.after_a_step()
        self.world.watch.raise_faults()

    def did_as_told(self, words: Words) -> None:
        """A command that ended well, alone, has done what it says."""
        if words[0] == "rollback":
            assert self.world.snapshots(words[1])[0] == words[3], words
            then, now = (self.world.rows(words[1], of_then=when) for when in (True, False))
            assert then == [{name: row[name] for name in then[0]} for row in now], words
            # Of the other layer, which another engine may have set back, the next run brings it in order.
            self.checkpoint_is_not_ahead(MergedLayer(words[1]))
        elif words[0] == "run" and not self.changed_contract:
            # Behind one that was begun and goes on another time, there is something to read.
            *_, execution = self.world.stepfunctions.known.values()
            if execution.visited and execution.visited[-1] != "AnotherRunActive":
                before = [self.world.snapshots(layer) for layer in MergedLayer]
                self.calm("run")
                # One that passes by a compaction, behind which nothing is, has nothing to merge.
                after = [self.world.snapshots(layer) for layer in MergedLayer]
                assert self.world.idle or before == after, "a run alone has left something to read"
        elif words[:2] == ("checkpoints", "reset"):
            counts = checkpoints.read(self.world.target, TOPIC, MergedLayer(words[2])).counts
            assert counts is not None, words
            assert (counts.token, counts.rewound) == (NOTHING, True), words
        elif words[:2] == ("erase", "--key"):
            self.forgotten.add(words[2])
            # Where others hold letters meanwhile the certificate says that it is not over.
            kept = [key for key in self.world.objects if key.startswith("erasures/certificates/")]
            newest = json.loads(self.world.objects[max(kept, key=self.world.put_at.__getitem__)])
            self.erased_keys_stay_out(everywhere=(words[2],) if newest["complete"] else ())

    def is_true(self, process: Process, words: Words) -> None:
        """A command that failed gave a true reason: RAW never goes back, and Curated only by these."""
        if words[0] != "rebuild" or "the source was rolled back" not in str(process.error):
            return
        backwards = ("rollback curated", "go-back curated", "rebuild --layer curated", "contract", "erase")
        went_back = [p for p in self.world.processes.values() if p.what.startswith(backwards)]
        assert "semantic" in words and went_back, (
            f"{process.what} was given up, since its source had gone back, and it had not: {process.error}"
        )

    def checkpoint_is_not_ahead(self, layer: MergedLayer) -> None:
        """What is recorded of a layer speaks of a state that its table has, and has read no further."""
        recorded = checkpoints.read(self.world.target, TOPIC, layer).recorded
        history = list(lineage(self.world.catalog.load_table(self.world.target.settings.table(layer, TOPIC))))
        # An erasure's commit stands for those that it has made the table forget.
        known = {name for one in history for name in (str(one.snapshot_id), *stands_for(one))}
        known |= set(map(str, self.world.watch.forebears(history[-1]))) if history else set()
        known |= {NOTHING} if not history else set()
        assert recorded is None or recorded.target_snapshot_id in known, (
            f"the recorded checkpoint of {layer.value} speaks of a snapshot that was undone"
        )

    def erased_keys_stay_out(self, everywhere: Several[str] = ()) -> None:
        """No row of an erased key is in a layer that is read; nor, of ``everywhere``, anywhere right now."""
        for layer in ("curated", "semantic", "quarantine", "raw"):
            found = {row["idempotency_key"] for row in self.world.rows(layer)}
            back = found & (set(everywhere) if layer == "raw" else self.forgotten)
            assert not back, f"{layer} has rows of keys that were erased: {sorted(back)}"
        waiting = [message.body for message in self.world.queues.waiting[LETTERS].values()]
        for key in everywhere:
            named = [body for body in waiting if f'"idempotency_key": "{key}"' in body]
            assert not named, f"a letter of the erased key {key} waits to be replayed"

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
            "archive": lambda: ("archive",),
            "pause": lambda: ("pause", *WHY),
            "resume": lambda: ("resume", "--json", *self.random.choice(((), ("--everybody",)))),
            "maintain": lambda: ("maintain", "--snapshot-days", self.random.choice("05"), *WHY),
            "contract": self._contract,
            "publish": self.publishing,
            "give up": self._give_up,
        }
        weights = [4, 3, 1, 1, 2, 1, 1, 1, 2, 0.5, 1, 1, 1, 0.5, 1, 0.5]
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

    def publishing(self) -> Words:
        """A new major version as a command puts it in place, with the rows of before."""
        self.changed_contract = True
        text = self.world.next_contract()
        file = self.world.folder / f"contract-{zlib.crc32(text.encode())}.yaml"
        file.write_text(text)
        return ("contract", "publish", str(file), "--accept", "--json", *WHY)

    def back(self, layer: str, *, far: bool = False) -> Words:
        """A rollback to one of the last snapshots of a layer; ``far``: to one of the first that are kept."""
        known = self.world.snapshots(layer) or ["1"]
        return ("rollback", layer, "--to", self.random.choice(known[-2:] if far else known[:4]), *WHY)

    def _rollback(self, layer: str) -> Words:
        known = self.world.snapshots(layer) or ["1"]
        hold = self.random.choice(((), (), ("--hold",)))
        return ("rollback", layer, "--to", self.random.choice(known[:5]), *hold, *WHY)

    def _give_up(self) -> Words:
        """Lift the hold of an operation that was killed, or of none."""
        found = [hold.operation_id for hold in self.persons.place.holds() if hold.operation_id]
        return ("resume", "--operation", *(found or ["none"]), "--json")

    def put_in_order(self) -> None:
        """What an operator does in the end: repeat what was killed, lift what is held; the rest is time."""
        self.world.front.down, self.world.queues.unreliable = 0.0, False
        while self.killed:
            self.repeat()
        self.give_up()
        self.arrive()
        if self.world.queues.expired:
            self.calm("replay", "dlq", "--from-archive", "--days", "365", "--json")
            self.arrive()
        for _ in range(2):  # a letter may come back once
            self.world.clock += 1000  # what a killed replay had hidden is visible again
            if self.world.letters_wait:
                self.calm("replay", "dlq", "--json")
                self.arrive()
        if self.persons.place.holds():
            self.calm("resume", "--everybody", "--json")
        self.holds_are_gone()
        self.tables_catch_up()

    def give_up(self) -> None:
        """Lift the holds of what was left half-way and cannot be repeated: its snapshot is no more."""
        for place in places(self.world.target, TOPIC):
            for hold in place.holds():
                if hold.operation_id:
                    self.calm("resume", "--operation", hold.operation_id, "--json")

    def tables_catch_up(self) -> None:
        """What was begun is given up or done, then runs until nothing is left to read."""
        self.world.has_contract = True
        for layer in ("curated", "semantic"):
            if self.world.catalog.table_exists(self.world.target.settings.rebuild_table(layer, TOPIC)):
                self.calm("rebuild", "--layer", layer, "--discard", *WHY)
        if self.changed_contract:  # with another type, every run waits for the rebuild
            self.world.contract = ("99.0.0", "integer")
            self.world.command("run")  # where Curated went back, runs bring it forward first
            self.calm("rebuild", "--layer", "semantic", "--yes", *WHY)
        self.settle()
        self.erased_keys_stay_out()
        if self.world.erased:  # whatever became of the erasures: these keys are to be gone
            self.calm("erase", *(w for k in sorted(self.world.erased) for w in ("--key", k)), "--yes", *WHY)
            self.settle()

    def arrive(self) -> None:
        """Let time pass until the breaker is closed and everything that was sent is in RAW or a letter."""
        for _ in range(60):
            self.world.command("breaker-turn")
            self.world.take_queue()
            closed = self.world.front.mapping["State"] == "Enabled" and not self.world.front.ringing()[0]
            if closed and self._breaker() is Phase.CLOSED and not self.world.front.waiting:
                break
            self.world.clock += 5 * MINUTE
        else:
            raise AssertionError(
                f"expected the breaker closed and the queue empty after five hours of fine weather, found it "
                f"{self._breaker()} and {len(self.world.queues.waiting['source'])} messages"
            )
        if self.world.front.undelivered:
            self.calm("replay", "delivery", "--json")
            self.world.front.flush()

    def _breaker(self) -> Phase:
        store = RecordStore(self.world.dynamodb, self.world.target.checkpoints_table)  # type: ignore[arg-type]
        return store.load().breaker.phase

    def settle(self) -> None:
        """Let the dispatcher start runs until it starts none; another type waits for a rebuild."""
        worked = 0
        self.world.idle = False  # what came since the last run is not known
        for _ in range(12):
            self.world.clock += MINUTE  # what was written before is read by all
            self.good(self.world.command("dispatch"))
            pending = self.world.stepfunctions.pending
            for execution in pending:
                process = self.world.command("execution", execution.name)
                assert self.changed_contract or process.error is None, process.error
                # After so many portions the same run goes on in another execution.
                if "ContinueAsNewExecution" not in execution.visited:
                    worked += bool({"RunCurationJob", "RunSemanticJob"} & set(execution.visited))
            if not pending and self.world.idle:
                break
            self.world.clock += 5 * HOUR if not pending else MINUTE  # one that failed is tried again later
            if not pending:
                self.world.idle = True
        else:
            assert self.changed_contract, "every run finds something new"
        assert self.changed_contract or worked <= 1, "a run alone has left something to read"
        process = self.world.command("run")
        assert self.changed_contract or (process.error is None and self.world.idle), (
            "the dispatcher starts nothing, and there is something to read"
        )

    def good(self, process: Process) -> None:
        """A command that must do what it says."""
        assert process.error is None, (process.what, process.error)

    def holds_are_gone(self) -> None:
        """Nobody holds anything that nobody works on."""
        places = [
            Place(self.world.target, TOPIC, kind) for kind in ("lease", "rebuild-curated", "rebuild-semantic")
        ]
        assert [place.holds() for place in places] == [(), (), ()]


@dataclass(frozen=True)
class Cut:
    """A part of a history: the steps of it that are played, and those among them in which nothing breaks.

    ``kinds``: of these kinds of steps alone; none: of those that the seed draws.
    """

    steps: tuple[int, ...]
    calm: frozenset[int] = frozenset()
    kinds: tuple[str, ...] = ()


def whole(seed: int) -> Cut:
    """All of the history of a seed."""
    return Cut(tuple(range(Random(f"steps of {seed}").randrange(1, 5))))


def play(folder: Path, seed: int, cut: Cut | None = None) -> World:
    """Play the history of a seed, or a part of it; an error carries it in words.

    Every step draws from a seed of its own: without others before it, it is drawn the same.
    """
    cut = cut or whole(seed)
    with simulated(folder, seed, drawn=True) as world:
        sequence = Sequence(world)
        sequence.kinds = list(cut.kinds) or sequence.kinds
        try:
            world.send(9)
            world.command("run")
            for number in cut.steps:
                world.begin_step(number)
                sequence.calm_step = number in cut.calm
                sequence.step()
            world.begin_step(-1)
            sequence.put_in_order()
            resting.check(world)
        except BaseException as error:
            error.add_note(f"seed {seed}:\n" + "\n".join(world.history))
            raise
        return world


def _calls(words: Words) -> int:
    return next(n for given, n in CALLS.items() if given[0] == words[0] and set(given) <= set(words))
