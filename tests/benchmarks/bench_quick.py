"""The first rows of docs/benchmarks.md on your own machine, in minutes; and whether they have become slower.

    make bench-quick
    python tests/benchmarks/bench_quick.py [--runs 3] [--table-rows 2000000] [--work DIRECTORY] [--keep]

Each row sets what is ours beside a yardstick that is measured in the same run, turn by turn, on the same
input: what a machine is worth cancels out, and so does most of what else it does. A goal is a ratio to the
yardstick; whether it is met is said beside it. Each ratio is compared with the last one that was kept
(docs/benchmarks-quick.json; ``--keep`` writes it): one that fell by more than a fifth is named, and the exit
code is 1. Processor seconds, not time, but for a start: those of the process, all threads together.

The first run makes the table (a minute, 300 MB, kept in the work directory).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import bench_flattening
import bench_sqs_processor
import bench_start_up
import pyarrow as pa

from lean_ops.environment.repository import function_catalogue

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
KEPT: Final = ROOT / "docs/benchmarks-quick.json"
FELL: Final = 0.8
"""A ratio below this share of the kept one has fallen: two runs on a busy machine differ by less."""

BATCH_ROWS: Final = 100_000
EVENTS: Final = 50_000
# What a function of ours cannot do without: the interpreter, Arrow and the SDK's core.
STARTED: Final = "import boto3, pyarrow.parquet"

Once = Callable[[], float]
"""Does the work once; gives seconds."""


@dataclass(frozen=True)
class Row:
    """One line of the table: ``goal`` times faster than the yardstick, at least."""

    work: str
    yardstick: str
    goal: float
    ours: Once
    theirs: Once
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "theirs": []})

    def turn(self) -> None:
        """Both once."""
        for name, once in (("ours", self.ours), ("theirs", self.theirs)):
            self.seconds[name].append(once())

    @property
    def ratio(self) -> float:
        """How many times faster than the yardstick, the median of the turns."""
        pairs = zip(self.seconds["theirs"], self.seconds["ours"], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def processor(work: Callable[[], object]) -> Once:
    """Processor seconds of this process."""

    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return once


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """What is measured."""
    merges = Merges(options.work, options.table_rows)
    into = f"merge of 100 k into {options.table_rows / 1e6:g} M rows"
    yield Row(into, "DuckDB `MERGE INTO`", 2.5, merges.of("lean-ops"), merges.of("duckdb"))
    texts = pa.array(bench_flattening.payloads(EVENTS, spaced=False))
    exact, inexact = bench_flattening.msgspec_hook, bench_flattening.in_duckdb
    by_shape = processor(lambda: bench_flattening.by_shape(texts))
    yield Row("flattening", "msgspec, as exact", 3.5, by_shape, processor(lambda: exact(texts)))
    yield Row("the same", "DuckDB, inexact, paths given", 0.8, by_shape, processor(lambda: inexact(texts)))
    batches = bench_sqs_processor.lambda_events(EVENTS)
    sink = bench_sqs_processor._Sink()
    ours, usual = bench_sqs_processor.ours(sink), bench_sqs_processor.usual_way(sink)
    yield Row(
        "`sqs_processor`",
        "Powertools + json",
        7,
        processor(lambda: [ours(batch) for batch in batches]),
        processor(lambda: [usual(batch) for batch in batches]),
    )
    (curation,) = (entry for entry in function_catalogue() if entry.name == "curation")
    yield Row("start of `curation`", f"`{STARTED}`", 0.8, lambda: bench_start_up.start(curation)[0], started)


class Merges:
    """Merges of one batch into clones of one table, each engine in a process of its own."""

    def __init__(self, work: Path, table_rows: int) -> None:
        sys.path.insert(0, str(HERE / "merge"))
        self._work, self._rows = work, table_rows

    def of(self, engine: str) -> Once:
        """Merge once, check the rows, give processor seconds of the merge."""

        def once() -> float:
            import run  # beside its own modules, which it finds by that path
            from figures import Figure

            figure = Figure()
            run.run_once(self._work, run.Case(engine, self._rows, BATCH_ROWS), figure, number=0)
            return figure.processor[-1]

        return once


def started() -> float:
    """Seconds in which a fresh interpreter imports what no function of ours can do without."""
    code = f"import time; began = time.perf_counter(); {STARTED}; print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def table(measured: list[Row], kept: Mapping[str, float]) -> str:
    """The rows as Markdown."""
    lines = [
        "| work | ours, median | yardstick | its median | ratio | goal | met | kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in measured:
        ours, theirs = (statistics.median(row.seconds[name]) for name in ("ours", "theirs"))
        met = "yes" if row.ratio >= row.goal else "**no**"
        before = f"{kept[name_of(row)]:.2f}" if name_of(row) in kept else "-"
        lines.append(
            f"| {row.work} | {ours:.2f} s | {row.yardstick} | {theirs:.2f} s "
            f"| {row.ratio:.2f} | ≥ {row.goal:g} | {met} | {before} |"
        )
    return "\n".join(lines)


def name_of(row: Row) -> str:
    """By which a ratio is kept."""
    return f"{row.work} / {row.yardstick}"


def fallen(measured: Mapping[str, float], kept: Mapping[str, float]) -> list[str]:
    """A sentence for each ratio that is much less than the one that was kept."""
    return [
        f"{name}: expected about {kept[name]:.2f}, found {ratio:.2f}; it fell by {1 - ratio / kept[name]:.0%}"
        for name, ratio in measured.items()
        if name in kept and ratio < FELL * kept[name]
    ]


def last_kept(path: Path) -> dict[str, float]:
    """Ratios by name; none where nothing was kept."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"ratios": {}}
    return dict(found["ratios"])


def keep(path: Path, measured: Mapping[str, float]) -> None:
    """Write the ratios, with when and under what load they were measured."""
    load = os.getloadavg()[1]
    facts = {"measured": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "load": round(load, 1)}
    ratios = {name: round(ratio, 3) for name, ratio in measured.items()}
    path.write_text(json.dumps({**facts, "ratios": ratios}, indent=2) + "\n")


def main() -> int:
    """Measure, print, compare; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--table-rows", type=int, default=2_000_000)
    parser.add_argument("--keep", action="store_true", help="keep these ratios to compare later ones with")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    measured = list(rows(options))
    for row in measured:
        row.turn()  # what is loaded or built on first use is in no figure
        for times in row.seconds.values():
            times.clear()
        for _ in range(options.runs):
            row.turn()
        print(f"{row.work}: {row.ratio:.2f} times {row.yardstick}", file=sys.stderr, flush=True)
    kept, ratios = last_kept(KEPT), {name_of(row): row.ratio for row in measured}
    print(table(measured, kept))
    print(f"\nLoad average over the last five minutes: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores.")
    if options.keep:
        keep(KEPT, ratios)
        return 0
    worse = fallen(ratios, kept)
    print(
        "\n".join(worse) if worse else f"No ratio fell by more than {1 - FELL:.0%} since the last was kept."
    )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
