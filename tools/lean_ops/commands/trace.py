"""``trace``: one event's way through all layers."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from common.runtime import outside
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import human_bytes, say, show_table
from lean_ops.operate import trace as tracing
from lean_ops.operate.replay.selection import Selection

_DEFAULT_WINDOW = "7d"
# A device's clock may be a day ahead (docs/architecture.md, "The event").
_AHEAD = timedelta(days=1)


@on_target(topic=True)
def trace(
    call: Call,
    message_id: Annotated[str, typer.Argument(help="The event's message_id.")],
    since: Annotated[
        str, typer.Option("--since", help="Published since then: 2026-02-28T12:00:00Z, or an age: 7d.")
    ] = _DEFAULT_WINDOW,
    until: Annotated[str | None, typer.Option("--until", help="Published before then.")] = None,
    with_queue: Annotated[
        bool, typer.Option("--queue", help="Look at the dead-letter queue itself too: one receive a letter.")
    ] = False,
) -> Answer:
    """Show where an event is and was: dead letters, delivery errors, RAW, Curated, Semantic, Quarantine.

    The narrower the window of publish times, the less of RAW is read. Exit code 1 when it was seen nowhere.
    """
    now = outside.now()
    window = Selection.parse(since=since, until=until, now=now)
    begin, end = window.since or now, window.until or now + _AHEAD
    found = tracing.trace(call.target, call.topic, message_id, begin, end, with_queue=with_queue)
    return Answer(asdict(found), lambda: _show(found), failed=not found.found)


def _show(found: tracing.Trace) -> None:
    if found.found:
        show_table(
            f"Event {found.message_id} of {found.topic}",
            ["place", "when", "what", "facts"],
            [
                [
                    sighting.place,
                    f"{sighting.at:%Y-%m-%d %H:%M:%S.%fZ}" if sighting.at else "-",
                    sighting.what,
                    ", ".join(f"{name} {value}" for name, value in sighting.facts.items()),
                ]
                for sighting in found.sightings
            ],
        )
    else:
        say(
            f"Event {found.message_id} of {found.topic} was seen nowhere in this window. It may have been "
            "published earlier (--since 30d), be in the source queue still, or in the dead-letter queue "
            "without having been archived (--queue)."
        )
    read = "; ".join(
        f"{cost.place}: {cost.files} files ({human_bytes(cost.size_bytes)}), by {cost.pruned_by}"
        for cost in found.costs
        if cost.files
    )
    say(f"Read: {read or 'nothing'}.")
    for sentence in found.damaged:
        say(f"cannot be read, and may hold it: {sentence}", style="yellow")
