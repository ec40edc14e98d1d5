"""Print the table of speed: each figure beside its yardstick of the same run, its goal, and whether it is met.

    python tests/benchmarks/merge/run.py [--only large,growth] [--long] [--runs 5] [--work DIRECTORY] [--write]

Every merge runs in a process of its own on a clone of the same table, and its result is compared with one
computed without a merge engine (rows, keys, hash of all columns): a figure without that check is not printed.
The cases of a part take turns, so that a slow moment of the machine hits all of them. Seconds are of the merge
alone; memory is the peak of the whole process tree. What is no merge is in ``beyond.py``.

``--only`` measures some parts (``--only ""``: none, it prints what is kept); the others keep their last
figures, each with its day and load. They are kept in docs/benchmarks-goals.json with ``--write``, which puts
the table into docs/benchmarks.md too. ``--long``: the parts that take long as well. The first run of a part
makes its tables (minutes, 3 GB for 10 M rows, 30 GB for 100 M) in the work directory.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import spark_parts
import workload
from figures import MIB, Figure, Figures
from goals import table

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from page import write_section  # noqa: E402 - the page is one folder up, beside the other benchmarks

from common.lake.files import TRAFFIC_SAID  # noqa: E402 - as the page
from common.lake.history import said_by  # noqa: E402

HUGE, LARGE, SMALL = 100_000_000, 10_000_000, 1_000_000
TITLE = "The table of goals"
KEPT = HERE.parents[2] / "docs/benchmarks-goals.json"


OTHERS = ("duckdb", "duckdb-curation", "duckdb-semantic", "spark", "upsert")
"""Engines that ours is compared with."""


class EngineError(Exception):
    """A merge ended with an error."""


@dataclass(frozen=True)
class Case:
    """One merge to measure.

    ``raw``: its input is a RAW table instead of a batch. ``exact``: its rows can be compared, not only counted.
    """

    engine: str
    table_rows: int
    batch_rows: int
    limit_s: int = 900
    most_runs: int = 9
    raw: bool = False
    exact: bool = True
    kind: workload.Kind = workload.RANDOM


def beside_duckdb(table_rows: int, batch_rows: int, kind: workload.Kind = workload.RANDOM) -> dict[str, Case]:
    """The same merge by both."""
    return {engine: Case(engine, table_rows, batch_rows, kind=kind) for engine in ("lean-ops", "duckdb")}


PARTS: dict[str, dict[str, Case]] = {
    "large": {
        **beside_duckdb(LARGE, 100_000),
        "spark": Case("spark", LARGE, 100_000, most_runs=3),
    },
    "slow store": {"lean-ops": Case("slow-store", LARGE, 100_000)},
    **{
        kind.name: beside_duckdb(LARGE, 100_000, kind)
        for kind in (workload.TIME_ORDERED, workload.NUMERIC, workload.HOT)
    },
    **{kind.name: beside_duckdb(SMALL, 100_000, kind) for kind in (workload.WIDE, workload.WIDER)},
    "backlog": beside_duckdb(LARGE, 1_000_000),
    "growth": {
        "into 1 M": Case("lean-ops", SMALL, 10_000),
        "into 10 M": Case("lean-ops", LARGE, 10_000),
    },
    "growth to 100 M": {
        "into 10 M": Case("lean-ops", LARGE, 10_000),
        "into 100 M": Case("lean-ops", HUGE, 10_000),
    },
    "upsert": {
        "lean-ops": Case("lean-ops", SMALL, 10_000),
        "upsert": Case("upsert", SMALL, 10_000, limit_s=600, most_runs=1),
    },
    "curation": {
        "curation": Case("curation", LARGE, 1_000_000, raw=True),
        "duckdb-curation": Case("duckdb-curation", LARGE, 1_000_000, raw=True, exact=False),
    },
}
LONG = ("growth to 100 M", "upsert", "day")
"""What takes long: making 100 M rows, and the other merges of the day."""


def measure(root: Path, cases: dict[str, Case], runs: int) -> dict[str, Figure]:
    """Run the cases ``runs`` times in turns."""
    figures = {label: Figure(missing=lacking(case)) for label, case in cases.items()}
    for number in range(runs):
        for label, case in cases.items():
            if not figures[label].missing and number < case.most_runs:
                run_once(root, case, figures[label], number)
                print(f"  {label}: {figures[label].time}, {figures[label].memory / MIB:,.0f} MiB", flush=True)
    return figures


def lacking(case: Case) -> str:
    """What a case needs and this machine lacks; empty if nothing."""
    return spark_parts.missing() if case.engine == "spark" else ""


def run_once(root: Path, case: Case, figure: Figure, number: int) -> None:
    """Merge into a fresh clone, check the result, and take the figures down."""
    workload.build_table(root, case.table_rows, case.kind)
    batch = workload.build_batch(root, case.table_rows, case.batch_rows, kind=case.kind)
    expected = workload.expected(root, case.table_rows, case.batch_rows, case.kind)
    before = workload.data_tree(root, case.table_rows, case.kind)
    name = f"clone_{case.engine}_{os.getpid()}_{number}"
    lake = workload.clone(root, case.table_rows, name, case.batch_rows if case.raw else 0, case.kind)
    result = root / name / "result.json"
    for path in before:
        path.read_bytes()  # so that every engine finds the table in the page cache
    try:
        watched(figure, [case.engine, str(lake.engine.url.database), str(batch), str(result)], case.limit_s)
        if figure.missing:
            return
        table = lake.load_table(workload.IDENTIFIER)
        summary = said_by(table.current_snapshot())
        figure.asked = {name: int(summary[key]) for name, key in TRAFFIC_SAID.items() if key in summary}
        found = workload.checksum(table)
        if {k: found[k] for k in (found if case.exact else ("rows", "keys"))} != {
            k: expected[k] for k in (expected if case.exact else ("rows", "keys"))
        }:
            raise SystemExit(f"{case}: wrong result, expected {expected}, found {found}")
        new = workload.data_tree(root, case.table_rows, case.kind) - before
        figure.written = sum(p.stat().st_size for p in new if not p.name.endswith(".crc"))
    finally:
        workload.remove_new_files(root, case.table_rows, before, case.kind)
        shutil.rmtree(root / name)


def watched(figure: Figure, arguments: list[str], limit_s: int) -> None:
    """Run one engine (``run_watched``) and take down what it took, or that it did not end.

    That another engine fails (DuckDB runs out of its 6 GB with 500 columns) is what was found of it; of ours
    it ends the benchmark.
    """
    try:
        peak = run_watched(arguments, limit_s)
    except EngineError as failed:
        if arguments[0] not in OTHERS:
            raise
        figure.missing = str(failed)
        return
    if peak is None:
        figure.missing = f"not finished in {limit_s} s"
        return
    said = json.loads(Path(arguments[-1]).read_text())
    figure.seconds.append(float(said["seconds"]))
    figure.processor.append(float(said["processor"]))
    figure.memory = max(figure.memory, peak)


def run_watched(arguments: list[str], limit_s: int) -> int | None:
    """Run one engine; gives the peak memory of its process tree, or None when it was stopped at the limit.

    A process says its own peak (``engines.py``); of a tree (Spark) samples are summed. They are rare, since
    looking for children takes processor time from the engines.
    """
    process = subprocess.Popen([sys.executable, str(HERE / "engines.py"), *arguments])
    sampled, end = 0, time.monotonic() + limit_s
    while process.poll() is None:
        if time.monotonic() > end:
            for one in _tree(process.pid):
                one.kill()
            process.wait()
            return None
        if arguments[0] == "spark":
            sampled = max(sampled, sum(map(_memory, _tree(process.pid))))
        time.sleep(0.5 if arguments[0] == "spark" else 0.02)
    if process.returncode:
        raise EngineError(f"{arguments[0]} failed with exit code {process.returncode}, see its output")
    return max(sampled, int(json.loads(Path(arguments[-1]).read_text())["peak"]))


def _tree(pid: int) -> list[psutil.Process]:
    """The process and its descendants; none once it has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> int:
    """Resident bytes; none once it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def measure_day(root: Path) -> tuple[dict[str, Figure], dict[str, float]]:
    """The day of 96 merges, in a process of its own (``day.py``)."""
    command = [sys.executable, str(HERE / "day.py"), "--work", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    day = json.loads(done.stdout)
    scans = {
        f"{reader}, {state}": Figure(seconds=seconds)
        for state, by_reader in day["scans"].items()
        for reader, seconds in by_reader.items()
    }
    return scans, day["facts"]


def report(figures: Figures) -> str:
    """The section of the page, in Markdown."""
    lines = [
        "The table is what Curated is: 23 columns, 30 days, partitioned by period, day and 16 key buckets, 500",
        "files; 1 M rows are 154 MB, 10 M rows 1.5 GB. A batch is 90 % new events of the last two days, 8 %",
        "corrections (half of them of older days, 60 % to another partition, 10 % stale), 2 % retries; keys are",
        "random UUIDs where nothing else is said. Time-ordered keys are UUIDs of version 7; with hot keys half of the",
        "new rows are versions of one in a hundred of the new keys; of wide tables a row fills one leaf in 33 beyond",
        "the first fifteen, and the table has 1 M rows. Median, fastest and slowest run; results are checked row by row.",
        "",
        table(figures),
        "",
        "| part | case | median (range, runs) | processor, median | peak MiB | MB written | asked of the store |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, case, figure in figures.cases():
        if figure.memory:
            memory, written = figure.memory / MIB, figure.written / 1e6
            spent = f"{statistics.median(figure.processor):.2f} s" if any(figure.processor) else ""
            asked = ", ".join(f"{name} {count:,}" for name, count in figure.asked.items())
            lines.append(
                f"| {part} | {case} | {figure.time} | {spent} | {memory:,.0f} | {written:,.1f} | {asked} |"
            )
    day = {
        "first ten merges of the day, median s": "first merges",
        "last ten merges of the day, median s": "last merges",
        "compaction after the day, s": "compaction",
        "data files after the day": "data files",
        "data files after maintenance": "data files compacted",
    }
    facts = [(label, figures.fact("day", name)) for label, name in day.items()]
    lines += ["", *(f"- {label}: {value:g}" for label, value in facts if value is not None)]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the page."""
    import beyond

    every = {**PARTS, **beyond.PARTS, "day": None}
    long = (*LONG, *beyond.LONG)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help=f"some of: {', '.join(every)}")
    parser.add_argument("--long", action="store_true", help=f"these too: {', '.join(long)}")
    parser.add_argument("--write", action="store_true", help="keep the figures and write docs/benchmarks.md")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    figures = Figures(KEPT)
    shorter = [part for part in every if options.long or part not in long]
    chosen = shorter if options.only is None else [part for part in options.only.split(",") if part]
    if unknown := set(chosen) - every.keys():
        parser.error(f"expected parts among {', '.join(every)}, found {', '.join(sorted(unknown))}")
    for part in chosen:
        print(part, flush=True)
        if part == "day":
            figures.put(part, *measure_day(options.work))
        elif part in beyond.PARTS:
            figures.put(part, *beyond.PARTS[part](options.work, options.runs))
        else:
            found = measure(options.work, PARTS[part], options.runs)
            one = next(iter(PARTS[part].values()))
            batch = workload.build_batch(options.work, one.table_rows, one.batch_rows, kind=one.kind)
            figures.put(part, found, {"batch bytes": batch.stat().st_size})
        if options.write:
            figures.keep()  # at once: what was measured outlives what comes after it
    text = report(figures)
    print(text)
    if options.write:
        write_section(TITLE, "make bench", text)


if __name__ == "__main__":
    main()
