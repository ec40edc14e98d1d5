"""A topic is on hold while anybody holds it, and each hold is lifted by its owner or by a repetition."""

import json
from typing import Any

import pytest

from common.layers.lease import acquire
from common.runtime.errors import InvalidInput
from lean_ops.environment import audit
from lean_ops.operate import leases
from lean_ops.operate.holds import SILENCE_S, Hold, HoldLost, Place, places
from lean_ops.operate.workers import Worker

from .services import TOPIC
from .world import PERSON, Process, World

WHY = ("--reason", "INC-1")
COLLEAGUE = "arn:aws:iam::000000000000:user/colleague"


def place(world: World) -> Place:
    return Place(world.target, TOPIC)


def owners(world: World) -> list[str]:
    return [hold.holder for hold in place(world).holds()]


def refusal(process: Process) -> str:
    assert isinstance(process.error, InvalidInput), process
    return str(process.error)


def ok(process: Process) -> None:
    assert process.error is None, process.error


def rollback(world: World, *options: str, back: int = 1) -> tuple[str, ...]:
    return ("rollback", "curated", "--to", world.snapshots("curated")[back], *options, *WHY)


def may_run(world: World) -> bool:
    world.executions["someone"] = "RUNNING"
    found = acquire(
        world.target.client("dynamodb"),
        world.target.client("stepfunctions"),
        table=world.target.checkpoints_table,
        topic=TOPIC,
        execution_arn="someone",
        continued_from="",
    )
    world.executions["someone"] = "SUCCEEDED"
    return found


def at_work_elsewhere(world: World, work: str) -> Process:
    """An operation of another machine that holds the topic."""
    process = Process(900, work)
    world.processes[process.number] = process
    hold = Hold(COLLEAGUE, "2026-01-01T00:00:00+00:00", "INC-9", "their-operation", work, Worker("x", 900, 0))
    assert place(world)._put(hold, "attribute_not_exists(#hold)")
    return process


def test_a_topic_runs_again_when_the_last_of_its_holders_is_done(world: World) -> None:
    ok(world.command("pause", *WHY))
    world.person = COLLEAGUE
    ok(world.command("pause", "--reason", "INC-2"))
    assert sorted(owners(world)) == sorted([PERSON, COLLEAGUE])
    ok(world.command("resume"))
    assert owners(world) == [PERSON]
    assert not may_run(world)
    world.person = PERSON
    ok(world.command("resume"))
    assert may_run(world)
    assert "on_hold" not in place(world).item()


def test_a_hold_of_somebody_else_is_named_and_lifted_only_on_demand(world: World) -> None:
    ok(world.command("pause", *WHY))
    world.person = COLLEAGUE
    said = refusal(world.command("resume"))
    assert PERSON in said
    assert "--everybody" in said
    ok(world.command("resume", "--everybody"))
    assert owners(world) == []


def test_pausing_twice_is_pausing_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    ok(world.command("pause", *WHY))
    before = place(world).holds()
    capsys.readouterr()
    ok(world.command("pause", "--reason", "INC-2"))
    assert place(world).holds() == before
    assert "INC-1" in capsys.readouterr().out
    ok(world.command("resume"))
    ok(world.command("resume"))
    assert may_run(world)


def test_a_killed_rollback_keeps_the_topic_on_hold_until_the_same_command_ends(world: World) -> None:
    command = rollback(world)
    killed = world.command(*command, kill_at=10)
    assert killed.killed
    assert owners(world) == ["operation"]
    assert not may_run(world)
    said = refusal(world.command("resume"))
    assert "rollback of curated to" in said
    assert "was killed" in said
    ok(world.command(*command))
    assert owners(world) == []
    assert may_run(world)
    taken_up = [e for e in audit.entries(world.target) if "taken up by" in e.error]
    assert [e.operation for e in taken_up] == ["rollback"]


def test_nobody_but_its_repetition_takes_a_killed_operation_over(world: World) -> None:
    command = rollback(world)
    assert world.command(*command, kill_at=10).killed
    said = refusal(world.command("checkpoints", "reset", "curated", *WHY))
    assert "the same command again takes its hold over" in said
    (hold,) = place(world).holds()
    ok(world.command("resume", "--operation", hold.operation_id))
    assert owners(world) == []
    ok(world.command("checkpoints", "reset", "curated", *WHY))


def test_the_hold_of_an_operation_at_work_is_lifted_by_nobody(world: World) -> None:
    process = at_work_elsewhere(world, "rollback of curated to 5")
    assert "is at work" in refusal(world.command("resume", "--everybody"))
    beat = place(world)

    def works(seconds: float) -> None:
        world.clock += seconds
        (hold,) = beat.holds()
        again = Hold(
            hold.by, hold.since, hold.reason, hold.operation_id, hold.work, hold.worker, hold.beat + 1
        )
        assert beat._put(again, "attribute_exists(#hold)")

    world.sleep = works  # type: ignore[method-assign] # the others work while one waits
    assert "found it at work" in refusal(world.command("resume", "--operation", "their-operation"))
    assert owners(world) == ["operation"]
    process.ended = True
    ok(world.command("resume", "--operation", "their-operation"))
    assert owners(world) == []


def test_a_process_of_another_machine_counts_as_killed_after_a_silence(world: World) -> None:
    (_, *rest) = rollback(world)
    at_work_elsewhere(world, f"rollback of curated to {rest[2]}")
    began = world.clock
    ok(world.command("rollback", *rest))
    assert world.clock - began >= SILENCE_S
    assert owners(world) == []


def test_an_operation_whose_hold_was_taken_over_does_not_go_on(world: World) -> None:
    with (
        audit.operation(world.target, "rollback", reason="INC-1") as entry,
        pytest.raises(HoldLost, match="taken over or given up"),
    ):
        world._here.process = world.processes[1]
        with leases.exclusively(world.target, TOPIC, entry, "rollback of curated to 5", wait_s=0) as held:
            held.check()
            assert place(world).give_up(entry.operation_id)
            held.check()
    world._here.process = None


def test_what_another_repetition_has_ended_meanwhile_is_not_half_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen as killed, and gone when it is to be taken over: a failure before any change lifts the hold."""
    command = rollback(world)
    assert world.command(*command, kill_at=10).killed
    (killed,) = place(world).holds()
    put = Place._put

    def too_late(of: Place, hold: Hold, condition: str, *seen: Any) -> bool:
        if condition == "#hold = :seen":
            assert of._lift(killed)  # the other's end
            return False
        return put(of, hold, condition, *seen)

    monkeypatch.setattr(Place, "_put", too_late)
    with (
        audit.operation(world.target, "rollback", reason="INC-1") as entry,
        pytest.raises(InvalidInput, match="no such snapshot"),
    ):
        world._here.process = world.processes[1]
        with place(world).worked_on(entry, killed.work, wait_s=0):
            raise InvalidInput("no such snapshot")
    world._here.process = None
    assert owners(world) == []


def test_operations_on_one_topic_wait_for_each_other(world: World) -> None:
    commands = [rollback(world), ("checkpoints", "reset", "curated", *WHY)]
    for process in world.beside(commands):
        ok(process)
    assert owners(world) == []


def test_a_rollback_with_hold_leaves_the_hold_of_its_person_and_can_be_repeated(world: World) -> None:
    command = rollback(world, "--hold")
    ok(world.command(*command))
    assert owners(world) == [PERSON]
    before = place(world).holds()
    ok(world.command(*command))
    assert place(world).holds() == before
    assert world.snapshots("curated")[0] == command[3]
    ok(world.command("resume"))
    assert may_run(world)


def test_a_rollback_beside_a_paused_topic_leaves_it_paused(world: World) -> None:
    ok(world.command("pause", *WHY))
    ok(world.command(*rollback(world)))
    assert owners(world) == [PERSON]


def test_a_hold_of_an_earlier_release_is_read_as_its_persons(world: World) -> None:
    def old_flag(by: str) -> None:
        world.target.client("dynamodb").update_item(
            TableName=world.target.checkpoints_table,
            Key={"checkpoint_id": {"S": f"{TOPIC}#lease"}},
            UpdateExpression="SET on_hold = :why, held_by = :who, held_since = :then",
            ExpressionAttributeValues={
                ":why": {"S": "INC-0"},
                ":who": {"S": by},
                ":then": {"S": "2026-01-01T00:00:00+00:00"},
            },
        )

    old_flag(PERSON)
    assert (
        leases.read(world.target, TOPIC).hold == f"on hold since 2026-01-01T00:00:00+00:00 by {PERSON}: INC-0"
    )
    ok(world.command(*rollback(world)))
    assert owners(world) == [PERSON]
    assert not may_run(world)
    ok(world.command("resume"))
    assert may_run(world)
    old_flag(COLLEAGUE)
    refusal(world.command("resume"))
    ok(world.command("resume", "--everybody"))
    assert may_run(world)


def test_what_an_operation_is_doing_is_shown(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    at_work_elsewhere(world, "rollback of curated to 5")
    capsys.readouterr()
    ok(world.command("checkpoints", "--json"))
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    (hold,) = shown["lease"]["holds"]
    assert (hold["by"], hold["work"]) == (COLLEAGUE, "rollback of curated to 5")


@pytest.mark.parametrize("command", ["rollback", "reset"])
def test_killed_at_any_call_and_repeated_it_ends_as_if_it_had_not_been(world: World, command: str) -> None:
    after = world.snapshots("curated")[1]
    words = {
        "rollback": ("rollback", "curated", "--to", after, *WHY),
        "reset": ("checkpoints", "reset", "curated", *WHY),
    }[command]
    call = 0
    while True:
        call += 1
        killed = world.command(*words, kill_at=call, answered=bool(call % 2)).killed
        ok(world.command(*words))
        assert owners(world) == []
        if command == "rollback":
            assert world.snapshots("curated")[0] == after
        else:
            item = world.target.client("dynamodb").get_item(
                TableName=world.target.checkpoints_table,
                Key={"checkpoint_id": {"S": f"{TOPIC}#curated"}},
            )["Item"]
            assert (item["source_token"]["S"], item["rewound"]["BOOL"]) == ("none", True)
        ok(world.command("run"))
        found = {row["idempotency_key"]: row["message_id"] for row in world.rows("curated")}
        assert found == {key: event["message_id"] for key, event in world.expected().items()}
        if not killed:
            break
    assert call > 10


def fails_at(world: World, words: tuple[str, ...], call: int, kind: str = "refused") -> Process:
    """The command, and every try of one of its calls is refused."""
    (process,) = world.beside([words], faults={0: dict.fromkeys(range(call, call + 60), kind)})
    return process


def test_a_repetition_that_fails_leaves_the_hold_to_the_next_one(world: World) -> None:
    """It does not know what the killed one has left, however early it fails itself."""
    command = rollback(world)
    killed = world.command(*command, kill_at=10)
    assert killed.killed
    calls = 0
    while True:
        calls += 1
        failed = fails_at(world, command, calls)
        if failed.error is None:
            break
        if owners(world) == []:
            raise AssertionError(f"the hold went with the failure of call {calls}: {failed.error}")
        assert "expected no other operation at work" in refusal(
            world.command("checkpoints", "reset", "curated", *WHY)
        )
    assert calls > 10
    assert owners(world) == []
    assert may_run(world)


@pytest.mark.parametrize(
    "command",
    [
        ("rollback", "curated", "--to", "SNAPSHOT", *WHY),
        ("checkpoints", "reset", "curated", *WHY),
        ("erase", "--key", "k1", "--yes", *WHY),
        ("rebuild", "--layer", "curated", "--yes", *WHY),
    ],
    ids=lambda words: words[0],
)
def test_what_fails_at_any_call_either_changed_nothing_or_keeps_its_hold(
    world: World, command: tuple[str, ...]
) -> None:
    """No other operation begins on what is half done; the hold of what was refused at once goes with it."""
    words = tuple(world.snapshots("curated")[1] if word == "SNAPSHOT" else word for word in command)
    assert fails_at(world, words, 1).error is not None
    assert owners(world) == [], "it had not begun"
    all_of_it = places(world.target, TOPIC)
    call, stayed = 1, 0
    while (failed := fails_at(world, words, call)).error is not None:
        notes = [note for one in chain_of(failed.error) for note in getattr(one, "__notes__", ())]
        for one in all_of_it:
            for hold in one.holds():
                stayed += 1
                assert hold.operation_id in "".join(notes), f"call {call}: {failed.error}, {hold}"
                ok(world.command("resume", "--operation", hold.operation_id))
        call += 9 if command[0] == "erase" else 1  # it makes hundreds
    assert not any(one.holds() for one in all_of_it)
    assert may_run(world)
    assert stayed, "a hold can stay behind any of them: lifting it may fail"


def chain_of(error: BaseException | None) -> list[BaseException]:
    """An error, and what it was made of."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found
