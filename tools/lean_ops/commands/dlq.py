"""``dlq``: look at the dead-letter queue, and archive it. Sending from it is ``replay dlq``."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from common.runtime import outside
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.commands.waiting import (
    FilterReasonOption,
    FilterTopicOption,
    IdOption,
    LimitOption,
    PayloadOption,
    SamplesOption,
    SinceOption,
    UntilOption,
    select,
    show_tally,
)
from lean_ops.console.printing import progress, say
from lean_ops.operate.replay import dead_letters
from lean_ops.operate.replay.dead_letters import HIDING_RECEIVES, REASONS

app = typer.Typer(name="dlq", help="The dead-letter queue: what waits there, and why.", no_args_is_help=True)

ARCHIVE_DAYS = 30
_SHOWN_DAMAGED = 10
FromArchiveOption = Annotated[
    bool, typer.Option("--from-archive", help="Take the copies in the lake bucket; leave the queue alone.")
]
DaysOption = Annotated[
    int, typer.Option("--days", help="How many days of the archive, up to today.", min=1, max=3650)
]


@app.command()
@on_target()
def show(
    call: Call,
    reason: FilterReasonOption = None,
    topic: FilterTopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    id_: IdOption = None,
    samples: SamplesOption = 3,
    payload: PayloadOption = False,
    limit: LimitOption = None,
    from_archive: FromArchiveOption = False,
    days: DaysOption = ARCHIVE_DAYS,
) -> Answer:
    """Count dead letters by reason and topic, with samples. Nothing is removed.

    SQS counts every look: a letter that was received three times leaves the queue's age metric.
    --from-archive looks at the archive instead, --limit at the first letters only.
    """
    selection, target = select(reason, topic, since, until, id_, REASONS), call.target
    with progress(quiet=call.json) as bar:
        queue = dead_letters.open_queue(target)
        if from_archive:
            last = outside.now().date()
            found = dead_letters.look_at_archive(
                target, selection, last - timedelta(days=days - 1), last, samples=samples
            )
        else:
            task = bar.add_task("looking", total=queue.messages)
            found = dead_letters.look(
                target,
                queue,
                selection,
                samples=samples,
                limit=limit,
                on_progress=lambda seen: bar.update(task, completed=seen),
            )
    expires = (
        found.tally.oldest + timedelta(seconds=queue.retention_s)
        if found.tally.oldest and not from_archive
        else None
    )
    document = {
        "queue": queue.name,
        "archive": from_archive,
        **found.tally.as_json(payload=payload),
        "others": found.others,
        "hidden_from_age_metric": found.hidden,
        "first_expires": expires,
        "complete": found.complete,
        "damaged": found.damaged,
    }
    where = "the archive" if from_archive else queue.name
    return Answer(document, lambda: _tell(found, where, expires, payload=payload))


def _tell(found: dead_letters.Look, where: str, expires: datetime | None, *, payload: bool) -> None:
    for sentence in found.damaged[:_SHOWN_DAMAGED]:
        say(f"cannot be read: {sentence}", style="yellow")
    if len(found.damaged) > _SHOWN_DAMAGED:
        say(f"{len(found.damaged) - _SHOWN_DAMAGED:,} more cannot be read; --json names all.", style="yellow")
    if not found.tally.total:
        say(f"{where}: no dead letter" + (f" of this kind among {found.others:,}." if found.others else "."))
        return
    show_tally(f"Dead letters in {where}", found.tally, payload=payload)
    if expires:
        say(f"SQS deletes the oldest at {expires:%Y-%m-%d %H:%M:%SZ}; the archive keeps a copy.")
    if found.hidden:
        say(
            f"{found.hidden:,} letters were received {HIDING_RECEIVES} times or more: the queue's age metric "
            "leaves them out. Replay them, or look at the archive from now on."
        )
    if not found.complete:
        say("There may be more: not the whole queue was looked at.", style="yellow")


@app.command()
@on_target()
def archive(call: Call) -> Answer:
    """Copy the dead letters into the lake bucket now, not only on schedule. Each is copied once."""
    result = dead_letters.archive(call.target)

    def tell() -> None:
        say(f"{result['written']:,} dead letters archived, {result['known']:,} were there already.")
        if result["damaged"]:
            say(
                f"{result['damaged']:,} lines of the archive cannot be read; `lean-ops dlq show "
                "--from-archive` names them.",
                style="yellow",
            )
        if not result["complete"]:
            say("Not the whole queue was seen; run this again.", style="yellow")

    return Answer(result, tell)
