"""``replay``: let events that wait go on, once what kept them is mended."""

from datetime import timedelta
from typing import Annotated

import typer

from common.runtime import outside
from common.runtime.errors import InvalidInput
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.dlq import ARCHIVE_DAYS, DaysOption, FromArchiveOption
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
    damaged_places,
    select,
    show_tally,
)
from lean_ops.console.printing import progress, say, show_table
from lean_ops.environment import audit
from lean_ops.operate.replay import dead_letters, deliveries
from lean_ops.operate.replay.dead_letters import REASONS
from lean_ops.operate.replay.pace import Pace
from lean_ops.operate.replay.quarantine import Judged, judge, periods
from lean_ops.operate.replay.selection import Tally

app = typer.Typer(
    name="replay",
    help="Let events that wait in the dead-letter queue, in error objects or in Quarantine go on.",
    no_args_is_help=True,
)

_SHOWN_REFUSED = 10
ResumeOption = Annotated[
    str | None,
    typer.Option("--resume", help="Go on behind the place that this operation reached (see audit)."),
]
AnewOption = Annotated[
    bool,
    typer.Option("--anew", help="With --from-archive and --limit: begin at the first letter, sent or not."),
]


@app.command()
@on_target()
def dlq(
    call: Call,
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
    anew: AnewOption = False,
    note: NoteOption = "",
) -> Answer:
    """Send dead letters into the source queue again; each leaves the dead-letter queue once it was accepted.

    Safe to interrupt and to run again. With --from-archive the copies in the lake bucket are sent, which
    keeps them; --resume then goes on where an interrupted one ended. With --limit the same command again
    sends the letters after those that it sent before. Exit code 1 when some were refused.
    """
    selection = select(reason, topic, since, until, id_, REASONS)
    pace = Pace(rate)
    if resume and not from_archive:
        raise InvalidInput(
            "--resume: expected together with --from-archive, found no archive; from the queue just replay "
            "again, since what was sent has left it"
        )
    target = call.target
    last = outside.now().date()
    first = last - timedelta(days=days - 1)
    with progress(quiet=call.json) as bar:
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
            stuck = damaged_places(found.damaged)
            return _dry_run(found.tally, complete=found.complete, payload=payload, stuck=stuck)
        earlier = None
        if resume:
            earlier = dead_letters.resumed(target, resume, selection, days)
        elif from_archive and limit is not None and not anew:
            earlier = dead_letters.continued(target, selection, days)
        chosen = (
            dead_letters.archive_selection(selection, days)
            if from_archive
            else {**selection.as_json(), "from": queue.name}
        )
        with audit.operation(
            target,
            dead_letters.OPERATION,
            reason=note,
            selection=chosen,
            resumes=earlier.operation_id if earlier else None,
        ) as entry:
            if from_archive:
                done = dead_letters.replay_archive(
                    target,
                    selection,
                    entry,
                    first,
                    last,
                    after=earlier.place if earlier else "",
                    pace=pace,
                    limit=limit,
                    on_progress=on_progress,
                )
            else:
                done = dead_letters.replay(
                    target, queue, selection, entry, pace=pace, limit=limit, on_progress=on_progress
                )
    stuck = done.refused | damaged_places(done.damaged)
    before = (
        f"Went on behind what {earlier.operation_id} sent; --anew begins at the first letter."
        if earlier
        else ""
    )
    return _result(entry, done.tally, stuck, complete=done.complete, payload=payload, before=before)


@app.command()
@on_target()
def delivery(
    call: Call,
    reason: FilterReasonOption = None,
    topic: FilterTopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    samples: SamplesOption = 3,
    payload: PayloadOption = False,
    rate: RateOption = DEFAULT_RATE,
    note: NoteOption = "",
) -> Answer:
    """Send what Firehose could not deliver to its stream again: records, and rows of uncommitted files.

    What was sent leaves its error object for delivery-errors/_replayed/. Safe to interrupt and to run again.
    Exit code 1 when lines or files cannot be replayed: they are named, and stay.
    """
    selection, target = select(reason, topic, since, until, id_), call.target
    pace = Pace(rate)
    with progress(quiet=call.json) as bar:
        objects = deliveries.error_objects(target, selection)
        task = bar.add_task("error objects", total=len(objects))

        def on_progress(done: int) -> None:
            bar.update(task, completed=done)

        if dry_run:
            found = deliveries.look(target, objects, selection, samples=samples, on_progress=on_progress)
            return _dry_run(found.tally, complete=True, payload=payload, stuck=found.stuck)
        with audit.operation(target, "replay.delivery", reason=note, selection=selection.as_json()) as entry:
            found = deliveries.replay(target, objects, selection, entry, pace=pace, on_progress=on_progress)
    return _result(entry, found.tally, found.stuck, complete=True, payload=payload)


@app.command()
@on_target(topic=True)
def quarantine(
    call: Call,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", help="Only rows that broke this rule, as column:rule; repeatable."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    samples: SamplesOption = 3,
    note: NoteOption = "",
) -> Answer:
    """Judge quarantined rows of a topic again, after its contract was mended; the good ones reach Semantic.

    Rows that a newer version has replaced, or that were accepted before, are left alone. Rows that are still
    bad stay: mend the contract further, or wait for their correction. Safe to interrupt and to run again.
    """
    target, topic = call.target, call.topic
    selection = select(reason, topic, since, until, id_)
    judged = Judged(Tally(samples))
    with progress(quiet=call.json) as bar:
        found = periods(target, topic, selection)
        task = bar.add_task("periods", total=len(found))
        if dry_run:
            for period in found:
                judge(target, topic, period, selection, judged, operation_id="dry-run", dry_run=True)
                bar.advance(task)
            return _dry_run(judged.tally, complete=True, payload=False)
        with audit.operation(
            target, "replay.quarantine", reason=note, selection=selection.as_json()
        ) as entry:
            for period in found:
                judge(
                    target,
                    topic,
                    period,
                    selection,
                    judged,
                    operation_id=entry.operation_id,
                    dry_run=False,
                )
                entry.counts.clear()
                entry.counts.update(judged.counts)
                entry.heartbeat()
                bar.advance(task)

    def tell() -> None:
        show_tally("Judged again", judged.tally, payload=False)
        say(
            f"{judged.counts['accepted']:,} of {judged.counts['waiting']:,} rows are good now and in "
            f"Semantic; {judged.counts['refused']:,} stay in Quarantine. On record as {entry.operation_id}."
        )
        if judged.still:
            title = "Still refused, by the rules that they break today"
            show_table(title, ["rules", "rows"], sorted(judged.still.items()))

    document = {
        "dry_run": False,
        "operation_id": entry.operation_id,
        **judged.tally.as_json(payload=False),
        "done": judged.counts,
        "still_refused": judged.still,
        "seconds": entry.seconds,
    }
    return Answer(document, tell)


def _dry_run(tally: Tally, *, complete: bool, payload: bool, stuck: dict[str, str] | None = None) -> Answer:
    def tell() -> None:
        if tally.total:
            show_tally("Would be replayed", tally, payload=payload)
        else:
            say("Nothing would be replayed.")
        _say_refused(stuck or {})

    counted = {"dry_run": True, **tally.as_json(payload=payload), "complete": complete}
    return Answer(counted if stuck is None else {**counted, "refused": stuck}, tell)


def _result(
    entry: audit.Entry,
    tally: Tally,
    refused: dict[str, str],
    *,
    complete: bool,
    payload: bool,
    before: str = "",
) -> Answer:
    """What a replay did; it failed when events were refused and stay where they were."""

    def tell() -> None:
        if before:
            say(before)
        sent = entry.counts["sent"]
        pace = f" ({sent / entry.seconds:,.0f} a second)" if entry.seconds else ""
        show_tally("Replayed", tally, payload=payload)
        say(f"{sent:,} sent in {entry.seconds:.1f} s{pace}; on record as {entry.operation_id}.")
        if entry.counts["returned"]:
            say(f"{entry.counts['returned']:,} came back dead at once: what was wrong still is.")
        if entry.counts["unremoved"]:
            say(f"{entry.counts['unremoved']:,} could not be removed and will be sent once more: harmless.")
        _say_refused(refused)
        if not complete:
            say("There may be more: run the same command again.", style="yellow")

    document = {
        "dry_run": False,
        "operation_id": entry.operation_id,
        **tally.as_json(payload=payload),
        "done": entry.as_json()["counts"],
        "refused": refused,
        "complete": complete,
        "seconds": entry.seconds,
    }
    return Answer(document, tell, failed=bool(refused))


def _say_refused(refused: dict[str, str]) -> None:
    for name, why in list(refused.items())[:_SHOWN_REFUSED]:
        say(f"cannot be replayed, stays: {name}: {why}", style="yellow")
    if len(refused) > _SHOWN_REFUSED:
        say(f"{len(refused) - _SHOWN_REFUSED:,} more cannot be replayed; --json names all.", style="yellow")
