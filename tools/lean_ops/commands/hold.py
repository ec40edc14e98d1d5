"""``pause``, ``resume`` and ``stop``: keep the pipeline away from a topic while something is mended."""

from dataclasses import asdict
from typing import Annotated

import typer

from common.runtime.errors import InvalidInput
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    ReasonOption,
    RegionOption,
    StackOption,
    TopicOption,
    check_reason,
    check_topic,
    resolve,
)
from lean_ops.console.printing import say, show_json
from lean_ops.environment import audit
from lean_ops.operate import leases
from lean_ops.operate.holds import Place


def pause(
    reason: ReasonOption,
    topic: TopicOption = "events",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Put a topic on hold: runs end without work until `resume`. Events still arrive in RAW."""
    target = resolve(env, stack, region)
    check_topic(target, topic)
    check_reason(reason)
    with (
        target.reached(),
        audit.operation(target, "pipeline.pause", reason=reason, selection={"topic": topic}),
    ):
        hold, placed = Place(target, topic).pause(reason)
        lease = leases.read(target, topic)
    if json:
        show_json({"topic": topic, "on_hold": True, "placed": placed, "running": lease.status == "RUNNING"})
        return
    if placed:
        say(f"{topic} is on hold. Lift it with `lean-ops resume --topic {topic}`.")
    else:
        say(f"{topic} stays {hold.describe()}; {hold.way_out(topic)}.")
    if lease.status == "RUNNING":
        say(f"A run is in progress and ends after its current round: {lease.holder}")


def resume(
    topic: TopicOption = "events",
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Lift the holds of other persons too.")
    ] = False,
    operation: Annotated[
        str, typer.Option("--operation", help="Give up a killed operation, by its id: lift its hold instead.")
    ] = "",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Lift your hold of a topic; the next run takes up what has waited. Safe to run twice.

    Other holds stay and are named: those of other persons, and that of an operation at work.
    """
    target = resolve(env, stack, region)
    check_topic(target, topic)
    place = Place(target, topic)
    selection = {"topic": topic, "everybody": everybody, "operation": operation}
    with target.reached(), audit.operation(target, "pipeline.resume", selection=selection):
        if operation:
            lifted, left = place.give_up(operation), place.holds()
        else:
            holds, left = place.resume(everybody=everybody)
            lifted = bool(holds)
        if left and not lifted:
            (first, *_) = left
            raise InvalidInput(
                f"topic {topic}: expected a hold that this command lifts, found it {first.describe()}; "
                + (f"{first.way_out(topic)}" if first.operation_id else "--everybody lifts that of others")
            )
    if json:
        show_json(
            {"topic": topic, "on_hold": bool(left), "lifted": lifted, "left": [asdict(hold) for hold in left]}
        )
        return
    for hold in left:
        say(f"{topic} is still {hold.describe()}.", style="yellow")
    if not left:
        say(f"{topic} is no longer on hold." if lifted else f"{topic} was not on hold.")


def stop(
    reason: ReasonOption,
    topic: TopicOption = "events",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Stop the run of a topic that is in progress. What it committed stays; the next run takes over."""
    target = resolve(env, stack, region)
    check_topic(target, topic)
    check_reason(reason)
    with (
        target.reached(),
        audit.operation(target, "pipeline.stop", reason=reason, selection={"topic": topic}),
    ):
        stopped = leases.stop(target, topic, reason)
    if json:
        show_json({"topic": topic, "stopped": stopped})
        return
    say(
        f"Stopped {stopped}. Next: `lean-ops run --topic {topic}`." if stopped else f"No run of {topic} runs."
    )
