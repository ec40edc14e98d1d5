"""Situations: kinds of steps that make one thing dense, where a drawn history comes by it once in a hundred.

Each takes the sequence whose step it is. They are drawn seldom in common histories (``SITUATIONS`` has how
often), and alone where a planted fault names them (``MEETS``).

ambush          somebody works from end to end right before a call of another that changes something
claims          one has looked at the lease, another comes, and both go on
fresh           a run has just begun and has the topic, and others come that may not see it yet
unawaited       a run is about to commit, and others come that want its topic, or set its table back
swept           a run or a rebuild has written files that no snapshot has yet, and upkeep looks for orphans
taken_up        a repetition of work that was left half done is refused, once it has taken the work up
tidied          an operation is killed when its last change is done and it has not tidied up, and repeated
again           a commit is lost, or nobody says what became of it, and its work is planned again
beside          a rebuild is filled and waits to be agreed to, while everything else goes on
overtaken       a run writes down how far it is when another is further
struck          an operation is killed, refused or unanswered at a call that changes something, and repeated
letters         dead letters and failed deliveries, archived and replayed, by passes of which some are killed
versions        one key, few moments: corrections, ties, deletes, broken ones, copies that come late
forgotten       keys that are erased, and what arrives of them afterwards from everywhere
held            two persons hold, lift and work in turn
failing         runs that fail to the end, or meet one refusal, and nothing new that would wake the topic
contracts       what is none, another type, and tables that go back to before it
behind          a week in which nobody reads, and upkeep that forgets what is old
gone_back       another engine has set a table back, past all commands
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from .front import Event, body_of
from .queues import LETTERS
from .services import TOPIC
from .world import WAITS, Aim

if TYPE_CHECKING:
    from .sequences import Sequence, Words

WHY: Final = ("--reason", "a simulation", "--json")
HOUR, DAY = 3600.0, 86_400.0
_DELETES: Final = {"json_payload": None, "operation": "delete"}
_BREAKS: Final = {"json_payload": '{"reading": "broken"}', "operation": None}
_TABLES: Final = ("catalog commit", "catalog commit", "dynamodb update")
# Calls by which a command or function changes something, by how their names begin.
CHANGES: Final[Mapping[str, tuple[str, ...]]] = {
    "archive": ("put ",),
    "checkpoints": ("dynamodb update",),
    "erase": ("catalog commit", "dynamodb update", "put ", "delete objects", "remove from"),
    "maintain": (*_TABLES, "delete objects"),
    "rebuild": (*_TABLES, "catalog drop", "dynamodb update"),
    "delivery": ("put records", "put records", "delete objects"),
    "dlq": ("send to", "remove from"),
    "rollback": _TABLES,
    "run": _TABLES,
    "upkeep": _TABLES,
}


def ambush(steps: "Sequence") -> None:
    """One waits before a call that changes something until all beside it have ended."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    rebuild: Words = ("rebuild", "--layer", layer, "--yes", *WHY)
    _grow(steps, draw.choice((0, 1, 2, 3)))
    if draw.random() < 0.4:
        steps.pass_time(6 * DAY)
    if draw.random() < 0.2:  # half of a rebuild is there already
        steps.work([("rebuild", "--layer", layer, *WHY)])
    steps.send()
    run: Words = ("run",)
    maintain: Words = ("maintain", "--snapshot-days", "0", *WHY)
    another_engine: Words = ("go-back", layer)  # which knows nothing of anybody's lease
    # Who waits, and who comes between; an operation that needs the topic for itself waits for a run in vain.
    meetings: list[tuple[Words, list[list[Words]]]] = [
        (
            run,
            [
                [("upkeep",)],
                [maintain],
                [rebuild],
                [("lose-lease",), run],
                [run, run],
                [("deliver",), ("upkeep",)],
                [("pause", *WHY)],
                [another_engine],
            ],
        ),
        (("upkeep",), [[run], [rebuild], [steps.back(layer)], [another_engine]]),
        (maintain, [[run], [steps.back(layer, far=True)], [steps.back(layer, far=True)], [another_engine]]),
        (steps.back(layer), [[("upkeep",)], [rebuild], [rebuild], [another_engine]]),
        (rebuild, [[run], [rebuild], [("upkeep",)], [steps.back(layer)], [another_engine]]),
    ]
    who, others = draw.choice(meetings)
    beside = draw.choice(others)
    to_layer = f"catalog commit to {_live(steps, layer)}"
    call = draw.choice(("catalog commit", to_layer, to_layer, to_layer, "dynamodb update"))
    number = 1 if who[0] == "rollback" else draw.choice((1, 1, 1, 2, 2, 3))
    aims = {0: Aim(call, WAITS, number)}
    if beside[0] == run:  # of two that wait for each other, chance decides
        aims[1] = Aim("catalog commit", WAITS)
    steps.world.produce(3)
    steps.world.front.poll()
    steps.work([who, *beside], aims=aims)
    steps.executions()


def claims(steps: "Sequence") -> None:
    """One is about to claim the topic, having seen it free, when another has come so far as to change it."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _come(steps, draw.choice((0, 1, 2)))
    others: tuple[Words, ...] = (
        ("run",),
        ("run",),
        steps.back(layer),
        steps.back(layer),
        ("checkpoints", "reset", layer, *WHY),
    )
    other = draw.choice(others)
    # Of an operation: when it has the topic to itself, or on its way there.
    first = {"run": Aim("catalog commit", WAITS), "rollback": Aim("catalog commit", WAITS)}
    second = first.get(other[0]) or Aim("dynamodb update", WAITS, draw.choice((2, 3, 4)))
    aims = {0: Aim("dynamodb update", WAITS), 1: second}
    steps.work([("run",), other], aims=aims)
    steps.executions()


def fresh(steps: "Sequence") -> None:
    """A run has had the topic for a moment: Step Functions may say to who asks that there is no such run."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _come(steps, draw.choice((0, 1)))
    others: tuple[Words, ...] = (
        ("run",),
        steps.back(layer),
        ("rebuild", "--layer", layer, "--yes", *WHY),
        ("checkpoints", "reset", layer, *WHY),
    )
    aims = {0: Aim("catalog load table", WAITS, draw.choice((1, 2, 3)))}
    steps.work([("run",), draw.choice(others)], aims=aims)
    steps.executions()


def unawaited(steps: "Sequence") -> None:
    """A run is about to commit: others wait for it or find it busy, but for another engine."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _come(steps, draw.choice((1, 2)))
    others: tuple[Words, ...] = (
        ("run",),
        steps.back(layer),
        ("rebuild", "--layer", layer, "--yes", *WHY),
        ("go-back", layer),
    )
    other = draw.choice(others)
    call = f"catalog commit to {_live(steps, layer)}"
    aims = {0: Aim(call, WAITS)}
    if other[0] != "go-back":  # of two that wait for each other, chance decides
        aims[1] = Aim(call, WAITS)
    steps.work([("run",), other], aims=aims)
    steps.executions()


def swept(steps: "Sequence") -> None:
    """Upkeep goes from end to end right before a commit, whose files nothing refers to yet."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _grow(steps, draw.choice((0, 1)))
    steps.calm("upkeep")  # else its compaction is first, and what waits is planned and written anew
    steps.world.produce(3)
    steps.world.take_queue()
    who: Words = draw.choice((("run",), ("rebuild", "--layer", layer, "--yes", *WHY)))
    sweeps: Words = draw.choice((("upkeep",), ("upkeep",), ("maintain", "--snapshot-days", "0", *WHY)))
    steps.work([who, sweeps], aims={0: Aim(f"catalog commit to {_live(steps, layer)}", WAITS)})
    steps.executions()


def taken_up(steps: "Sequence") -> None:
    """An operation is killed when it has begun to change something, and what repeats it is refused."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _grow(steps, 2)
    words = draw.choice((steps.back(layer), steps.back(layer), ("rebuild", "--layer", layer, "--yes", *WHY)))
    call = f"catalog commit to {_live(steps, layer)}"
    steps.work([words], aims={0: Aim(call, draw.choice(("killed", "killed after")))})
    for _ in range(3):
        if steps.killed:
            steps.repeat(refused=True)


def tidied(steps: "Sequence") -> None:
    """The live table has what a rebuild gave it; what is left is to take away the table beside."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    steps.send()
    rebuild: Words = ("rebuild", "--layer", layer, "--yes", *WHY)
    call = draw.choice(
        ("catalog drop", "catalog drop", "dynamodb update", f"catalog commit to {_live(steps, layer)}")
    )
    fault = draw.choice(("killed", "killed after", "unseen", "refused", "late"))
    steps.work([rebuild], aims={0: Aim(call, fault, 3 if call == "dynamodb update" else 1)})
    if draw.random() < 0.6:  # it is behind by then
        steps.send()
        if draw.random() < 0.5:
            steps.calm("run")
    if steps.killed:
        steps.repeat()
    steps.send()
    steps.work([("run",)])


def again(steps: "Sequence") -> None:
    """A commit that brings new columns is refused, unanswered, done late, or comes second to another."""
    draw, world, layer = steps.random, steps.world, steps.random.choice(("curated", "curated", "semantic"))
    steps.send()
    leaf, world.leaves = f"leaf{world.leaves}", world.leaves + 1
    payloads = [json.dumps({"reading": number, leaf: "x"}) for number in range(4)]
    keys = [f"k{draw.randrange(6)}" for _ in payloads]
    made = [
        world.event(idempotency_key=key, operation=None, json_payload=payload)
        for key, payload in zip(keys, payloads, strict=True)
    ]
    world.front.produce([body_of(event) for event in made])
    world.take_queue()
    world.history.append(f"events with {leaf}")
    who: Words = draw.choice((("run",), ("run",), ("rebuild", "--layer", layer, "--yes", *WHY)))
    call = f"catalog commit to {_live(steps, layer)}"
    if draw.random() < 0.25:
        others: tuple[Words, ...] = (("upkeep",), ("maintain", "--snapshot-days", "0", *WHY))
        steps.work([who, draw.choice(others)], aims={0: Aim(call, WAITS)})
    else:
        fault = draw.choice(("refused", "unseen", "late", "late", "late", "silent"))
        steps.work([who], aims={0: Aim(call, fault)})
    if steps.killed:
        steps.repeat()
    if draw.random() < 0.5:
        steps.send()


def beside(steps: "Sequence") -> None:
    """A rebuild that nobody has agreed to yet lies beside its table, and the table goes on."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _grow(steps, draw.choice((0, 1)))
    steps.calms = True
    steps.work([("rebuild", "--layer", layer, *WHY)])
    steps.calms = False
    for _ in range(draw.choice((1, 2))):
        steps.pass_time(draw.choice((0.0, HOUR, DAY)))
        steps.send()
        meanwhile: tuple[Words, ...] = (
            ("upkeep",),
            ("maintain", "--snapshot-days", "0", *WHY),
            ("run",),
            steps.back(layer),
        )
        steps.work([draw.choice(meanwhile)])
    swap: Words = ("rebuild", "--layer", layer, "--yes", *WHY)
    if draw.random() < 0.4:  # it is about to be swapped in, and is overtaken
        steps.send()
        aims = {0: Aim(f"catalog commit to {_live(steps, layer)}", WAITS)}
        steps.work([swap, ("deliver",), ("run",)], aims=aims)
    elif draw.random() < 0.7:
        steps.work([swap])
    steps.send()
    steps.work([("run",)])


def overtaken(steps: "Sequence") -> None:
    """A run that has lost its lease is about to commit, or to write down how far it is, after another."""
    steps.send()
    steps.world.produce(4)
    steps.world.front.poll()
    number = steps.random.choice((2, 2, 3, 3, 4))
    aims = {0: Aim("dynamodb update", WAITS, number)}
    if steps.random.random() < 0.5:
        aims = {0: Aim("catalog commit", WAITS, steps.random.choice((1, 1, 2)))}
    steps.work([("run",), ("deliver",), ("lose-lease",), ("run",)], aims=aims)
    steps.executions()


def struck(steps: "Sequence") -> None:
    """An operation meets its fault at a call that changes something; others come, then its repetition."""
    draw, layer = steps.random, steps.random.choice(("curated", "semantic"))
    _grow(steps, 1 + draw.randrange(2))
    kinds: tuple[Words, ...] = (
        steps.back(layer),
        steps.back(layer),
        ("rebuild", "--layer", layer, "--yes", *WHY),
        ("rebuild", "--layer", layer, "--yes", *WHY),
        ("checkpoints", "reset", layer, *WHY),
        ("run",),
        ("run",),
        ("upkeep",),
        ("maintain", "--snapshot-days", "0", *WHY),
    )
    words = draw.choice(kinds)
    steps.send()
    strike(steps, words)
    if steps.killed and draw.random() < 0.4:
        steps.repeat(refused=True)
    if draw.random() < 0.5:
        steps.work([draw.choice((("run",), ("resume", "--json"), ("upkeep",), steps.back(layer)))])
    if steps.killed:
        steps.repeat()
    steps.send()


def strike(steps: "Sequence", words: "Words") -> None:
    """Let one of them meet a fault at one of its first calls that change something."""
    draw = steps.random
    kinds: tuple[str, ...] = (
        "killed",
        "killed",
        "killed after",
        "killed after",
        "unseen",
        "late",
        "late",
        "refused",
    )
    kinds += ("crashed", "crashed after") if words[0] in ("run", "execution", "upkeep") else ()
    call = draw.choice(CHANGES[words[1] if words[0] == "replay" else words[0]])
    first = 3 if call == "dynamodb update" and words[0] != "run" else 1  # it has the topic to itself by then
    later = draw.choice((0, 0, 0, 1, 1, 2)) if words[0] != "replay" else 0
    aim = Aim(call, draw.choice(kinds), first + later)
    steps.work([words], aims={0: aim})


def letters(steps: "Sequence") -> None:
    """Letters of several days and deliveries that failed: archived, replayed, some of it struck."""
    draw, world = steps.random, steps.world
    for _ in range(draw.choice((1, 2, 3))):
        for _ in range(draw.randrange(3)):
            world.letters.append(world.event())
            world.queues.put(LETTERS, body_of(world.letters[-1]))
            if draw.random() < 0.2:
                world.queues.returning.add(body_of(world.letters[-1]))
        if draw.random() < 0.5:
            world.produce(draw.randrange(1, 4))
            world.front.poll()
            world.front.flush(fails=True)
        steps.pass_time(draw.choice((HOUR, DAY, DAY, 6 * DAY)))
        strike(steps, ("archive",))
    if draw.random() < 0.4:
        steps.calm("archive")
        steps.pass_time(14 * DAY)
    for _ in range(draw.choice((1, 2))):
        strike(
            steps,
            draw.choice(
                (
                    ("replay", "dlq", "--json"),
                    ("replay", "dlq", "--json"),
                    ("replay", "delivery", "--json"),
                    ("replay", "dlq", "--from-archive", "--json"),
                )
            ),
        )
    world.take_queue()


def versions(steps: "Sequence") -> None:
    """Of one key, in one or two moments: what is corrected, deleted, broken, tied, copied late."""
    draw, world = steps.random, steps.world
    key = f"k{draw.randrange(6)}"
    first = world.event(idempotency_key=key)
    moments = [first["publish_time"], first["publish_time"].replace(minute=first["publish_time"].minute // 2)]
    made: list[Event] = []
    for _ in range(draw.choice((1, 2, 3))):
        for _ in range(draw.randrange(1, 4)):
            like = draw.choice(({}, _DELETES, _BREAKS))
            made.append(world.event(idempotency_key=key, publish_time=draw.choice(moments), **like))
            world.front.produce([body_of(made[-1])])
            world.clock += draw.choice((1.0, 60.0))
        world.front.poll()
        # Held up on its way: what comes of it later was taken earlier than what overtakes it.
        world.front.flush(fails=draw.random() < 0.35)
        if draw.random() < 0.5:
            world.front.produce([body_of(draw.choice(made))])
            world.clock += 60
            world.front.poll()
        world.front.flush(twice=draw.random() < 0.2)
        world.history.append(f"versions of {key}")
        steps.work([("run",)])
        if world.front.undelivered and draw.random() < 0.7 and not world.front.refuses:
            steps.calm("replay", "delivery", "--json")
            world.front.flush()
            steps.work([("run",)])


def forgotten(steps: "Sequence") -> None:
    """Keys are erased while letters, deliveries and copies of them are under way."""
    draw, world = steps.random, steps.world
    key = f"k{draw.randrange(6)}"
    steps.send()
    for _ in range(draw.choice((1, 2))):
        world.letters.append(world.event(idempotency_key=key))
        world.queues.put(LETTERS, body_of(world.letters[-1]))
    if draw.random() < 0.4:
        world.front.produce([body_of(world.event(idempotency_key=key))])
        world.front.poll()
        world.front.flush(fails=True)
    if draw.random() < 0.4:
        steps.calm("archive")
    world.clock += HOUR  # functions that a run has left behind are over
    steps.give_up()
    world.erased.add(key)
    words: Words = ("erase", "--key", key, "--yes", *WHY)
    if draw.random() < 0.4:
        strike(steps, words)
        while steps.killed:
            steps.repeat()
    else:
        steps.calm(*words)
        steps.did_as_told(words)
    world.front.produce([body_of(world.event(idempotency_key=key)) for _ in range(2)])
    world.history.append(f"late events of {key}")
    world.take_queue()
    after: tuple[Words, ...] = (
        ("run",),
        ("replay", "dlq", "--json"),
        ("rebuild", "--layer", draw.choice(("curated", "semantic")), "--yes", *WHY),
    )
    steps.work([draw.choice(after)])
    world.take_queue()


def held(steps: "Sequence") -> None:
    """Two persons: holds, operations that are killed, and who lifts what."""
    draw = steps.random
    steps.send()
    for _ in range(draw.choice((3, 4, 5))):
        layer = draw.choice(("curated", "semantic"))
        rollback = steps.back(layer)
        words: Words = draw.choice(
            (
                ("pause", *WHY),
                ("pause", *WHY),
                ("resume", "--json"),
                ("resume", "--json"),
                (*rollback, "--hold"),
                rollback,
                ("run",),
                ("checkpoints", "reset", layer, *WHY),
            )
        )
        if words[0] in ("rollback", "checkpoints") and draw.random() < 0.5:
            strike(steps, words)
            if steps.killed and draw.random() < 0.5:
                steps.repeat(refused=True)
            steps.calms = True
            steps.work([draw.choice((("resume", "--json"), ("resume", "--everybody", "--json"), ("run",)))])
            steps.calms = False
        else:
            steps.calms = True
            steps.work([words])
            steps.calms = False


def failing(steps: "Sequence") -> None:
    """A topic's last run fails, or meets one refusal; nothing comes that would wake the topic."""
    draw, world = steps.random, steps.world
    steps.arrive()
    if world.letters_wait:  # they would wake it in the end
        steps.calm("replay", "dlq", "--json")
    world.front.produce([body_of(world.event()) for _ in range(3)])
    world.take_queue()
    steps.calm("dispatch")
    if draw.random() < 0.6:
        steps.storms = True
        steps.executions()
        steps.storms = False
        steps.calm("dispatch")
        steps.executions()
        return
    for execution in world.stepfunctions.pending:
        faults = {draw.randrange(1, 60): "refused" for _ in range(draw.choice((1, 2)))}
        (process,) = world.beside([("execution", execution.name)], faults={0: faults})
        assert process.error is None, f"a run failed for a call that was refused once: {process.error!r}"


def contracts(steps: "Sequence") -> None:
    """What is no contract; another type; and Semantic as it was before it."""
    draw = steps.random
    if draw.random() < 0.4:
        steps.break_contract()
        return
    _grow(steps, 1)
    steps.work([steps.publishing()])
    steps.send()
    steps.work([("run",)])
    steps.calms = True
    steps.work([("rollback", "semantic", "--to", (steps.world.snapshots("semantic") or ["1"])[-1], *WHY)])
    steps.calms = False


def behind(steps: "Sequence") -> None:
    """Curated has not read for a week; upkeep forgets what is old, but for what is read on from."""
    draw = steps.random
    _grow(steps, draw.choice((1, 2)))
    steps.send()
    steps.pass_time(6 * DAY)
    for _ in range(draw.choice((1, 2, 3))):
        steps.send()
    steps.work([draw.choice((("upkeep",), ("maintain", "--snapshot-days", "0", *WHY)))])
    steps.send()
    if draw.random() < 0.5:
        layer = draw.choice(("curated", "curated", "semantic"))
        back: Words = ("rollback", layer, "--to", (steps.world.snapshots(layer) or ["1"])[-1], *WHY)
        steps.work([back])
        steps.send()


def gone_back(steps: "Sequence") -> None:
    """Another engine sets a merged table back; its own checkpoint goes with it, the recorded one does not."""
    _grow(steps, 2)
    steps.calm("go-back", steps.random.choice(("curated", "semantic")))
    steps.work([("run",)])


def _live(steps: "Sequence", layer: str) -> str:
    """Name of a layer's table, as calls name it."""
    return steps.world.target.settings.table(layer, TOPIC).rpartition(".")[2]


def _come(steps: "Sequence", runs: int) -> None:
    """Give the tables some more snapshots, and let there be something new for a run."""
    _grow(steps, runs)
    steps.send()
    steps.world.produce(3)
    steps.world.take_queue()


def _grow(steps: "Sequence", runs: int) -> None:
    """Give the tables some more snapshots."""
    for _ in range(runs):
        steps.send()
        steps.calm("run", "--force")


# Every situation, and how often it is drawn among the other kinds of steps.
SITUATIONS: Final[Mapping[str, tuple[Callable[["Sequence"], None], int]]] = {
    "ambush": (ambush, 8),
    "claims": (claims, 4),
    "fresh": (fresh, 3),
    "unawaited": (unawaited, 3),
    "swept": (swept, 3),
    "taken_up": (taken_up, 2),
    "tidied": (tidied, 3),
    "again": (again, 4),
    "beside": (beside, 3),
    "overtaken": (overtaken, 3),
    "struck": (struck, 8),
    "letters": (letters, 6),
    "versions": (versions, 8),
    "forgotten": (forgotten, 2),
    "held": (held, 4),
    "failing": (failing, 4),
    "contracts": (contracts, 2),
    "behind": (behind, 4),
    "gone_back": (gone_back, 2),
}
