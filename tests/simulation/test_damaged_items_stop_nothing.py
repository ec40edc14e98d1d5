"""Whatever attribute of a stored item is damaged: it is named, nothing stands still, it is made whole."""

import contextlib
import io
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.intake.breaker import turn
from common.intake.breaker.mapping import SourceMapping
from common.intake.breaker.record import ITEM, RecordStore
from common.intake.breaker.rules import Action, Order, Phase, Tick
from common.runtime.errors import LeanOpsError
from lean_ops.environment import audit
from lean_ops.operate import breaker, checkpoints, leases
from lean_ops.operate.checkpoints import MergedLayer
from lean_ops.operate.doctor import intake, lake
from lean_ops.operate.doctor.findings import Finding
from lean_ops.operate.holds import UNREADABLE, Hold, Place, _written
from lean_ops.operate.workers import Worker
from snowflake_latency import handler as latency

from ..support.generated import cases
from .clock import START
from .services import TOPIC
from .world import Process, World, client, simulated

WHY = ("--reason", "INC-1")
COLLEAGUE = "arn:aws:iam::000000000000:user/colleague"
Item = dict[str, Any]
# What an attribute may have become, or a part of one; None: it is gone.
DAMAGES: list[Item | None] = [
    None, {"NULL": True}, {"S": ""}, {"S": "x"}, {"S": '{"machine": "a'}, {"S": "[1]"}, {"S": "[" * 100_000},
    {"S": "9999-12-31T23:59:59Z"}, {"S": "arn:aws:states:eu-west-1:1:execution:of-another:x"}, {"N": "-1"},
    {"N": "1E+40"}, {"BOOL": True}, {"B": b"\xff"}, {"L": []}, {"M": {}}, {"SS": ["x"]},
]  # fmt: skip


def mapping() -> Any:
    """One event source mapping that is taking messages."""
    state = {"UUID": "m", "State": "Enabled", "BatchSize": 1_000}
    return SimpleNamespace(
        list_event_source_mappings=lambda **_: {"EventSourceMappings": [state]},
        update_event_source_mapping=lambda **wanted: state.update(
            State="Enabled" if wanted["Enabled"] else "Disabled"
        ),
        invoke=client("lambda").invoke,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One with an item of every kind; a run, a person's hold, a killed operation and its own hold."""
    with simulated(tmp_path / "lake", seed=1) as world:
        world.send(6)
        done(world.command("run"))
        done(world.command("pause", *WHY))
        killed = Process(900, "rollback")
        killed.ended = True
        world.processes[900] = killed
        for kind in ("lease", "rebuild-curated"):
            hold = Hold(COLLEAGUE, "2026-01-01T00:00:00+00:00", "INC-9", "theirs", "w", Worker("x", 900, 0))
            update(world, f"{TOPIC}#{kind}", "ADD on_hold :h SET #a = :v", {"SS": ["operation"]}, hold)
        yield world


def update(world: World, key: str, expression: str, holder: Item, hold: Hold) -> None:
    world.target.client("dynamodb").update_item(
        TableName=world.target.checkpoints_table,
        Key={"checkpoint_id": {"S": key}},
        UpdateExpression=expression,
        ExpressionAttributeNames={"#a": "hold operation"},
        ExpressionAttributeValues={":h": holder, ":v": _written(hold)},
    )


def done(process: Process) -> None:
    assert process.error is None, process


def said(world: World, *words: str) -> str:
    """What a command wrote, with the sentence that it ended in if it could not do its work."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        process = world.command(*words)  # raises whatever is no sentence
    return f"{out.getvalue()} {process.error or ''}"


def items(world: World) -> dict[tuple[str, str], Item]:
    tables = {world.target.checkpoints_table: "checkpoint_id", world.target.audit_table: "operation_id"}
    dynamodb = world.target.client("dynamodb")
    return {
        (table, item[key]["S"]): item
        for table, key in tables.items()
        for item in dynamodb.scan(TableName=table)["Items"]
    }


def put(world: World, where: tuple[str, str], item: Item) -> None:
    world.target.client("dynamodb").put_item(TableName=where[0], Item=item)


def places(item: Item) -> list[tuple[str, ...]]:
    """Attributes, and attributes within them."""
    inner: list[tuple[str, ...]] = [
        (name, part) for name, value in item.items() for part in value.get("M", ())
    ]
    outer = [(name,) for name in item if name not in ("checkpoint_id", "operation_id")]
    return [*outer, *inner]


def damaged(item: Item, place: tuple[str, ...], damage: Item | None) -> Item:
    name, *inner = place
    if inner:
        return {**item, name: {"M": damaged(item[name]["M"], (inner[0],), damage)}}
    return {key: value for key, value in item.items() if key != name} | (
        {} if damage is None else {name: damage}
    )


def findings(world: World) -> list[Finding]:
    return [f for check in (lake.progress, lake.holds, lake.operations) for f in check(world.target)]


def test_any_attribute_of_any_item_may_be_damaged(world: World) -> None:
    """Every reader ends in a sentence; after it, all holds can be lifted and a run ends as it should."""
    draw = random.Random(2026)
    whole = items(world)
    known = [
        (where, place, damage) for where in whole for place in places(whole[where]) for damage in DAMAGES
    ]
    for where, place, damage in draw.sample(known, min(cases(6), len(known))):
        (table, key), history = where, f"{where} {place} {damage!r:.60}"
        for other, item in whole.items():
            put(world, other, item)
        put(world, where, damaged(whole[where], place, damage))
        try:
            assert all(f.found and f.advice for f in findings(world))
            said(world, "checkpoints", "show")
            said(world, "audit")
            said(world, "pause", *WHY)
            said(world, "run")
            lift(world)
            done(world.command("checkpoints", "reset", "curated", *WHY))
            done(world.command("run"))
            assert checkpoints.read(world.target, TOPIC, MergedLayer.CURATED).snapshots_behind == 0
            left = [f for f in findings(world) if "damaged" in f.found or key in f.subject]
            assert not left or table == world.target.audit_table, left
        except BaseException as error:
            error.add_note(history)
            raise


def lift(world: World) -> None:
    """What a person does who wants the topic free."""
    for _ in range(3):
        for hold in Place(world.target, TOPIC).holds():
            if hold.operation_id:
                said(world, "resume", "--operation", hold.operation_id)
        said(world, "resume", "--everybody")
    assert not Place(world.target, TOPIC).holds()


def test_a_damaged_hold_is_named_with_its_way_out(world: World) -> None:
    where = (world.target.checkpoints_table, f"{TOPIC}#lease")
    whole = items(world)[where]
    for name in ("by", "since", "reason", "operation_id", "work", "worker", "beat"):
        put(world, where, damaged(whole, ("hold operation", name), {"L": []}))
        (found,) = [f for f in lake.holds(world.target) if f.subject == f"topic {TOPIC}"]
        assert f"its record is damaged: {name}" in found.found
        given = UNREADABLE if name == "operation_id" else "theirs"
        assert f"--operation {given}" in found.advice
        back = ("rollback", "curated", "--to", world.snapshots("curated")[-1], *WHY)
        assert "found it on hold" in said(world, *back)
        done(world.command("resume", "--operation", given))


def test_a_damaged_checkpoint_is_named_and_the_table_counts(world: World) -> None:
    lift(world)
    done(world.command("checkpoints", "reset", "curated", *WHY))
    where = (world.target.checkpoints_table, f"{TOPIC}#curated")
    whole = items(world)[where]
    for name in ("source_token", "source_position", "target_snapshot_id", "rewound"):
        put(world, where, damaged(whole, (name,), {"S": "zzz"}))
        (found,) = [f for f in lake.progress(world.target) if "damaged" in f.found]
        assert f"item {TOPIC}#curated of {where[0]}" in found.found
        assert f"found damaged {name}" in found.found
        assert f"found damaged {name}" in " ".join(said(world, "checkpoints", "show").split())
        world.send(6)
        done(world.command("run"))
        assert not [f for f in lake.progress(world.target) if "damaged" in f.found]
    assert {row["idempotency_key"] for row in world.rows("curated")} == set(world.expected())


def test_a_lease_without_a_readable_holder_still_keeps_operations_from_a_run(world: World) -> None:
    lift(world)
    where = next(where for where in items(world) if where[1] == f"{TOPIC}#lease")
    put(world, where, damaged(items(world)[where], ("execution_arn",), {"S": "cut"}))
    running = f"{world.target.state_machine_arn}:r".replace("stateMachine", "execution")
    world.executions[running] = "RUNNING"
    assert running in said(world, "rollback", "curated", "--to", world.snapshots("curated")[-1], *WHY)
    assert "expected execution_arn" in leases.read(world.target, TOPIC).damage
    world.executions[running] = "SUCCEEDED"
    done(world.command("run"))
    assert not list(lake.holds(world.target))


@pytest.mark.parametrize("action", [Action.OPEN, Action.CLOSE])
def test_a_damaged_breaker_goes_on_and_switches_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    functions, where = mapping(), (world.target.checkpoints_table, ITEM)
    store = RecordStore(world.target.client("dynamodb"), where[0])
    mapped = SourceMapping(functions, "f")
    turn.take(store, mapped, lambda _breaker: Order(action, "why", "ada"), START)
    phase, state = store.load().breaker.phase, mapped.look().state
    whole = items(world)[where]
    monkeypatch.setattr(
        type(world.target), "client", lambda _t, of: functions if of == "lambda" else client(of)
    )
    tried = 0
    for name in ("phase", "since", "openings", "held", "reason", "version", "enforced"):
        for damage in DAMAGES:
            put(world, where, damaged(whole, (name,), damage))
            shown = breaker.status(world.target).damage
            if not shown:
                continue  # a value that could be the breaker's own
            tried += 1
            (found,) = intake.breaker(world.target)
            assert f"found damaged {name};" in found.found == shown
            taken = turn.take(store, mapped, lambda _breaker: Tick(), START)
            assert taken.damaged == {name}
            assert not store.load().damaged
            assert (taken.after.phase, mapped.look().state) == (phase, state)
            assert taken.after.held == (name != "held")
            # Nobody has to come for an open one whose hold was lost.
            assert (taken.after.ends_at is not None) == (name == "held" and phase is Phase.OPEN)
    assert tried > 7 * 8


def test_where_the_history_was_read_to_may_be_damaged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_client", client)
    settings = SimpleNamespace(checkpoints_table=world.target.checkpoints_table)
    monkeypatch.setattr(latency, "_settings", lambda: settings)
    latency._remember(START)
    where = (world.target.checkpoints_table, latency.ITEM)
    whole = items(world)[where]
    for damage in DAMAGES:
        put(world, where, damaged(whole, ("read_until",), damage))
        assert latency._read_until(START).tzinfo is not None


def test_a_record_of_the_audit_trail_hides_no_other(world: World) -> None:
    where = next(where for where in items(world) if where[0] == world.target.audit_table)
    whole = items(world)[where]
    for place in places(whole):
        for damage in DAMAGES:
            put(world, where, damaged(whole, place, damage))
            entries = audit.entries(world.target)
            assert [entry for entry in entries if entry.operation_id == where[1]]
            with contextlib.suppress(LeanOpsError):
                audit.find(world.target, where[1]).as_json()
        said(world, "audit")
