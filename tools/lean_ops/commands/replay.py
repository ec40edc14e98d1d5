"""``replay``: let events that wait go on, once what kept them is mended."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from common.errors import InvalidInput
from lean_ops import audit
from lean_ops.commands.dlq import ARCHIVE_DAYS, DaysOption, FromArchiveOption
from lean_ops.commands.options import (
    Environment,
    EnvOption,
    JsonOption,
    RegionOption,
    StackOption,
    resolve,
)
from lean_ops.commands.waiting import (
    DEFAULT_RATE,
    DryRunOption,
    FilterReasonOption,
    FilterTopicOption,
    IdOption,
    LimitOption,
    NoteOption,
    PayloadOption,
    RateOption,
    SamplesOption,
    SinceOption,
    UntilOption,
    select,
    show_tally,
)
from lean_ops.console import progress, say, show_json
from lean_ops.replay import dead_letters
from lean_ops.replay.dead_letters import REASONS
from lean_ops.replay.pace import Pace
from lean_ops.replay.selection import Tally

app = typer.Typer(
    name="replay",
    help="Let events that wait in the dead-letter queue, in error objects or in Quarantine go on.",
    no_args_is_help=True,
)

ResumeOption = Annotated[
    str | None,
    typer.Option("--resume", help="Go on behind the place that this operation reached (see audit)."),
]


@app.command()
def dlq(
    reason: FilterReasonOption = None,
    topic: FilterTopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    samples: SamplesOption = 3,
    payload: PayloadOption = False,
    limit: LimitOption = None,
    rate: RateOption = DEFAULT_RATE,
    queue_name: Annotated[
        str | None, typer.Option("--queue", help="Another dead-letter queue of the source queue.")
    ] = None,
    from_archive: FromArchiveOption = False,
    days: DaysOption = ARCHIVE_DAYS,
    resume: ResumeOption = None,
    note: NoteOption = "",
    env: EnvOption = Environment.LOCAL,
    stack: StackOption = "local",
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Send dead letters into the source queue again; each leaves the dead-letter queue once it was accepted.

    Safe to interrupt and to run again. With --from-archive the copies in the lake bucket are sent, which
    keeps them; --resume then goes on where an interrupted one ended. Exit code 1 when some were refused.
    """
    selection = select(reason, topic, since, until, id_, REASONS)
    pace = Pace(rate)
    if resume and not from_archive:
        raise InvalidInput(
            "--resume: expected together with --from-archive, found no archive; from the queue just replay "
            "again, since what was sent has left it"
        )
    target = resolve(env, stack, region)
    last = datetime.now(UTC).date()
    first = last - timedelta(days=days - 1)
    with target.reached(), progress(quiet=json) as bar:
        queue = dead_letters.open_queue(target, queue_name)
        task = bar.add_task("replaying", total=None if from_archive else queue.messages)

        def on_progress(seen: int) -> None:
            bar.update(task, completed=seen)

        if dry_run:
            found = (
                dead_letters.look_at_archive(target, selection, first, last, samples=samples)
                if from_archive
                else dead_letters.look(
                    target, queue, selection, samples=samples, limit=limit, on_progress=on_progress
                )
            )
            _show_dry_run(found.tally, found.complete, payload=payload, json=json)
            return
        after = audit.find(target, resume).place if resume else ""
        with audit.operation(
            target,
            "replay.dlq",
            reason=note,
            selection={**selection.as_json(), "from": "archive" if from_archive else queue.name},
            resumes=resume,
        ) as entry:
            if from_archive:
                done = dead_letters.replay_archive(
                    target,
                    selection,
                    entry,
                    first,
                    last,
                    after=after,
                    pace=pace,
                    limit=limit,
                    on_progress=on_progress,
                )
            else:
                done = dead_letters.replay(
                    target, queue, selection, entry, pace=pace, limit=limit, on_progress=on_progress
                )
    _show_result(entry, done.tally, done.refused, complete=done.complete, payload=payload, json=json)


def _show_dry_run(tally: Tally, complete: bool, *, payload: bool, json: bool) -> None:
    if json:
        show_json({"dry_run": True, **tally.as_json(payload=payload), "complete": complete})
        return
    if not tally.total:
        say("Nothing would be replayed.")
        return
    show_tally("Would be replayed", tally, payload=payload)


def _show_result(
    entry: audit.Entry,
    tally: Tally,
    refused: dict[str, str],
    *,
    complete: bool,
    payload: bool,
    json: bool,
) -> None:
    """Say what a replay did; exit code 1 when events were refused and stay where they were."""
    if json:
        document: dict[str, Any] = {
            "dry_run": False,
            "operation_id": entry.operation_id,
            **tally.as_json(payload=payload),
            "done": entry.as_json()["counts"],
            "refused": refused,
            "complete": complete,
            "seconds": entry.seconds,
        }
        show_json(document)
    else:
        sent = entry.counts["sent"]
        pace = f" ({sent / entry.seconds:,.0f} a second)" if entry.seconds else ""
        show_tally("Replayed", tally, payload=payload)
        say(f"{sent:,} sent in {entry.seconds:.1f} s{pace}; on record as {entry.operation_id}.")
        if entry.counts["returned"]:
            say(f"{entry.counts['returned']:,} came back dead at once: what was wrong still is.")
        if entry.counts["unremoved"]:
            say(f"{entry.counts['unremoved']:,} could not be removed and will be sent once more: harmless.")
        for name, why in list(refused.items())[:10]:
            say(f"refused, stays: {name}: {why}", style="yellow")
        if not complete:
            say("There may be more: run the same command again.", style="yellow")
    if refused:
        raise typer.Exit(1)
