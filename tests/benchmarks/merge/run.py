"""Measure merges side by side and write the figures into docs/benchmarks.md.

    python tests/benchmarks/merge/run.py --work DIRECTORY [--runs 3] [--only scattered,backlog,day]

Every merge runs in a process of its own on a clone of the same table, and its result is compared with one
computed without a merge engine (rows, keys, hash of all columns): a figure without that check is not printed.
Seconds are of the merge alone; memory is the peak of the whole process tree. What cannot run here (Spark
without Java and its jars) is named as missing. The first run builds the tables (about five minutes).
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
from datetime import UTC, datetime
from pathlib import Path

import psutil
import workload

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- merge: begin -->", "<!-- merge: end -->"
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One merge to measure."""

    engine: str
    table_rows: int
    batch_rows: int
    limit_s: int = 900

    @property
    def label(self) -> str:
        return f"{self.engine}, {self.batch_rows:,} into {self.table_rows:,}"


@dataclass(frozen=True)
class Figure:
    """What was measured: seconds of every run, peak bytes of memory, bytes written."""

    seconds: list[float]
    memory: int = 0
    written: int = 0
    missing: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def text(self) -> str:
        if self.missing:
            return f"{self.missing} | | | "
        spread = f"{min(self.seconds):.2f} to {max(self.seconds):.2f}"
        return f"{self.median:.2f} | {spread} | {self.memory / MIB:,.0f} | {self.written / 1e6:.1f}"


CASES = {
    "scattered": [
        Case("lean-ops", 1_000_000, 10_000),
        Case("lean-ops", 10_000_000, 10_000),
        Case("lean-ops", 10_000_000, 100_000),
        Case("duckdb", 10_000_000, 100_000),
        Case("spark", 10_000_000, 100_000),
    ],
    "backlog": [Case("lean-ops", 10_000_000, 1_000_000), Case("duckdb", 10_000_000, 1_000_000)],
    "upsert": [Case("upsert", 1_000_000, 10_000, limit_s=600)],
}


def measure(root: Path, case: Case, runs: int) -> Figure:
    """Run a case ``runs`` times (Spark and upsert once) and check every result."""
    lacking = missing(case)
    if lacking:
        return Figure([], missing=lacking)
    workload.build_table(root, case.table_rows)
    batch = workload.build_batch(root, case.table_rows, case.batch_rows)
    expected = workload.expected(root, case.table_rows, case.batch_rows)
    before = workload.data_tree(root, case.table_rows)
    seconds, memory, written = [], 0, 0
    for number in range(runs if case.engine in ("lean-ops", "duckdb") else 1):
        name = f"clone_{case.engine}_{os.getpid()}_{number}"
        lake = workload.clone(root, case.table_rows, name)
        result = root / name / "result.json"
        try:
            peak = run_watched(
                [case.engine, str(lake.engine.url.database), str(batch), str(result)], case.limit_s
            )
            if peak is None:
                return Figure([], missing=f"not finished in {case.limit_s} s")
            found = workload.checksum(lake.load_table(workload.IDENTIFIER))
            if found != expected:
                raise SystemExit(f"{case.label}: wrong result, expected {expected}, found {found}")
            seconds.append(float(json.loads(result.read_text())["seconds"]))
            memory = max(memory, peak)
            new = workload.data_tree(root, case.table_rows) - before
            written = sum(p.stat().st_size for p in new if not p.name.endswith(".crc"))
        finally:
            workload.remove_new_files(root, case.table_rows, before)
            shutil.rmtree(root / name)
    return Figure(seconds, memory, written)


def missing(case: Case) -> str:
    """What a case needs and this machine lacks; empty if nothing."""
    if case.engine == "spark":
        lacking = [v for v in ("BENCH_SPARK_PYTHON", "BENCH_SPARK_JARS") if not os.environ.get(v)]
        return f"not run: {', '.join(lacking)} not set" if lacking else ""
    return ""


def run_watched(arguments: list[str], limit_s: int) -> int | None:
    """Run one engine; gives the peak memory of its process tree, or None when it was stopped at the limit."""
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
    process = subprocess.Popen([sys.executable, str(HERE / "engines.py"), *arguments], env=environment)
    watched, peak, end = psutil.Process(process.pid), 0, time.monotonic() + limit_s
    while process.poll() is None:
        try:
            tree = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(p.memory_info().rss for p in tree))
        except psutil.NoSuchProcess:
            continue
        if time.monotonic() > end:
            for one in tree:
                one.kill()
            process.wait()
            return None
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed with exit code {process.returncode}")
    return peak


def report(figures: dict[Case, Figure], work: Path) -> str:
    """The section of the page, in Markdown."""
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}; `make bench-merge`. Seconds of the merge alone,",
        "peak memory of the whole process tree, bytes of all files the merge wrote; every result verified.",
        "",
        "| merge | median s | spread s | peak MiB | MB written |",
        "|---|---|---|---|---|",
        *(f"| {case.label} | {figure.text()} |" for case, figure in figures.items()),
        "",
        *ratios(figures, work),
    ]
    return "\n".join(lines)


def ratios(figures: dict[Case, Figure], work: Path) -> list[str]:
    """The goals and what was reached."""
    by_name = {(c.engine, c.table_rows, c.batch_rows): f for c, f in figures.items() if f.seconds}
    ours = by_name.get(("lean-ops", 10_000_000, 100_000))
    small = by_name.get(("lean-ops", 1_000_000, 10_000))
    rows = []
    for engine, goal in (("spark", "≥ 15"), ("duckdb", "≥ 1.5")):
        other = by_name.get((engine, 10_000_000, 100_000))
        if ours and other:
            rows.append(
                f"| 100 k into 10 M, times faster than {engine} | {goal} | {other.median / ours.median:.1f} |"
            )
    upsert = by_name.get(("upsert", 1_000_000, 10_000))
    if small and upsert:
        rows.append(
            f"| 10 k into 1 M, times faster than upsert | ≥ 80 | {upsert.median / small.median:.0f} |"
        )
    if ours:
        rows.append(f"| 100 k into 10 M, peak memory | ≤ 512 MiB | {ours.memory / MIB:.0f} MiB |")
        batch = workload.batch_bytes(workload.build_batch(work, 10_000_000, 100_000))
        rows.append(
            f"| bytes written / bytes of the batch (scattered corrections) | ≤ 3 | {ours.written / batch:.2f} |"
        )
    large = by_name.get(("lean-ops", 10_000_000, 10_000))
    if small and large:
        rows.append(f"| 10 k into 10 M against 10 k into 1 M | ≤ 1.5 | {large.median / small.median:.2f} |")
    backlog = by_name.get(("lean-ops", 10_000_000, 1_000_000))
    if backlog:
        rows.append(
            f"| 1 M into 10 M | ≤ 10 s, ≤ 2,048 MiB | {backlog.median:.1f} s, {backlog.memory / MIB:,.0f} MiB |"
        )
    return ["| goal | asked | found |", "|---|---|---|", *rows] if rows else []


def machine() -> str:
    """Cores, memory and the load that others put on the machine."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, load average {psutil.getloadavg()[0]:.1f} at the end"
    )


def write_section(page: Path, text: str) -> None:
    """Replace this benchmark's section of the page, or add it at the end."""
    whole = page.read_text() if page.exists() else "# Benchmarks\n"
    if BEGIN not in whole:
        whole = f"{whole.rstrip()}\n\n## Merge\n\n{BEGIN}\n{END}\n"
    head, rest = whole.split(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lean-ops-merge-bench")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--print-only", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    figures = {}
    for case in (c for name in options.only.split(",") for c in CASES[name]):
        figures[case] = measure(options.work, case, options.runs)
        print(f"| {case.label} | {figures[case].text()} |", flush=True)
    text = report(figures, options.work)
    print(text)
    if not options.print_only:
        write_section(PAGE, text)


if __name__ == "__main__":
    main()
