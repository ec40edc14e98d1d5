"""``pause``, ``resume`` and ``stop``: keep the pipeline away from a topic while something is mended."""

from dataclasses import asdict
from typing import Annotated

import typer

from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import say
from lean_ops.operate import leases
from lean_ops.operate.holds import Place, places


@on_target(topic=True, reason=True)
def pause(call: Call) -> Answer:
    """Put a topic on hold: runs end without work until `resume`. Events still arrive in RAW."""
    topic = call.topic
    with call.operation("pipeline.pause"):
        hold, placed = Place(call.target, topic).pause(call.reason)
        lease = leases.read(call.target, topic)
    running = lease.status == "RUNNING"

    def tell() -> None:
        if placed:
            say(f"{topic} is on hold. Lift it with `lean-ops resume --topic {topic}`.")
        else:
            say(f"{topic} stays {hold.describe()}; {hold.way_out(topic)}.")
        if running:
            say(f"A run is in progress and ends after its current round: {lease.holder}")

    return Answer({"topic": topic, "on_hold": True, "placed": placed, "running": running}, tell)


@on_target(topic=True)
def resume(
    call: Call,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Lift the holds of other persons too.")
    ] = False,
    operation: Annotated[
        str,
        typer.Option("--operation", help="Give up a half-done operation, by its id: lift its holds."),
    ] = "",
) -> Answer:
    """Lift your hold of a topic; the next run takes up what has waited. Safe to run twice.

    Other holds stay and are named: those of other persons, and that of an operation at work.
    """
    topic, place = call.topic, Place(call.target, call.topic)
    with call.operation("pipeline.resume", everybody=everybody, operation=operation):
        if operation:
            lifted = sum(one.give_up(operation) for one in places(call.target, topic)) > 0
            left = place.holds()
        else:
            holds, left = place.resume(everybody=everybody)
            lifted = bool(holds)
        if left and not lifted:
            (first, *_) = left
            raise InvalidInput(
                f"topic {topic}: expected a hold that this command lifts, found it {first.describe()}; "
                + (f"{first.way_out(topic)}" if first.operation_id else "--everybody lifts that of others")
            )

    def tell() -> None:
        for hold in left:
            say(f"{topic} is still {hold.describe()}.", style="yellow")
        if not left:
            say(f"{topic} is no longer on hold." if lifted else f"{topic} was not on hold.")

    return Answer(
        {"topic": topic, "on_hold": bool(left), "lifted": lifted, "left": [asdict(hold) for hold in left]},
        tell,
    )


@on_target(topic=True, reason=True)
def stop(call: Call) -> Answer:
    """Stop the run of a topic that is in progress. What it committed stays; the next run takes over."""
    topic = call.topic
    with call.operation("pipeline.stop"):
        stopped = leases.stop(call.target, topic, call.reason)
    done = (
        f"Stopped {stopped}. Next: `lean-ops run --topic {topic}`." if stopped else f"No run of {topic} runs."
    )
    return Answer({"topic": topic, "stopped": stopped}, lambda: say(done))
