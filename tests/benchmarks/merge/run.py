"""Measure the merge engine beside what one would use instead, and write the goals into docs/benchmarks.md.

    python tests/benchmarks/merge/run.py [--work DIRECTORY] [--runs 5] [--only large,growth] [--write]

Every merge runs in a process of its own on a clone of the same table, and its result is compared with one
computed without a merge engine (rows, keys, hash of all columns): a figure without that check is not printed.
The cases of a part take turns, so that a slow moment of the machine hits all of them. Seconds are of the merge
alone; memory is the peak of the whole process tree. ``--only`` measures some parts again and keeps the
figures of the others, which lie in the work directory beside the tables (``--only ""`` writes them anew
without measuring). The first run makes the tables (two minutes, 3 GB); all parts take about half an hour.
"""

import argparse
import json
import os
import shutil
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

LARGE, SMALL = 10_000_000, 1_000_000
TITLE = "Merging"


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


PARTS: dict[str, dict[str, Case]] = {
    "large": {
        "lean-ops": Case("lean-ops", LARGE, 100_000),
        "duckdb": Case("duckdb", LARGE, 100_000),
        "spark": Case("spark", LARGE, 100_000, most_runs=3),
    },
    "slow store": {"lean-ops": Case("slow-store", LARGE, 100_000)},
    "growth": {
        "into 1 M": Case("lean-ops", SMALL, 10_000),
        "into 10 M": Case("lean-ops", LARGE, 10_000),
    },
    "upsert": {
        "lean-ops": Case("lean-ops", SMALL, 10_000),
        "upsert": Case("upsert", SMALL, 10_000, limit_s=600, most_runs=1),
    },
    "backlog": {
        "lean-ops": Case("lean-ops", LARGE, 1_000_000),
        "duckdb": Case("duckdb", LARGE, 1_000_000),
    },
    "curation": {
        "curation": Case("curation", LARGE, 1_000_000, raw=True),
        "duckdb-curation": Case("duckdb-curation", LARGE, 1_000_000, raw=True, exact=False),
    },
}


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
        peak = run_watched(
            [case.engine, str(lake.engine.url.database), str(batch), str(result)], case.limit_s
        )
        if peak is None:
            figure.missing = f"not finished in {case.limit_s} s"
            return
        found = workload.checksum(lake.load_table(workload.IDENTIFIER))
        if {k: found[k] for k in (found if case.exact else ("rows", "keys"))} != {
            k: expected[k] for k in (expected if case.exact else ("rows", "keys"))
        }:
            raise SystemExit(f"{case}: wrong result, expected {expected}, found {found}")
        said = json.loads(result.read_text())
        figure.seconds.append(float(said["seconds"]))
        figure.processor.append(float(said["processor"]))
        figure.memory = max(figure.memory, peak)
        new = workload.data_tree(root, case.table_rows, case.kind) - before
        figure.written = sum(p.stat().st_size for p in new if not p.name.endswith(".crc"))
    finally:
        workload.remove_new_files(root, case.table_rows, before, case.kind)
        shutil.rmtree(root / name)


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
        raise SystemExit(f"{arguments[0]} failed with exit code {process.returncode}")
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
        "random UUIDs. Median, fastest and slowest run of the merge alone; results are checked row by row.",
        "",
        table(figures),
        "",
        "| part | case | median (range, runs) | peak MiB | MB written |",
        "|---|---|---|---|---|",
    ]
    for part, case, figure in figures.cases():
        if figure.memory:
            memory, written = figure.memory / MIB, figure.written / 1e6
            lines.append(f"| {part} | {case} | {figure.time} | {memory:,.0f} | {written:,.1f} |")
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join((*PARTS, "day")))
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    figures = Figures(options.work / "figures.json")
    for part in filter(None, options.only.split(",")):
        print(part, flush=True)
        if part == "day":
            figures.put(part, *measure_day(options.work))
            continue
        found = measure(options.work, PARTS[part], options.runs)
        batch = next(iter(PARTS[part].values()))
        size = workload.build_batch(options.work, batch.table_rows, batch.batch_rows).stat().st_size
        figures.put(part, found, {"batch bytes": size})
    text = report(figures)
    print(text)
    if options.write:
        write_section(TITLE, "python tests/benchmarks/merge/run.py --write", text)


if __name__ == "__main__":
    main()
