"""``demo``: the whole pipeline on this machine, with a summary."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress, TaskID

from common.runtime import outside
from lean_ops.accounts.ledger import Ledger
from lean_ops.commands.options import JsonOption, StackOption, stack_folder
from lean_ops.console.printing import human_bytes, out, progress, say, show_json, show_table
from lean_ops.local.processes import PeakMemory
from lean_ops.local.provision import provision
from lean_ops.local.stack import Stack
from lean_ops.local.target import LocalTarget
from lean_ops.operate.pipeline import StateVisit
from lean_ops.operate.replay import dead_letters
from lean_ops.sight import report as written
from lean_ops.sight.pages import Place
from lean_ops.simulate.demo import Report, Run, Watcher, perform

PAGE: Final = "report.html"


def demo(
    events: Annotated[int, typer.Option(help="Simulated events to send.", min=100)] = 100_000,
    seed: Annotated[int, typer.Option(help="Another seed gives other devices and faults.")] = 1,
    stack: StackOption = "local",
    stop: Annotated[bool, typer.Option("--stop", help="Stop the local stack afterwards.")] = False,
    json: JsonOption = False,
) -> None:
    """Run everything once on this machine: devices, queue, Firehose, RAW, Curated, Semantic, reconciliation.

    The local stack keeps running afterwards, so that its tables can be looked at, unless --stop is given.
    Exit code 1 when what arrived does not account for what was sent.
    """
    folder = stack_folder(stack)
    local = Stack(folder)
    was_up = local.status().up
    started = outside.monotonic()
    try:
        local.up()
        ready = outside.monotonic() - started
        target = LocalTarget.running(folder)
        with target.reached(), progress(quiet=json) as bar, PeakMemory(local) as memory:
            provision(target)
            watcher = _watcher(bar, quiet=json)
            report = perform(target, Ledger(folder / "ledger"), events=events, seed=seed, watcher=watcher)
            page = _page(folder, stack, report, watcher)
    except BaseException:  # Ctrl-C included: what this command started, it stops
        if not was_up:
            local.down()
        raise
    seconds = {"stack ready": ready, **report.seconds, "all": outside.monotonic() - started}
    if stop:
        local.down()
    balanced = report.reconciliation is not None and report.reconciliation.balanced
    if json:
        told = {"balanced": balanced, "seconds": seconds, "peak_memory": memory.peaks, "page": str(page)}
        show_json({**asdict(report), **told})
    else:
        _summarise(report, seconds, memory.peaks, events, stack, stopped=stop)
        say(f"Look at it: {page}")
    if not balanced:
        raise typer.Exit(1)


def _page(folder: Path, stack: str, report: Report, watcher: Watcher) -> Path:
    """All that there is to see, as one file; letters are archived for it, as a schedule does on AWS."""
    watcher.step("Writing what there is to see as a page")
    begun, page = outside.monotonic(), folder / PAGE
    dead_letters.archive(LocalTarget.running(folder))
    written.write(
        lambda: LocalTarget.running(folder),
        Place(f"local stack {stack}", "" if stack == "local" else f"--stack {stack}"),
        page,
    )
    report.seconds["page"] = outside.monotonic() - begun
    return page


def _watcher(bar: Progress, *, quiet: bool) -> Watcher:
    task: list[TaskID] = []

    def step(name: str) -> None:
        while task:
            bar.remove_task(task.pop())
        if not quiet:
            say(f"• {name}")
        task.append(bar.add_task(name.split(" (", maxsplit=1)[0][:40], total=None))

    def moved(done: int, total: int) -> None:
        bar.update(task[0], completed=done, total=total)

    def state(visit: StateVisit) -> None:
        if not quiet:
            out.print(f"    {visit.name:<26}[dim]{visit.seconds:6.2f} s[/]")

    return Watcher(step, moved, state)


def _summarise(
    report: Report,
    seconds: dict[str, float],
    peaks: dict[str, int],
    events: int,
    stack: str,
    *,
    stopped: bool,
) -> None:
    out.rule("What happened")
    _sent(report)
    show_table("Tables", *_tables(report))
    _runs(report.runs)
    if report.quarantined:
        show_table(
            "Quarantined rows of events, by broken rule", ["column", "rule", "rows"], report.quarantined
        )
    for title, (names, rows) in report.answers.items():
        show_table(f"\n{title}", names, rows)
    out.rule("Is it true?")
    _reconciled(report)
    out.rule("How fast, how large")
    show_table("", ["phase", "seconds"], [[name, round(value, 1)] for name, value in seconds.items()])
    rate = events / sum(seconds[phase] for phase in ("sending", "delivering", "running"))
    say(f"{rate:,.0f} events a second from the device to a governed table, everything on this machine.")
    show_table("", ["process", "peak memory"], [[n, human_bytes(b)] for n, b in sorted(peaks.items())])
    out.rule("What to try next")
    option = "" if stack == "local" else f" --stack {stack}"
    if stopped:
        say(f"lean-ops up{option}                      start the stack again; the tables are still there")
    for command, what in _NEXT.items():
        say(f"{command + option:<78}{what}")


_NEXT = {
    "lean-ops console": "a page to look at: what is wrong first, and all that flows",
    "lean-ops tables": "rows, files and snapshots of every layer",
    'lean-ops query "SELECT * FROM quarantine_events LIMIT 3"': "what was refused, and why",
    "lean-ops send --events 20000": "more devices",
    "lean-ops run": "the next run, state by state",
    "lean-ops run --force": "again: it changes nothing",
    "lean-ops down": "stop; --wipe removes the state",
}


def _sent(report: Report) -> None:
    sent = report.sent
    rows = [[kind, count] for kind, count in sent.by_kind.items()]
    show_table(
        "Messages sent into this stack, by kind", ["kind", "messages"], [*rows, ["all", sent.messages]]
    )
    rejected = sorted(report.dead_letters.items())
    if rejected:
        show_table(
            "Rejected: in the dead-letter queue, unchanged, with the reason", ["reason", "messages"], rejected
        )
    retries = sum(topic.messages - topic.message_ids for topic in sent.topics.values())
    corrections = sum(topic.message_ids - topic.keys for topic in sent.topics.values())
    say(f"De-duplicated: {retries:,} network retries, and {corrections:,} readings that were corrected.")


def _tables(report: Report) -> tuple[list[str], list[list[object]]]:
    columns = [
        "table",
        "rows",
        "columns",
        "data files",
        "delete files",
        "size",
        "snapshots",
        "newest event after",
    ]
    rows: list[list[object]] = []
    for table in report.tables:
        layer, _, topic = table.name.partition("_")
        fresh = report.freshness_s.get(layer) if topic == "events" else None
        size = human_bytes(table.size_bytes)
        counts = [table.rows, table.columns, table.data_files, table.delete_files]
        rows.append([table.name, *counts, size, table.snapshots, "" if fresh is None else f"{fresh:.1f} s"])
    return columns, rows


def _runs(runs: list[Run]) -> None:
    rows = []
    for number, run in enumerate(runs, 1):
        path = " → ".join(visit.name for visit in run.visits)
        written = run.total("RunCurationJob", "records_written")
        rows.append([number, run.topic, run.outcome.seconds, written, len(run.new_columns), path])
    columns = ["run", "topic", "seconds", "rows merged into Curated", "new columns", "path"]
    show_table("Runs of the state machine", columns, rows)
    first = {run.topic for run in runs[:1]}
    for run in runs[1:]:
        if run.topic in first and run.new_columns:
            say(f"New fields that devices began to send became columns: {', '.join(run.new_columns)}.")


def _reconciled(report: Report) -> None:
    if report.reconciliation is None:
        return
    for check in report.reconciliation.checks:
        mark = "[green]✓[/]" if check.holds else "[red]✗[/]"
        out.print(mark, end=" ")
        say(str(check))
    if report.reconciliation.balanced:
        say("Every message that was sent is accounted for.", style="bold green")
    else:
        say(
            f"{len(report.reconciliation.differences)} laws are broken: see the marked lines.",
            style="bold red",
        )
