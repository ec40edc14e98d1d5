"""What the commands on waiting events (``dlq``, ``replay``) share: options, and how counts are shown."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from common.runtime import outside
from lean_ops.commands.options import a_number
from lean_ops.console.printing import say, show_table
from lean_ops.operate.replay.selection import Selection, Tally

FilterReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", help="Only events that wait for this reason; repeatable.")
]
FilterTopicOption = Annotated[
    str | None,
    typer.Option(
        "--topic",
        help="Only events of this topic, which may be one that does not exist; ? for those that name none.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="Only events waiting since then: 2026-02-28T12:00:00Z, or 12h."),
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only events waiting since before then.")]
IdOption = Annotated[
    list[str] | None, typer.Option("--id", help="Only this event, by its message id; repeatable.")
]
SamplesOption = Annotated[int, typer.Option("--samples", help="Show so many of each reason.", min=0)]
PayloadOption = Annotated[
    bool, typer.Option("--show-payload", help="Show what the samples contain. It may be personal data.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Stop after so many events.", min=1)]
RateOption = Annotated[
    float, typer.Option("--rate", help="Events a second at most; 0 for no limit.", min=0, callback=a_number)
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Count and show samples; send nothing.")]
NoteOption = Annotated[str, typer.Option("--note", help="Why, for the audit trail.")]

DEFAULT_RATE = 500.0


def select(
    reason: Iterable[str] | None,
    topic: str | None,
    since: str | None,
    until: str | None,
    ids: Iterable[str] | None,
    known_reasons: frozenset[str] | None = None,
) -> Selection:
    """The selection that the options name; raises InvalidInput."""
    return Selection.parse(
        reason or (),
        topic,
        since,
        until,
        ids or (),
        now=outside.now(),
        known_reasons=known_reasons,
    )


def damaged_places(sentences: Iterable[str]) -> dict[str, str]:
    """Why stored things cannot be read, by their places: each sentence begins with its place."""
    return {place: why for place, _, why in (sentence.partition(": ") for sentence in sentences)}


def show_tally(title: str, tally: Tally, *, payload: bool) -> None:
    """Print counts by reason and topic, the time span, and samples."""
    rows: list[list[Any]] = [
        [reason, topic, count] for (reason, topic), count in sorted(tally.counts.items())
    ]
    if not rows:
        return
    show_table(title, ["reason", "topic", "events"], rows)
    if tally.oldest and tally.newest:
        say(f"The oldest waits since {_moment(tally.oldest)}, the newest since {_moment(tally.newest)}.")
    if tally.samples:
        columns = ["reason", "message id", "since", "detail", *(["payload"] if payload else [])]
        samples = [
            [
                sample.reason,
                sample.ids[0] if sample.ids else "?",
                _moment(sample.at),
                sample.detail,
                *([sample.payload] if payload else []),
            ]
            for sample in tally.samples
        ]
        show_table("The first of each reason", columns, samples)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
