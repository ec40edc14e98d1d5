"""``reconcile``: what the rows of all layers say, whatever anybody has counted."""

from typing import Annotated, Any, Final

import typer

from common.layers.reconciling import COUNTS, Hour, Reconciled
from common.runtime import outside
from lean_ops.commands.calling import Answer, Call, on_target
from lean_ops.console.printing import progress, say, show_table
from lean_ops.operate.reconciling import ADVICE, by_day, reconcile_tables
from lean_ops.operate.replay.selection import Selection

_FEW_HOURS: Final = 48


@on_target(topic=True)
def reconcile(
    call: Call,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Events received since then: 2026-02-28T12:00:00Z, or an age: 7d."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Events received before then.")] = None,
) -> Answer:
    """Hold Curated, Semantic and Quarantine against RAW, row by row and hour by hour.

    Nobody's counts are believed, and nothing is changed. Exit code 1 where a row is missing, doubled, older
    than it must be, or there for no reason.
    """
    window = Selection.parse(since=since, until=until, now=outside.now())
    with progress(quiet=call.json) as bar:
        task = bar.add_task("reconciling", total=None)
        found = reconcile_tables(
            call.target,
            call.topic,
            window.since,
            window.until,
            lambda done, parts: bar.update(task, completed=done, total=parts),
        )
    return Answer(_document(found), lambda: _tell(found), failed=bool(found.faults))


def _document(found: Reconciled) -> dict[str, Any]:
    return {
        "topic": found.topic,
        "since": found.since,
        "until": found.until,
        "open_since": found.open_since,
        "faults": _faults(found),
        "hours": [{"hour": begin, **_counts(hour)} for begin, hour in sorted(found.hours.items())],
    }


def _faults(found: Reconciled) -> list[dict[str, Any]]:
    return [
        {"hour": begin, "layer": layer, "fault": fault, "keys": keys, "samples": hour.samples[layer, fault]}
        for begin, hour in sorted(found.hours.items())
        for (layer, fault), keys in hour.faults.items()
    ]


def _counts(hour: Hour) -> dict[str, int]:
    return {name: getattr(hour, name) for name in COUNTS} | {"faults": hour.faults.total()}


def _tell(found: Reconciled) -> None:
    if not found.hours:
        say(f"RAW of {found.topic} has no event of that time.")
        return
    few = len(found.hours) <= _FEW_HOURS
    shown = found.hours if few else by_day(found.hours)
    form = "%Y-%m-%d %H:00Z" if few else "%Y-%m-%d"
    show_table(
        f"{found.topic}: events by when they were received, and what their rows say",
        ["received", *(name.replace("_", " ") for name in COUNTS), "faults"],
        [[f"{begin:{form}}", *_counts(hour).values()] for begin, hour in sorted(shown.items())],
    )
    for fault in _faults(found):
        ids = ", ".join(fault["samples"])
        say(
            f"{fault['hour']:%Y-%m-%d %H:00Z}, {fault['layer']}: {fault['keys']:,} {fault['fault']}, for "
            f"example of message {ids}",
            style="red",
        )
    for kind in sorted({fault["fault"] for fault in _faults(found)}):
        say(f"  {kind}: {ADVICE[kind]}")
    if not found.faults:
        say(_sentence(found))


def _sentence(found: Reconciled) -> str:
    waiting = found.total("waiting") + found.total("unpublished")
    said = f"Every one of {found.total('events'):,} events is where it must be, once"
    return f"{said}; {waiting:,} wait for the next run." if waiting else f"{said}."
