"""``pause``, ``resume`` and ``stop``: keep the pipeline away from a topic while something is mended."""

from lean_ops import audit, leases
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
from lean_ops.console import say, show_json


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
        leases.pause(target, topic, reason)
        lease = leases.read(target, topic)
    if json:
        show_json({"topic": topic, "on_hold": True, "running": lease.status == "RUNNING"})
        return
    say(f"{topic} is on hold. Lift it with `lean-ops resume --topic {topic}`.")
    if lease.status == "RUNNING":
        say(f"A run is in progress and ends after its current round: {lease.holder}")


def resume(
    topic: TopicOption = "events",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Lift the hold of a topic; the next run takes up what has waited. Safe to run twice."""
    target = resolve(env, stack, region)
    check_topic(target, topic)
    with target.reached(), audit.operation(target, "pipeline.resume", selection={"topic": topic}):
        lifted = leases.resume(target, topic)
    if json:
        show_json({"topic": topic, "on_hold": False, "lifted": lifted})
        return
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
