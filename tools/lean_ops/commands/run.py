"""``run``: start the state machine and follow it."""

import json as jsonlib
from dataclasses import asdict
from typing import Annotated, Any

import typer

from common.runtime import outside
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import out, say
from lean_ops.environment.target import Target
from lean_ops.operate import jobs, leases, pipeline, run_report
from lean_ops.operate.jobs import JobProgress
from lean_ops.operate.leases import Lease
from lean_ops.operate.pipeline import BUSY, Engine, Outcome, StateVisit

_SHOWN_CHARS = 160
_PROGRESS_S = 3.0
ON_SPARK = "OnSpark"
"""How the states end in which a job runs on Spark."""


@on_target(topic=True)
def run(
    call: Call,
    force: Annotated[
        bool, typer.Option("--force", help="Run both jobs whatever the checkpoints say.")
    ] = False,
    engine: Annotated[
        Engine,
        typer.Option(help="Where the jobs are done: as functions, on Spark, or by the size of the backlog."),
    ] = Engine.AUTO,
) -> Answer:
    """Run the pipeline once for a topic, state by state, and say what it did; exit code 1 when it fails.

    A run that refuses rows succeeds: they are in Quarantine, and the last lines say why.
    """
    target, topic = call.target, call.topic
    visits, ended = run_and_follow(target, topic, force=force, engine=engine, quiet=call.json)
    unreadable = [] if ended.succeeded else run_report.unreadable(target, topic)
    other = visits and visits[-1].name == BUSY  # which knows what was read
    done = None if unreadable or other else run_report.report(target, topic, ended.arn)

    def tell() -> None:
        if done:
            style = "red" if done.all_refused else "yellow" if done.quarantined else ""
            for sentence in done.sentences():
                say(sentence, style=style)

    document = {**asdict(ended), "states": [asdict(visit) for visit in visits]}
    failed = f"{topic}: the run ended {ended.status}: {ended.error}: {ended.cause} (execution {ended.arn})"
    return Answer(
        document | {"report": asdict(done) if done else None},
        tell,
        failures=[] if ended.succeeded else [failed, *unreadable],
    )


def run_and_follow(
    target: Target, topic: str, *, force: bool = False, engine: Engine = Engine.AUTO, quiet: bool = False
) -> tuple[list[StateVisit], Outcome]:
    """Start a run, print every state as it is left (unless ``quiet``) and say how it ended."""
    execution_arn = pipeline.start(target, topic, force=force, engine=engine)
    visits = []
    told = _Progress(target, topic, execution_arn)
    for visit in pipeline.follow(target, execution_arn, (lambda _state: None) if quiet else told):
        visits.append(visit)
        if not quiet:
            _show(visit)
    ended = pipeline.ended(target, execution_arn)
    if not quiet and visits and visits[-1].name == BUSY:
        _say_who_works(leases.read(target, topic), execution_arn)
    if not quiet:
        say(f"{ended.status} in {ended.seconds:.1f} s", style="green" if ended.succeeded else "red")
    return visits, ended


class _Progress:
    """Says how far a job on Spark is, whenever that has changed and some seconds have passed."""

    def __init__(self, target: Target, topic: str, execution_arn: str) -> None:
        self._target, self._topic, self._arn = target, topic, execution_arn
        self._said: JobProgress | None = None
        self._next = 0.0

    def __call__(self, state: str) -> None:
        if not state.endswith(ON_SPARK) or outside.monotonic() < self._next:
            return
        self._next = outside.monotonic() + _PROGRESS_S
        found = jobs.progress(self._target, self._topic, self._arn)
        if found is None or found == self._said:
            return
        self._said = found
        rows = f", {found.rows:,} rows" if found.rows is not None else ""
        left = f", about {found.seconds_left:.0f} s left" if found.seconds_left else ""
        say(f"  {state}: {found.stage}, {found.tasks_done} of {found.tasks} tasks{rows}{left}", style="dim")


def _say_who_works(lease: Lease, execution_arn: str) -> None:
    if lease.hold:
        say(f"{lease.topic} is {lease.hold}", "yellow")
        say(f"Next: {lease.way_out}.")
    elif lease.holder != execution_arn:
        say(f"Another run does the work: {lease.holder} ({lease.status})")


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
