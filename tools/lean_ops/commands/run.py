"""``run``: start the state machine and follow it. ``checkpoints``: how far every layer has read."""

import json as jsonlib
from dataclasses import asdict
from typing import Annotated, Any

import typer

from common.checkpoints import NOTHING
from lean_ops import pipeline
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    RegionOption,
    StackOption,
    TopicOption,
    check_topic,
    resolve,
)
from lean_ops.console import complain, out, say, show_json, show_table
from lean_ops.pipeline import Outcome, StateVisit
from lean_ops.target import Target

_SHOWN_CHARS = 160


def run(
    topic: TopicOption = "events",
    force: Annotated[
        bool, typer.Option("--force", help="Run both jobs whatever the checkpoints say.")
    ] = False,
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Run the pipeline once for a topic and follow it state by state; exit code 1 when it fails."""
    target = resolve(env, stack, region)
    check_topic(target, topic)
    with target.reached():
        visits, ended = run_and_follow(target, topic, force=force, quiet=json)
    if json:
        show_json({**asdict(ended), "states": [asdict(visit) for visit in visits]})
    if not ended.succeeded:
        complain(
            f"{topic}: the run ended {ended.status}: {ended.error}: {ended.cause} (execution {ended.arn})"
        )
        raise typer.Exit(1)


def run_and_follow(
    target: Target, topic: str, *, force: bool = False, quiet: bool = False
) -> tuple[list[StateVisit], Outcome]:
    """Start a run, print every state as it is left (unless ``quiet``) and say how it ended."""
    execution_arn = pipeline.start(target, topic, force=force)
    visits = []
    for visit in pipeline.follow(target, execution_arn):
        visits.append(visit)
        if not quiet:
            _show(visit)
    ended = pipeline.outcome(target, execution_arn)
    if not quiet:
        say(f"{ended.status} in {ended.seconds:.1f} s", style="green" if ended.succeeded else "red")
    return visits, ended


def checkpoints(
    topic: TopicOption = "events",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Show how far Curated has read RAW and Semantic has read Curated, as recorded and as committed."""
    target = resolve(env, stack, region)
    check_topic(target, topic)
    with target.reached():
        recorded = target.client("dynamodb").scan(TableName=target.checkpoints_table)["Items"]
    entries = [
        {name: str(next(iter(value.values()))) for name, value in item.items()}
        for item in recorded
        if item["checkpoint_id"].get("S", "").startswith(f"{topic}#")
    ]
    entries.sort(key=lambda entry: entry["checkpoint_id"])
    if json:
        show_json(entries)
        return
    if not entries:
        say(f"Topic {topic!r} has no checkpoint yet: it was not run, or every run found nothing.")
        return
    names = ["checkpoint_id", "source_token", "source_position", "target_snapshot_id", "run_id", "updated_at"]
    rows = [[entry.get(name, NOTHING) for name in names] for entry in entries if "source_token" in entry]
    show_table(f"Checkpoints of {topic}", names, rows)
    for entry in entries:
        if "execution_arn" in entry:
            say(f"lease: last held by {entry['execution_arn']}")


def _show(visit: StateVisit) -> None:
    added = _added(visit.input, visit.output)
    mark = "[red]✗[/]" if visit.left is None else "[green]✓[/]"
    out.print(f"{mark} {visit.name:<26}[dim]{visit.seconds:6.2f} s[/]", end="  ")
    say(_shortened(added))


def _added(before: Any, after: Any) -> Any:
    """What a state added to or changed in its data; all of it where the data is not an object."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key: value for key, value in after.items() if before.get(key) != value}
    return after


def _shortened(value: Any) -> str:
    if value in ({}, None):
        return ""
    text = jsonlib.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
